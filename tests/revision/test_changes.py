"""The commits since what is live, on histories of every shape."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxlocal.revision.changes import changes_since


def subjects(changes: Any) -> list[str]:
    return [commit.subject for commit in changes.listed]


def test_a_plain_step_forward(desk: Any) -> None:
    work, _ = desk.project()
    old = work.head()
    work.commit("third")
    new = work.commit("fourth")
    changes = changes_since(work.open(), old, new)
    assert subjects(changes) == ["fourth", "third"]
    assert (changes.total, changes.truncated, changes.note) == (2, False, "")
    assert changes.listed[0].commit == new
    assert changes.listed[0].author == "Test Author <author@example.org>"
    assert changes.listed[0].committed_at.endswith(".000Z")


def test_the_same_commit(desk: Any) -> None:
    work, _ = desk.project()
    changes = changes_since(work.open(), work.head(), work.head())
    assert (changes.total, changes.listed) == (0, ())
    assert changes.note == "the same commit as before"


def test_nothing_was_live(desk: Any) -> None:
    work, _ = desk.project()
    changes = changes_since(work.open(), None, work.head())
    assert subjects(changes) == ["second", "first"]
    assert (changes.total, changes.note) == (2, "nothing was live here before")


def test_many_are_counted(desk: Any) -> None:
    work, _ = desk.project()
    old = work.head()
    for number in range(7):
        work.commit(f"c{number}")
    changes = changes_since(work.open(), old, work.head(), limit=3)
    assert subjects(changes) == ["c6", "c5", "c4"]
    assert (changes.total, changes.truncated) == (7, True)
    exact = changes_since(work.open(), old, work.head(), limit=7)
    assert (exact.total, exact.truncated, len(exact.listed)) == (7, False, 7)


def test_a_step_back(desk: Any) -> None:
    work, _ = desk.project()
    changes = changes_since(work.open(), work.head(), work.head("HEAD~1"))
    assert (changes.total, changes.listed) == (0, ())
    assert changes.note == "goes back: 1 commit of what was live before are not in it"


def test_a_rewritten_branch(desk: Any) -> None:
    work, _ = desk.project()
    work.commit("dropped")
    old = work.commit("dropped too")
    work.git("reset", "-q", "--hard", "HEAD~2")
    new = work.commit("instead")
    changes = changes_since(work.open(), old, new)
    assert subjects(changes) == ["instead"]
    assert changes.note == "history differs: 2 commits of what was live before are not in it"


def test_no_common_history(desk: Any) -> None:
    work, _ = desk.project()
    old = work.head()
    work.git("checkout", "-q", "--orphan", "fresh")
    new = work.commit("a new start")
    changes = changes_since(work.open(), old, new)
    assert subjects(changes) == ["a new start"]
    assert changes.note == "the two revisions have no common history"


def test_what_was_live_is_not_in_this_clone(desk: Any) -> None:
    work, remote = desk.project()
    changes = changes_since(work.open(), "1" * 40, work.head())
    assert (changes.total, changes.listed) == (None, ())
    assert changes.note == "what was live before (111111111111) is unknown: it is not in this clone"
    shallow = desk.clone(remote, "shallow", "--depth=1")
    changes = changes_since(shallow.open(), work.head("HEAD~1"), shallow.head())
    assert changes.total is None
    assert changes.note.endswith("is unknown: this clone is shallow")


def test_a_walk_that_ends_where_a_clone_was_cut(desk: Any) -> None:
    work, remote = desk.project()
    work.commit("third")
    work.git("push", "-q", "origin", "main")
    shallow = desk.clone(remote, "shallow", "--depth=2")
    changes = changes_since(shallow.open(), None, shallow.head())
    assert subjects(changes) == ["third", "second"]
    assert changes.total is None
    assert changes.note.endswith("this clone is shallow, older commits are missing")
    inside = changes_since(shallow.open(), shallow.head("HEAD~1"), shallow.head())
    assert (subjects(inside), inside.total, inside.note) == (["third"], 1, "")


def test_merges_bring_their_branch(desk: Any) -> None:
    work, _ = desk.project()
    old = work.head()
    work.git("checkout", "-q", "-b", "topic")
    work.commit("on the topic", topic="x")
    work.git("checkout", "-q", "main")
    work.commit("on main", main="x")
    work.git("merge", "-q", "-m", "merge", "topic")
    changes = changes_since(work.open(), old, work.head())
    assert sorted(subjects(changes)) == ["merge", "on main", "on the topic"]


def test_only_what_touches_the_deliverable(desk: Any) -> None:
    work, _ = desk.project()
    old = work.head()
    work.commit("shop", services__shop__a="x")
    work.commit("other", services__other__a="x")
    changes = changes_since(work.open(), old, work.head(), paths=["services/shop"])
    assert (subjects(changes), changes.total) == (["shop"], 1)


def test_subjects_with_every_character(desk: Any) -> None:
    work, _ = desk.project()
    old = work.head()
    work.commit("a\x1b[31m|\t<b>'\"; --x \u2028 \U0001f680")
    changes = changes_since(work.open(), old, work.head())
    assert subjects(changes) == ["a\x1b[31m|\t<b>'\"; --x \u2028 \U0001f680"]


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    parents=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=2), min_size=2, max_size=6),
    data=st.data(),
)
def test_the_list_is_the_difference_of_two_histories(
    desk: Any, parents: list[list[int]], data: st.DataObject
) -> None:
    """Random histories with merges: listed = reachable from new and not from old."""
    work = desk.new(f"h{len(list(desk.folder.iterdir()))}")
    work.git("commit", "-q", "--allow-empty", "-m", "root")
    tree = work.git("rev-parse", "HEAD^{tree}")
    ids, reach = [work.head()], [{work.head()}]
    for number, chosen in enumerate(parents):
        places = sorted({place % len(ids) for place in chosen})
        options = [word for place in places for word in ("-p", ids[place])]
        ids.append(work.git("commit-tree", tree, *options, "-m", f"c{number}"))
        reach.append({ids[-1]}.union(*(reach[place] for place in places)))
    old = data.draw(st.integers(0, len(ids) - 1))
    new = data.draw(st.integers(0, len(ids) - 1))
    changes = changes_since(work.open(), ids[old], ids[new])
    assert {commit.commit for commit in changes.listed} == reach[new] - reach[old]
    assert changes.total == len(reach[new] - reach[old])
    assert bool(changes.note) == bool(old == new or reach[old] - reach[new])
