"""A server that has too much to do: whom it turns away, what it tells them, and that machines heed it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http.limits import ALWAYS_WAITING, PATIENCE_SECONDS, WAITING_MAX, Busy
from cxlocal_sync.http.threads import StoreThreads
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ThreadServer
from numbers_kit import open_journal

from cxlocal.clock import SystemClock
from cxlocal.exchange.sync import synchronise


class HeldStore(SqliteStore):
    """A store whose answers wait until somebody lets them go."""

    go_on = threading.Event()

    def answer(self, message: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        self.go_on.wait(30)
        return super().answer(message, timeout=timeout)


def visit(server: ThreadServer, home: Path) -> None:
    """One exchange of a machine."""
    store, journal = server.enrol(home, home.name), open_journal(home)
    synchronise(journal, store, budget_seconds=30)
    store.close()
    journal.close()


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[ThreadServer]:
    """A server with one message before the store and as many behind it as may always wait, each taking 40 s
    as it seems."""
    HeldStore.go_on = threading.Event()
    home = tmp_path / "central"
    made = ThreadServer(home, lambda: HeldStore("sqlite:", home))
    threads = made.service._exchanges
    for _ in range(200):
        threads._appointments.took(40.0)
    visitors = []
    for index in range(1 + ALWAYS_WAITING):
        visitor = threading.Thread(target=visit, args=(made, tmp_path / f"v{index}"))
        visitor.start()
        visitors.append(visitor)
        while threads._jobs.qsize() < index:
            assert visitor.is_alive(), "its message did not come to wait"
    yield made
    HeldStore.go_on.set()
    for visitor in visitors:
        visitor.join()
    made.close()


def test_a_machine_is_told_when_to_come_again(crowded: ThreadServer, tmp_path: Path) -> None:
    store, journal = crowded.enrol(tmp_path / "late", "late"), open_journal(tmp_path / "late")
    told = []
    for _ in range(2):
        report = synchronise(journal, store, use_breaker=False)
        assert (report.reached, report.pending) == (False, 1)
        assert "too many requests wait" in report.why
        told.append(report.after_seconds)
    # First those who wait, 50 s each with what is left free, and then who was told so before.
    assert 240 <= told[0] <= 251 and told[0] + 45 <= told[1] <= told[0] + 51
    store.close()
    journal.close()


@pytest.mark.parametrize(
    "seconds, patience, places",
    [(0.0, PATIENCE_SECONDS, WAITING_MAX), (0.003, PATIENCE_SECONDS, WAITING_MAX),
     (0.1, PATIENCE_SECONDS, 16), (0.1, 10.0, 101), (60.0, PATIENCE_SECONDS, ALWAYS_WAITING)],
)  # fmt: skip
def test_no_more_wait_than_can_be_answered_in_time(
    seconds: float, patience: float, places: int
) -> None:
    """One is in the works beside them."""

    async def crowd() -> int:
        go_on = threading.Event()
        threads = StoreThreads(lambda: None, 1, SystemClock(), "test")  # type: ignore[arg-type, return-value]
        for _ in range(200):
            threads._appointments.took(seconds)
        first = asyncio.ensure_future(threads.call(lambda store: go_on.wait(30)))
        await asyncio.sleep(0)
        while threads._jobs.qsize():
            await asyncio.sleep(0.001)
        tasks = [
            asyncio.ensure_future(threads.call(lambda store: None, patience_seconds=patience))
            for _ in range(2 * WAITING_MAX)
        ]
        await asyncio.sleep(0)
        waiting = threads._jobs.qsize()
        go_on.set()
        found = await asyncio.gather(first, *tasks, return_exceptions=True)
        threads.close()
        assert sum(isinstance(each, Busy) for each in found) == len(tasks) - waiting
        return waiting

    assert asyncio.run(crowd()) == places
