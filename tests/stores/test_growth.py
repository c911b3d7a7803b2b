"""What a message costs the embedded store does not grow with its history.

Counted in SQLite's own steps, not in time: a query that reads a whole log looks quick in a young
store and makes an old one unreachable within two seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from cxlocal_sync.stores import sqlite
from numbers_kit import open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemClock
from cxlocal.exchange.sync import synchronise


class Counting(SystemClock):
    """The store looks at the time every so many steps of SQLite."""

    looks = 0

    def monotonic(self) -> float:
        self.looks += 1
        return super().monotonic()


def test_a_message_costs_the_same_in_an_old_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_STEPS", 20)
    clock = Counting()
    (tmp_path / "central").mkdir()
    store = sqlite.SqliteStore("sqlite:", tmp_path / "central", clock=clock)
    laptop, agent = open_journal(tmp_path / "laptop"), open_journal(tmp_path / "agent")
    runs = 0

    def release(count: int) -> None:
        nonlocal runs
        for _ in range(count):
            runs += 1
            obtain_number((laptop, agent)[runs % 2], store, request(f"r{runs}"))

    def cost() -> int:
        """One online number, and ten taken without the store brought to it."""
        for index in range(10):
            obtain_number(laptop, None, request(f"n{runs}-{index}", when_empty="suffix"))
        synchronise(agent, store)
        before = clock.looks
        release(2)
        assert synchronise(laptop, store).pending == 0
        return clock.looks - before

    for journal in (laptop, agent):
        journal.connection.execute("PRAGMA synchronous=OFF")
        synchronise(journal, store)
    store._connection.execute("PRAGMA synchronous=OFF")  # type: ignore[union-attr]
    release(20)
    cost()
    young = cost()
    release(1500)
    cost()
    old = cost()
    for each in (laptop, agent, store):
        each.close()
    assert old < 1.5 * young, f"{young} looks in a young store, {old} in an old one"
