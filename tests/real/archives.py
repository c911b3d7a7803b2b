"""Sources of real projects, from the package registries by their ordinary clients, or from git."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path


class NotToBeHad(Exception):
    """A source could not be fetched; the text has the client's words."""


def call(command: list[str], folder: Path, **environ: str) -> None:
    """Run a client. Raises NotToBeHad."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=180, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise NotToBeHad(f"{command[0]} could not fetch: {done.stderr[-1000:]}")


def pypi(name: str, version: str, folder: Path) -> Path:
    """The source archive of a Python project."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--quiet"]
    call([*pip, f"{name}=={version}"], folder)
    wanted = name.lower().replace("-", "_")
    return next(
        one for one in folder.glob("*.tar.gz") if one.name.lower().replace("-", "_").startswith(f"{wanted}_{version}")
    )  # fmt: skip


def npm(name: str, version: str, folder: Path) -> Path:
    """The archive of a Node package."""
    call(["npm", "pack", "--silent", f"{name}@{version}"], folder)
    return next(folder.glob(f"{name.lstrip('@').replace('/', '-')}-{version}.tgz"))


def debian(name: str, folder: Path) -> Path:
    """The original source of a Debian package."""
    state = folder / "apt"
    if not state.exists():
        (state / "lists" / "partial").mkdir(parents=True)
    apt = [
        "apt-get", "-q", "-o", f"Dir::Etc::sourcelist={debian_sources(state)}",
        "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={state / 'lists'}",
    ]  # fmt: skip
    call([*apt, "update"], folder)
    call([*apt, "source", "--tar-only", "--download-only", name], folder)
    return next(one for one in folder.glob(f"{name}_*.orig.tar.*") if one.suffix != ".asc")


def debian_sources(folder: Path) -> Path:
    """The machine's Debian addresses, for source packages, in whichever form it has them."""
    many = Path("/etc/apt/sources.list.d/debian.sources")
    if many.exists():
        sources = folder / "all.sources"
        sources.write_text(many.read_text().replace("Types: deb\n", "Types: deb-src\n"))
        return sources
    sources = folder / "all.list"
    lines = Path("/etc/apt/sources.list").read_text().splitlines()
    wanted = [f"deb-src {line[4:]}\n" for line in lines if line.startswith("deb ")]
    sources.write_text("".join(wanted))
    return sources


def unpacked(archive: Path, folder: Path) -> Path:
    """The only folder of an archive, unpacked into ``folder``."""
    folder.mkdir()
    subprocess.run(["tar", "--no-same-owner", "-xf", str(archive)], cwd=folder, check=True)
    (found,) = folder.iterdir()
    return found


def pushed(folder: Path, remote: Path, before: Callable[[Path], None] | None = None) -> None:
    """A repository of the content of ``folder``, pushed with its tags to a new bare ``remote``.

    A folder that is a repository already keeps its history. ``before`` may add to the commit.
    """
    if before is not None:
        before(folder)
    first = [] if (folder / ".git").exists() else [
        ["init", "-q", "-b", "main"], ["add", "-A", "-f"], ["commit", "-q", "-m", "as released"],
    ]  # fmt: skip
    for command in (
        ["init", "-q", "--bare", "-b", "main", str(remote)],
        *first,
        ["remote", "add", "origin", str(remote)],
        ["push", "-q", "-u", "origin", "HEAD"],
        ["push", "-q", "--tags", "origin"],
    ):
        git(folder, *command)


def git(folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What git printed. Raises CalledProcessError."""
    environ = None if env is None else {**os.environ, **env}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environ, check=True, capture_output=True, text=True
    )
    return done.stdout
