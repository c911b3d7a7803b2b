"""What a message costs the embedded store does not grow with its history.

Counted in SQLite's own steps, not in time: a query that reads a whole log looks quick in a young
store and makes an old one unreachable within two seconds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cxlocal_sync
import pytest
from cxlocal_sync.stores import sqlite
from cxlocal_sync.stores.session import SqliteSession
from numbers_kit import open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemClock
from cxlocal.exchange.sync import synchronise

STORES = Path(cxlocal_sync.__file__).parent
PLUS = re.compile(r"\b(?:AND|OR|WHERE|ON|BY) (\+[a-z_.]+)")
"""Keeps SQLite's planner from an index that it would take and that makes it go through a history."""


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
    assert old < 1.5 * young, f"{young} looks in a young store, {old} in an old one"
    # What keeps it so is there for a reason: each taken away would be noticed.
    connection = store._connection
    assert connection is not None
    asked = "SELECT name, sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"
    for name, sql in connection.execute(asked).fetchall():
        connection.execute(f"DROP INDEX {name}")
        assert cost() > 1.5 * old, f"nothing takes longer without {name}"
        connection.execute(sql)
    words = {words for path in STORES.rglob("*.py") for words in PLUS.findall(path.read_text())}
    assert words == {"+sequence"}
    plain = SqliteSession.execute
    for each in words:

        def execute(session: Any, sql: str, *rest: Any, words: str = each) -> Any:
            return plain(session, sql.replace(words, words[1:]), *rest)

        monkeypatch.setattr(SqliteSession, "execute", execute)
        assert cost() > 1.5 * old, f"nothing takes longer without {each}"
    for each_one in (laptop, agent, store):
        each_one.close()
