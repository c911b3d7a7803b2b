"""The commit that is checked out, told by git's files as git itself tells it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cxlocal.revision.head import checked_out, commit_of


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "protocol.file.allow=always", *words], cwd=folder, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def plain(root: Path) -> Path:
    git(root, "init", "-qb", "main", "tree")
    git(root / "tree", "commit", "-q", "--allow-empty", "-m", "one")
    return root / "tree"


def packed(root: Path) -> Path:
    tree = plain(root)
    git(tree, "branch", "other/name")
    git(tree, "pack-refs", "--all")
    return tree


def moved_on(root: Path) -> Path:
    tree = packed(root)
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    return tree


def detached(root: Path) -> Path:
    tree = plain(root)
    git(tree, "checkout", "-q", "--detach")
    return tree


def below(root: Path) -> Path:
    folder = plain(root) / "deep" / "down"
    folder.mkdir(parents=True)
    return folder


def worktree(root: Path) -> Path:
    tree = packed(root)
    git(tree, "worktree", "add", "-q", "../linked", "other/name")
    git(root / "linked", "commit", "-q", "--allow-empty", "-m", "there")
    return root / "linked"


def submodule(root: Path) -> Path:
    inner = plain(root)
    git(root, "init", "-q", "outer")
    git(root / "outer", "submodule", "--quiet", "add", str(inner), "part")
    return root / "outer" / "part"


@pytest.mark.parametrize("make", [plain, packed, moved_on, detached, below, worktree, submodule])
def test_it_is_what_git_says(tmp_path: Path, make: object) -> None:
    assert callable(make)
    folder = make(tmp_path)
    assert checked_out(folder) == commit_of(folder) == git(folder, "rev-parse", "HEAD")


def test_what_the_files_do_not_say_is_asked_of_git_or_unknown(tmp_path: Path) -> None:
    assert (checked_out(tmp_path), commit_of(tmp_path)) == ("", "")
    git(tmp_path, "init", "-q", "empty")
    assert (checked_out(tmp_path / "empty"), commit_of(tmp_path / "empty")) == ("", "")
    tree = plain(tmp_path)
    commit = git(tree, "rev-parse", "HEAD")
    # A ref that leads to a ref is followed; one that leads out of the folder of refs is not.
    git(tree, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(tree, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert checked_out(tree) == commit
    (tree / ".git" / "HEAD").write_text("ref: refs/../../secret\n")
    assert checked_out(tree) == ""
