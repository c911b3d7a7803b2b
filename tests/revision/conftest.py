"""Real git repositories to try the revision rule on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Test folders are no packages.

from repositories import make_bare, make_repository

from cxlocal.revision.repository import Repository, open_repository


class Folder:
    """A git repository in a folder, driven by the installed git as a person would."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
        """Run git here; its output. Fails the test when git fails."""
        done = subprocess.run(
            ["git", *map(str, arguments)],
            cwd=self.path,
            env={**os.environ, **(env or {})},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode("utf-8", "backslashreplace")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, name: str, text: str) -> Path:
        """Write a file, its folder too."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def commit(self, subject: str = "work", **files: str) -> str:
        """Commit ``files`` (a default one if none); the commit's id."""
        for name, text in (files or {"work.txt": subject}).items():
            self.write(name.replace("__", "/"), text)
        self.git("add", "-A")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.head()

    def head(self, name: str = "HEAD") -> str:
        """The id of a commit."""
        return self.git("rev-parse", f"{name}^{{commit}}")

    def open(self) -> Repository:
        """As cxlocal sees it now."""
        return open_repository(self.path)


class Desk:
    """Makes repositories below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, name: str) -> Folder:
        """An empty repository with a working tree."""
        make_repository(self.folder / name)
        return Folder(self.folder / name)

    def bare(self, name: str) -> Folder:
        """An empty bare repository."""
        make_bare(self.folder / name)
        return Folder(self.folder / name)

    def clone(self, source: Folder | str, name: str, *options: str) -> Folder:
        """A clone through git's transport, as from a server."""
        place = source if isinstance(source, str) else f"file://{source.path}"
        Folder(self.folder).git("clone", "--quiet", *options, place, name)
        return Folder(self.folder / name)

    def project(self, name: str = "shop") -> tuple[Folder, Folder]:
        """A project with two commits pushed to a bare remote beside it: (project, remote)."""
        remote = self.bare(f"{name}-remote.git")
        work = self.new(name)
        work.git("remote", "add", "origin", remote.path)
        work.commit("first", **{"cx.toml": "cx = 1\n"})
        work.commit("second")
        work.git("push", "--quiet", "-u", "origin", "main")
        return work, remote


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty folder to make repositories in."""
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def module_desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """As ``desk``, for repositories that several tests look at or copy."""
    return Desk(tmp_path_factory.mktemp("desk"))
