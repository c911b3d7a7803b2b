"""The rules of the grant log, without any store."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cxlocal.numbers import log

ADDRESS = ("lineage", "webshop", "2.7")


def verify_log(address: tuple[str, str, str], entries: Iterable[log.Entry]) -> log.LogState:
    """Fold, and check every hash. Raises LogBroken naming the first bad entry."""
    state = log.EMPTY
    for entry in entries:
        if log.entry_hash(*address, entry) != entry.hash:
            raise log.LogBroken(f"entry {entry.k} was changed after it was written")
        state = log.apply(state, entry)
    return state


def test_placing_ahead_and_above_all_others() -> None:
    assert log.place_reserve(log.LogState(online=14, high=14), 3, 100) == (114, 116)
    assert log.place_reserve(log.LogState(online=14, high=120), 3, 100) == (121, 123)
    assert log.place_reserve(log.EMPTY, 1, 0) == (0, 0)


def test_exchange_is_due_within_half_the_distance() -> None:
    state = log.LogState(online=50, high=102)
    assert log.exchange_due(state, None, 100)
    assert not log.exchange_due(state, (101, 102), 100)
    assert log.exchange_due(state, (100, 102), 100)
    assert log.exchange_due(state, (40, 42), 100)


def test_a_changed_entry_is_noticed() -> None:
    state, entries = log.EMPTY, []
    for number in range(3):
        entry = log.make_entry(
            state, ADDRESS, log.ONLINE, number, number, node="n", run=f"r{number}"
        )
        state = log.apply(state, entry)
        entries.append(entry)
    assert verify_log(ADDRESS, entries) == state
    for index, changed in [
        (1, entries[1]._replace(run="other")),
        (1, entries[1]._replace(hi=2)),
        (0, entries[0]._replace(node="m")),
    ]:
        with pytest.raises(log.LogBroken):
            verify_log(ADDRESS, [*entries[:index], changed, *entries[index + 1 :]])
    with pytest.raises(log.LogBroken):
        verify_log(ADDRESS, entries[1:])
    with pytest.raises(log.LogBroken):
        verify_log(("another lineage", "webshop", "2.7"), entries)


@pytest.mark.parametrize(
    ("kind", "lo", "hi"),
    [
        ("online", 3, 3), ("online", 6, 7), ("online", 10, 10), ("reserve", 12, 14),
        ("reserve", 4, 5), ("raise", 3, 9), ("raise", 7, 9), ("gift", 20, 20), ("online", -1, -1),
        ("online", 9, 8),
    ],
)  # fmt: skip
def test_entries_against_the_rules_are_refused(kind: str, lo: int, hi: int) -> None:
    held = log.Held(10, 12, "n", 2)
    state = log.LogState(online=5, high=12, reserves=(held,), k=2, hash="x")
    with pytest.raises(log.LogBroken):
        log.apply(state, log.make_entry(state, ADDRESS, kind, lo, hi, node="n"))


class LogMachine(RuleBasedStateMachine):
    """Any program of grants: disjoint, online ascending, cursors rising, equal to its own fold."""

    def __init__(self) -> None:
        super().__init__()
        self.state = log.EMPTY
        self.entries: list[log.Entry] = []
        self.granted: set[int] = set()
        self.last_online = -1

    def add(self, kind: str, lo: int, hi: int) -> None:
        before = self.state
        entry = log.make_entry(before, ADDRESS, kind, lo, hi, node="n")
        self.state = log.apply(before, entry)
        self.entries.append(entry)
        assert self.state.online >= before.online
        assert self.state.high >= before.high

    def hand_out(self, lo: int, hi: int) -> None:
        numbers = set(range(lo, hi + 1))
        assert not numbers & self.granted, "granted twice"
        self.granted |= numbers

    @rule()
    def online(self) -> None:
        number = log.next_online(self.state)
        assert number > self.last_online
        between = range(self.state.online + 1, number)
        assert all(log.holder(self.state, each) for each in between), "skipped what was free"
        self.last_online = number
        self.hand_out(number, number)
        self.add(log.ONLINE, number, number)

    @rule(size=st.integers(1, 5), ahead=st.integers(1, 20))
    def reserve(self, size: int, ahead: int) -> None:
        lo, hi = log.place_reserve(self.state, size, ahead)
        assert lo >= self.state.online + ahead
        self.hand_out(lo, hi)
        self.add(log.RESERVE, lo, hi)

    @rule(number=st.integers(0, 60))
    def lift(self, number: int) -> None:
        span = log.raise_range(self.state, number)
        if span:
            self.last_online = max(self.last_online, number)
            self.add(log.RAISE, *span)

    @invariant()
    def folds_to_itself(self) -> None:
        assert verify_log(ADDRESS, self.entries) == self.state


LogMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)
TestLogRules = LogMachine.TestCase
