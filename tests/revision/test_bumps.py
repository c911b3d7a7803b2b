"""Commits after a release: known by git alone, and by nothing that somebody only says."""

from __future__ import annotations

from typing import Any

import pytest

from cxlocal.revision.bumps import bumps_in, make_commit, only_bumps
from cxlocal.revision.changes import changes_since

FILES = frozenset({"package.json", "CHANGELOG.md"})


def bump(work: Any, parent: str = "", name: str = "package.json", released: str = "") -> str:
    """A commit as a release makes it, checked out."""
    parent = parent or work.head()
    message = f"Release 1.0.0 [skip ci]\n\nReleased-By: cxlocal r1\nReleased-Commit: {released or parent}\n"
    content = f"of {parent}\n".encode()
    made = make_commit(work.open(), parent, {name: content}, message, "Ann <a@example.org>")
    work.git("reset", "-q", "--hard", made)
    return made


def history(work: Any, case: str) -> tuple[str, str]:
    """A history, and the commit that was released last as a journal tells; empty where it tells nothing."""
    released = work.head()
    if case == "nothing since":
        return released, released
    made = bump(work, name="src/code.py" if case == "it touches more" else "package.json")
    if case in ("one", "it touches more"):
        return released, ""
    if case == "two":
        bump(work, released=released)
    elif case == "a commit behind it":
        work.commit("work", code="x")
    elif case == "somebody says so":
        work.git("reset", "-q", "--hard", released)
        work.commit("x\n\nReleased-By: cxlocal r1\nReleased-Commit: " + released, code="x")
    elif case == "picked onto other work":
        work.git("reset", "-q", "--hard", released)
        work.commit("work", code="x")
        work.git("cherry-pick", made)
    elif case in ("merged", "merged with more"):
        work.git("reset", "-q", "--hard", released)
        work.git("commit", "-q", "--allow-empty", "-m", "the next one")
        later = work.head()
        work.git("merge", "-q", "--no-ff", "-m", "Merge it", made)
        if case == "merged with more":
            work.write("code", "slipped in")
            work.git("add", "-A")
            work.git("commit", "-q", "--amend", "--no-edit")
        return later, later
    return released, ""


@pytest.mark.parametrize(
    ("case", "nothing"),
    [
        ("one", True), ("two", True), ("merged", True), ("a commit behind it", False),
        ("somebody says so", False), ("it touches more", False), ("picked onto other work", False),
        ("merged with more", False), ("nothing since", False),
    ],
)  # fmt: skip
def test_a_commit_brings_nothing_but_what_was_written_after_a_release(
    desk: Any, case: str, nothing: bool
) -> None:
    work, _ = desk.project()
    _, known = history(work, case)
    found = [only_bumps(work.open(), work.head(), base, FILES) for base in {known, ""}]
    assert any(found) == nothing
    assert not only_bumps(work.open(), work.head(), known, ()), "a project that has none"


def test_they_are_no_changes(desk: Any) -> None:
    work, _ = desk.project()
    base = work.head()
    made = []
    for number in range(4):
        work.commit(f"c{number}")
        made.append(bump(work))
    assert bumps_in(work.open(), (work.head(), f"^{base}", "--"), FILES) == set(made)
    found = changes_since(work.open(), base, work.head(), besides=FILES)
    assert [one.subject for one in found.listed] == ["c3", "c2", "c1", "c0"] and found.total == 4
    cut = changes_since(work.open(), base, work.head(), besides=FILES, limit=2)
    assert ([one.subject for one in cut.listed], cut.total, cut.truncated) == (
        ["c3", "c2"],
        4,
        True,
    )
    whole = changes_since(work.open(), base, work.head())
    assert whole.total == 8


def test_nobody_hides_a_change_behind_the_words(desk: Any) -> None:
    work, _ = desk.project()
    base = work.head()
    for name in ("src/code.py", "package.json.orig", "sub/package.json"):
        bump(work, name=name)
    found = changes_since(work.open(), base, work.head(), besides=FILES)
    assert found.total == len(found.listed) == 3


def test_the_commit_holds_these_bytes_and_nothing_else_moves(desk: Any) -> None:
    work, _ = desk.project()
    work.write("tool.sh", "#!/bin/sh\n").chmod(0o755)
    work.write("docs/a b.md", "x")
    parent = work.commit("more", other="y")
    status = work.git("status", "--porcelain", "--branch")
    files = {"tool.sh": b"\xff\x00\n", "docs/a b.md": b"new\n", "neu/\xe4.txt": b"z"}
    made = make_commit(work.open(), parent, files, "m\n", "Ann <a@example.org>")
    assert work.git("status", "--porcelain", "--branch") == status and work.head() == parent
    assert set(work.git("diff", "-z", "--name-only", parent, made).split("\0")[:-1]) == set(files)
    assert work.git("ls-tree", made, "tool.sh").startswith("100755")
    assert work.git("log", "-1", "--format=%P", made) == parent
    work.git("cat-file", "blob", f"{made}:docs/a b.md")
