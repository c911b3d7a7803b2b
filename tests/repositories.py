"""Repositories as ``git init`` makes them: git makes each kind once, and what it made is copied."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

_ORIGIN = '[remote "origin"]\n\turl = {}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n'


def make_pair(tree: Path, remote: Path) -> None:
    """An empty repository in ``tree``, and a bare one that is its ``origin``."""
    make_bare(remote)
    make_repository(tree)
    with (tree / ".git" / "config").open("a") as config:
        config.write(_ORIGIN.format(remote))


def make_repository(tree: Path) -> None:
    """An empty repository, with a working tree in a folder that may be there."""
    shutil.copytree(Path(_made().name, "work"), tree, dirs_exist_ok=True)


def make_bare(folder: Path) -> None:
    """An empty repository without one."""
    shutil.copytree(Path(_made().name, "bare"), folder, dirs_exist_ok=True)


@cache
def _made() -> TemporaryDirectory[str]:
    """It goes with the process."""
    folder = TemporaryDirectory(prefix="cxlocal-tests-")
    for words in (["--bare", "bare"], ["work"]):
        subprocess.run(
            ["git", "init", "-q", "-b", "main", "--template=", *words], cwd=folder.name, check=True
        )
    for place in ("bare", "work/.git"):
        for below in ("hooks", "info"):
            Path(folder.name, place, below).mkdir()
    return folder
