"""``cx.local.toml`` is believed only as a person's word on this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cxlocal.clock import SystemIds
from cxlocal.revision.local_file import LocalFile, agree_to_local, effective, find_local, first_home

TEXT = 'home = "records"\n'


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"CXLOCAL_HOME": str(tmp_path / "cx")}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def look(tree: Path, environ: dict[str, str]) -> LocalFile:
    found = find_local(tree, environ, SystemIds())
    assert found is not None
    return found


def agree(tree: Path, environ: dict[str, str]) -> None:
    agree_to_local(look(tree, environ), first_home(environ, SystemIds()), "now")


def git(tree: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=tree, check=True, capture_output=True)


def test_without_the_file_there_is_none(tree: Path, environ: dict[str, str]) -> None:
    assert find_local(tree, environ, SystemIds()) is None
    (tree / "cx.local.toml").mkdir()
    found = find_local(tree, environ, SystemIds())
    assert found is not None and found.ignored == "it is not a plain file"
    assert effective(None) is None


@pytest.mark.parametrize("repository", [True, False])
def test_it_counts_as_it_was_agreed_to(
    tree: Path, environ: dict[str, str], repository: bool
) -> None:
    if repository:
        git(tree, "init", "-q", ".")
    path = tree / "cx.local.toml"
    path.write_text(TEXT)
    assert "cxlocal trust" in look(tree, environ).ignored
    agree(tree, environ)
    assert look(tree, environ).ignored == "" and effective(look(tree, environ)) == str(path)
    path.write_text(TEXT + "# and more\n")
    assert effective(look(tree, environ)) is None
    path.write_text(TEXT)
    other = {"CXLOCAL_HOME": environ["CXLOCAL_HOME"] + "2"}
    assert "cxlocal trust" in look(tree, other).ignored


@pytest.mark.parametrize("change", ["add", "link", "case", "broken"])
def test_what_git_may_have_brought_never_counts(
    tree: Path, environ: dict[str, str], change: str
) -> None:
    git(tree, "init", "-q", ".")
    path = tree / "cx.local.toml"
    path.write_text(TEXT)
    agree(tree, environ)
    if change == "link":
        (tree / "theirs.toml").write_text(TEXT)
        path.unlink()
        path.symlink_to("theirs.toml")
    if change == "broken":
        (tree / ".git" / "index").write_bytes(b"nonsense")
    else:
        git(tree, "add", "-f", "-A")
        if change == "case":
            git(tree, "update-index", "--skip-worktree", "cx.local.toml")
    found = look(tree, environ)
    assert found.tracked and effective(found) is None
    assert "git" in found.ignored
