"""Source archives from the package registries, fetched once a session, and repositories of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


def fetch(command: list[str], folder: Path, **environ: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environ}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]} could not fetch: {done.stderr[-1000:]}"


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``archives("pypi")`` and so on: the archive of one real project per registry."""
    folder = tmp_path_factory.mktemp("archives")

    def pypi() -> Path:
        pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
        fetch([*pip, "--quiet", "colorama==0.4.6"], folder)
        return folder / "colorama-0.4.6.tar.gz"

    def npm() -> Path:
        fetch(["npm", "pack", "--silent", "concat-map@0.0.1"], folder)
        return folder / "concat-map-0.0.1.tgz"

    def debian() -> Path:
        state = folder / "apt"
        (state / "lists" / "partial").mkdir(parents=True)
        sources = debian_sources(state)
        apt = [
            "apt-get", "-q", "-o", f"Dir::Etc::sourcelist={sources}",
            "-o", "Dir::Etc::sourceparts=-", "-o", f"Dir::State::lists={state / 'lists'}",
        ]  # fmt: skip
        fetch([*apt, "update"], folder)
        fetch([*apt, "source", "--download-only", "figlet"], folder)
        return next(folder.glob("figlet_*.orig.tar.*"))

    ways = {"pypi": pypi, "npm": npm, "debian": debian}
    found: dict[str, Path] = {}

    def get(registry: str) -> Path:
        if registry not in found:
            found[registry] = ways[registry]()
        return found[registry]

    return get


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


@pytest.fixture
def repository(archives: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], Path]:
    """A pushed git repository of an archive's content and a cx.toml, and nothing else."""

    def make(registry: str, cx_toml: str) -> Path:
        (tmp_path / "unpacked").mkdir()
        unpack = ["tar", "--no-same-owner", "-xf", str(archives(registry))]
        subprocess.run(unpack, cwd=tmp_path / "unpacked", check=True)
        (folder,) = (tmp_path / "unpacked").iterdir()
        (folder / "cx.toml").write_text(cx_toml)
        remote = tmp_path / "remote.git"
        for command in (
            ["init", "-q", "--bare", "-b", "main", str(remote)],
            ["init", "-q", "-b", "main"], ["add", "-A", "-f"], ["commit", "-q", "-m", "as released"],
            ["remote", "add", "origin", str(remote)], ["push", "-q", "-u", "origin", "main"],
        ):  # fmt: skip
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
        return folder

    return make
