"""Commits after a release: known by git alone, and by nothing that somebody only says."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from cxlocal.errors import Trouble
from cxlocal.numbers.stamp import Stamp
from cxlocal.revision.bumps import bumps_in, make_commit, only_bumps
from cxlocal.revision.changes import changes_since
from cxlocal.runner.own_commits import OwnCommits

RULE = OwnCommits("shop", "", (Stamp("package.json", "version"),), "CHANGELOG.md", None)


@pytest.fixture
def work(desk: Any) -> Any:
    """A project with a file that is stamped."""
    work, _ = desk.project()
    work.commit("a", **{"package.json": '{"version": "0.0.0"}\n'})
    return work


def bump(work: Any, parent: str = "", name: str = "package.json", released: str = "") -> str:
    """A commit as a release makes it, checked out."""
    parent = parent or work.head()
    message = f"Release 1.0.0 [skip ci]\n\nReleased-By: cxlocal r1\nReleased-Commit: {released or parent}\n"
    content = f'{{"version": "1.0.{int(parent[:9], 16)}"}}\n'.encode()
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
    work: Any, case: str, nothing: bool
) -> None:
    _, known = history(work, case)
    found = [only_bumps(work.open(), work.head(), base, RULE) for base in {known, ""}]
    assert any(found) == nothing
    assert not only_bumps(work.open(), work.head(), known, None), "a project that has none"


def test_they_are_no_changes(work: Any) -> None:
    base = work.head()
    made = []
    for number in range(4):
        work.commit(f"c{number}")
        made.append(bump(work))
    assert bumps_in(work.open(), (work.head(), f"^{base}", "--"), RULE) == set(made)
    found = changes_since(work.open(), base, work.head(), besides=RULE)
    assert [one.subject for one in found.listed] == ["c3", "c2", "c1", "c0"] and found.total == 4
    cut = changes_since(work.open(), base, work.head(), besides=RULE, limit=2)
    assert ([one.subject for one in cut.listed], cut.total, cut.truncated) == (
        ["c3", "c2"],
        4,
        True,
    )
    whole = changes_since(work.open(), base, work.head())
    assert whole.total == 8


def test_nobody_hides_a_change_behind_the_words(work: Any) -> None:
    base = work.head()
    for name in ("src/code.py", "package.json.orig", "sub/package.json"):
        bump(work, name=name)
    found = changes_since(work.open(), base, work.head(), besides=RULE)
    assert found.total == len(found.listed) == 3


PACKAGE = '{"version": "0.0.0", "dependencies": {}}\n'
STAMPED = PACKAGE.replace("0.0.0", "1.0.0")
LOG = "# Changelog\n\n## Unreleased\n\n- Apples.\n\n## 0.9.0 - 2026-01-01\n\n- Pears.\n"
BARE = LOG.replace("- Apples.\n\n", "")
ENTRY = LOG.replace("d\n\n- A", "d\n\n## 1.0.0 - 2026-11-30\n\n- A")
RUNS = "r1 shop 1.0.0 release;r2 shop 1.0.1 release;r3 tent 1.0.0 release;r4 shop 1.0.0 deploy"


class Runs:
    """What a journal knows of runs."""

    def __init__(self, rows: str) -> None:
        self.database = sqlite3.connect(":memory:")
        self.database.row_factory = sqlite3.Row
        self.database.execute("CREATE TABLE run (id, deliverable, version, kind)")
        lines = [line.split() for line in rows.split(";") if line]
        self.database.executemany("INSERT INTO run VALUES (?, ?, ?, ?)", lines)

    def one(self, question: str, given: tuple[str, ...]) -> Any:
        return self.database.execute(question, given).fetchone()


@pytest.mark.parametrize(
    ("files", "log", "run", "counts"),
    [
        ({"package.json": STAMPED}, LOG, "r1", "both"),
        ({"package.json": STAMPED, "CHANGELOG.md": ENTRY}, LOG, "r1", "both"),
        ({"CHANGELOG.md": ENTRY}, LOG, "r1", "both"),
        ({"CHANGELOG.md": BARE.replace("## 0.9", "## 1.0.0 - 2026-11-30\n\n- Any\n  words.\n\n## 0.9")}, BARE, "r1", "both"),
        ({"CHANGELOG.md": "# Changelog\n\n## 1.0.0 - 2026-11-30\n\n- Any words.\n"}, "", "r1", "both"),
        ({"CHANGELOG.md": ENTRY.replace("\n", "\r\n")}, LOG.replace("\n", "\r\n"), "r1", "both"),
        ({"package.json": STAMPED.replace("{}", '{"evil": "1"}')}, LOG, "r1", ""),
        ({"package.json": STAMPED + "\n"}, LOG, "r1", ""),
        ({"package.json": PACKAGE.replace("{}", '{"evil": "1"}')}, LOG, "r1", ""),
        ({"package.json": STAMPED, "src/code.py": "x"}, LOG, "r1", ""),
        ({"package.json": STAMPED, "mode": "package.json"}, LOG, "r1", ""),
        ({"package.json": STAMPED, "link": "CHANGELOG.md"}, LOG, "r1", ""),
        ({"package.json": None}, LOG, "r1", ""),
        ({"CHANGELOG.md": None}, LOG, "r1", ""),
        ({"CHANGELOG.md": ENTRY.replace("- Pears.\n", "")}, LOG, "r1", ""),
        ({"CHANGELOG.md": ENTRY.replace("Apples", "Plums")}, LOG, "r1", ""),
        ({"CHANGELOG.md": ENTRY + "- More.\n"}, LOG, "r1", ""),
        ({"CHANGELOG.md": LOG + "- More.\n"}, LOG, "r1", ""),
        ({"package.json": STAMPED.replace("1.0.0", "; rm -rf /")}, LOG, "r1", ""),
        ({"package.json": STAMPED, "CHANGELOG.md": ENTRY.replace("1.0.0", "1.0.2")}, LOG, "r1", ""),
        ({"package.json": STAMPED.replace("1.0.0", "1.0.1")}, LOG, "r1", "never heard of"),
        ({"package.json": STAMPED}, LOG, "r2", "never heard of"),
        ({"package.json": STAMPED}, LOG, "r3", "never heard of"),
        ({"package.json": STAMPED}, LOG, "r4", "never heard of"),
        ({"package.json": STAMPED}, LOG, "invented", "never heard of"),
        ({"package.json": STAMPED}, LOG, "r1\nReleased-By: cxlocal r2", ""),
    ],
)  # fmt: skip
def test_a_commit_counts_by_its_bytes(
    work: Any, files: dict[str, str | None], log: str, run: str, counts: str
) -> None:
    base = work.commit("b", **{"package.json": PACKAGE} | ({"CHANGELOG.md": log} if log else {}))
    for name, text in files.items():
        if name == "mode":
            work.path.joinpath(str(text)).chmod(0o755)
        elif name == "link":
            work.path.joinpath(str(text)).unlink()
            work.path.joinpath(str(text)).symlink_to("package.json")
        elif text is None:
            work.path.joinpath(name).unlink()
        else:
            work.write(name, "").write_bytes(text.encode())
    work.git("add", "-A")
    message = f"Release\n\nReleased-By: cxlocal {run}\nReleased-Commit: {base}\n"
    work.git("commit", "-q", "--allow-empty", "-m", message)
    for known in (RUNS, ""):
        rule = RULE._replace(journal=Runs(known))
        expected = counts == "both" or (counts == "never heard of" and not known)
        found = bumps_in(work.open(), (work.head(), f"^{base}", "--"), rule)
        assert found == ({work.head()} if expected else set()), known
        assert only_bumps(work.open(), work.head(), base, rule) == expected, known


@pytest.mark.parametrize("brought", ['{"version": "0.0.0", "evil": "1"}\n', "none"])
def test_a_merge_brings_nothing_into_the_files_that_are_stamped(work: Any, brought: str) -> None:
    base, made = work.head(), bump(work)
    work.git("reset", "-q", "--hard", base)
    work.git("merge", "-q", "--no-ff", "-m", "Merge", made)
    assert only_bumps(work.open(), work.head(), base, RULE)
    work.write("package.json", brought)
    work.git("commit", "-q", "-a", "--amend", "--no-edit")
    assert not only_bumps(work.open(), work.head(), base, RULE)


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("changes", "changes is a folder"), ("changes/1.md/x.md", "changes/1.md is a file"),
        ("link.md", "link.md is a link"), ("way/x.md", "way is a link"),
        ("dangling", "dangling is a link"), ("changes/sub", "changes/sub is a folder"),
    ],
)  # fmt: skip
def test_a_commit_replaces_nothing_but_files(work: Any, name: str, kind: str) -> None:
    for link, to in (("link.md", "work.txt"), ("way", "changes"), ("dangling", "nowhere")):
        (work.path / link).symlink_to(to)
    parent = work.commit("c", **{"changes/1.md": "a", "changes/sub/2.md": "b"})
    with pytest.raises(Trouble, match=f"(?s){kind} in"):
        make_commit(work.open(), parent, {"package.json": b"x", name: b"y"}, "m", "A <a@b.org>")
