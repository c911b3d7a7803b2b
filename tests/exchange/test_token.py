"""The contact token: exhaustive over short stories of a node, its copy and its store."""

from __future__ import annotations

from itertools import product

from cxlocal.exchange.breaker import PAUSE_MS, rests
from cxlocal.exchange.token import ACCEPTED, COPY, NO_TOKEN, STORE_WENT_BACK, Token, judge, propose
from cxlocal.journal.whereabouts import file_hint, same_place


class Holder:
    """A journal: its token and its pending proposal."""

    def __init__(self, token: Token, proposal: Token | None = None) -> None:
        self.token, self.proposal = token, proposal


def contact(holder: Holder, store: list[Token | None], fresh: str, *, lost: bool) -> str:
    holder.proposal = holder.proposal or propose(holder.token, fresh)
    verdict = judge(holder.token, holder.proposal, store[0])
    if verdict == ACCEPTED:
        store[0] = holder.proposal
        if not lost:
            holder.token = holder.proposal
            holder.proposal = None
    return verdict


def test_p9_no_false_alarm_whatever_is_lost() -> None:
    for story in product((True, False), repeat=7):
        store: list[Token | None] = [None]
        node = Holder(NO_TOKEN)
        for turn, lost in enumerate(story):
            assert contact(node, store, f"p{turn + 1}", lost=lost) == ACCEPTED


def test_p9_two_live_copies_are_noticed_before_both_made_two_contacts() -> None:
    for story in product("ab", (True, False), "ab", (True, False), "ab", (True, False), "ab"):
        store: list[Token | None] = [None]
        first = Holder(NO_TOKEN)
        contact(first, store, "q", lost=False)
        second = Holder(first.token, first.proposal)
        answered = {"a": 0, "b": 0}
        alarms = 0
        for turn, who in enumerate(story[::2]):
            lost = story[2 * turn + 1] if 2 * turn + 1 < len(story) else False
            holder = first if who == "a" else second
            verdict = contact(holder, store, f"{who}{turn}", lost=bool(lost))
            alarms += verdict != ACCEPTED
            answered[who] += verdict == ACCEPTED and not lost
        if answered["a"] >= 2 and answered["b"] >= 2:
            assert alarms


def test_verdicts() -> None:
    current, proposal = Token(5, "c"), Token(6, "p")
    assert judge(current, proposal, current) == ACCEPTED
    assert judge(current, proposal, proposal) == ACCEPTED
    assert judge(current, proposal, Token(5, "other")) == COPY
    assert judge(current, proposal, Token(9, "other")) == COPY
    assert judge(current, proposal, Token(4, "old")) == STORE_WENT_BACK
    assert judge(current, proposal, None) == STORE_WENT_BACK
    assert judge(current, proposal, NO_TOKEN) == ACCEPTED
    assert judge(NO_TOKEN, Token(1, "p"), None) == ACCEPTED
    assert judge(NO_TOKEN, Token(1, "p"), Token(1, "x")) == COPY


def test_a_failure_in_the_future_is_void() -> None:
    assert rests(1000, 1000)
    assert rests(1000, 999 + PAUSE_MS)
    assert not rests(1000, 1000 + PAUSE_MS)
    assert not rests(1000, 999)


def test_hints(tmp_path) -> None:  # type: ignore[no-untyped-def]
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_bytes(one.read_bytes())
    assert not same_place(file_hint(one), file_hint(two)), "a copy has another inode"
    before = file_hint(one)
    one.rename(tmp_path / "three")
    assert same_place(before, file_hint(tmp_path / "three")), "a move within a disk keeps it"
    assert same_place("", before)


def test_a_hint_of_a_file_that_was_made_anew(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """A file system may give the inode of a deleted file to the next one."""
    path = tmp_path / "journal.db"
    reused = 0
    for _ in range(50):
        path.write_text("x")
        before, inode = file_hint(path), path.stat().st_ino
        path.unlink()
        path.write_text("x")
        reused += path.stat().st_ino == inode
        assert not same_place(before, file_hint(path))
        path.write_text("more")
        path.chmod(0o600)
        again = file_hint(path)
        path.write_text("and more")
        assert same_place(again, file_hint(path)), "writing and new rights change nothing"
        path.unlink()
    if reused == 0:
        assert before.count("|") == 3, "nothing was tried on this file system"


def test_hints_with_and_without_the_birth_of_the_inode() -> None:
    assert same_place("m|7|9", "m|7|9|1700000000.5")
    assert same_place("m|7|9|1700000000.5", "m|7|9")
    assert not same_place("m|7|9|1700000000.5", "m|7|9|1700000001.5")
    assert not same_place("m|7|9", "m|8|9|1700000000.5")


def test_p9_a_restored_backup_is_noticed_at_its_first_contact() -> None:
    for later in range(1, 4):
        store: list[Token | None] = [None]
        node = Holder(NO_TOKEN)
        contact(node, store, "p0", lost=False)
        backup = Holder(node.token)
        for turn in range(later):
            contact(node, store, f"p{turn + 1}", lost=False)
        assert contact(backup, store, "b", lost=False) == COPY
