"""A server that has too much to do: whom it turns away, what it tells them, and that machines heed it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.limits import ALWAYS_WAITING, PATIENCE_SECONDS, WAITING_MAX, Busy
from cxlocal_sync.http.line import seconds_to_wait
from cxlocal_sync.http.threads import StoreThreads
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ThreadServer
from numbers_kit import open_journal, request

from cxlocal.allocation import allocator
from cxlocal.allocation import request as request_module
from cxlocal.allocation.allocator import obtain_number
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.errors import StoreNeeded
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.runner import handover
from cxlocal.runner.handover import send_patiently


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


class HandClock:
    """The clock of a machine, moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return 1_795_400_000_000 + round(self.seconds * 1000)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Turned(NamedTuple):
    """A server that turns everybody away, as the ones before a store do, and what it was asked."""

    url: str
    told: dict[str, str]
    """What its answers say beside their status."""
    asked: list[float]
    """When it was asked, by the clock of the machine."""
    clock: HandClock


@pytest.fixture(params=[429, 503])
def turned(request: pytest.FixtureRequest) -> Iterator[Turned]:
    clock = HandClock()
    told: dict[str, str] = {}
    asked: list[float] = []

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            asked.append(clock.monotonic())
            self.send_response_only(request.param)
            for name, value in {"content-length": "4", **told}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"busy")

        def log_message(self, *said: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield Turned(f"http://127.0.0.1:{server.server_port}", told, asked, clock)
    server.shutdown()
    thread.join()
    server.server_close()


def opened(turned: Turned, home: Path) -> tuple[HttpStore, Journal]:
    """A machine that has a token for that server."""
    store = HttpStore(turned.url, home)
    store.sign_in(lambda: "t" * 64)
    return store, Journal.open(home / "journal.db", clock=turned.clock, ids=SystemIds())


DATED = "Mon, 23 Nov 2026 02:14:05 GMT"
SAYS = {
    "seconds": (40, {"retry-after": "40"}),
    "a date": (40, {"date": DATED, "retry-after": "Mon, 23 Nov 2026 02:14:45 GMT"}),
    "less than a minute by far": (2, {"retry-after": "2"}),
    "more than a minute": (300, {"date": DATED, "retry-after": "Mon, 23 Nov 2026 02:19:05 GMT"}),
    "nothing": (60, {}),
    "what has passed": (60, {"date": DATED, "retry-after": "Mon, 23 Nov 2026 02:14:04 GMT"}),
    "what nobody can read": (60, {"retry-after": "soon"}),
    "for ever": (600, {"retry-after": "9" * 30}),
}


@pytest.mark.parametrize("says", SAYS)
def test_a_machine_comes_again_when_it_was_told_to(
    turned: Turned, tmp_path: Path, says: str
) -> None:
    """Whatever it does meanwhile: its next runs leave the store alone, and ask it in time."""
    seconds, told = SAYS[says]
    turned.told.update(told)
    store, journal = opened(turned, tmp_path)
    assert not synchronise(journal, store).reached
    for passed in (0.5, seconds - 1, seconds + 1):
        turned.clock.seconds = passed
        report = synchronise(journal, store)
        assert not report.reached
        if passed < seconds:
            assert turned.asked == [0]
            left = f"asks to be left alone for {ceil(seconds - passed)} s"
            assert (left in report.why) is (seconds != 60)
    assert turned.asked == [0, seconds + 1]
    # A clock that was set back since keeps nobody away.
    turned.clock.seconds -= 3600
    synchronise(journal, store)
    assert len(turned.asked) == 3
    # Nor does a word from before what was seen last.
    turned.told.clear()
    turned.clock.seconds += 7200
    synchronise(journal, store)
    turned.clock.seconds += 61
    synchronise(journal, store)
    assert len(turned.asked) == 5
    store.close()
    journal.close()


@pytest.mark.parametrize(
    "asked, patience, comes",
    [(30, 100, [0, 30, 60, 90, 100]), (300, 100, [0, 100]), (1, 3, [0, 1, 2, 3]), (30, 0, [0])],
)
@pytest.mark.parametrize("brings", [False, True])
def test_a_passing_machine_waits_as_long_as_it_was_told_to(
    turned: Turned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: int, patience: int,
    comes: list[int], brings: bool,
) -> None:  # fmt: skip
    """Within its patience, for its number and for bringing what it recorded; at the end of that it asks once
    more, as nobody does in its place."""
    turned.told["retry-after"] = str(asked)
    store, journal = opened(turned, tmp_path)
    for module in (allocator, handover):
        monkeypatch.setattr(module, "time", turned.clock)
    monkeypatch.setattr(request_module, "PAUSES_SECONDS", (0.01,))
    if brings:
        assert not send_patiently(journal, store, patience).reached
    else:
        with pytest.raises(StoreNeeded):
            obtain_number(journal, store, request("r1", kept=False), patience_seconds=patience)
    assert [pytest.approx(each, abs=0.2) for each in comes] == turned.asked
    store.close()
    journal.close()


@pytest.mark.parametrize(
    "after, date, seconds",
    [("40", "", 40), ("0", "", 0), ("9" * 300, "", 999_999_999), ("-5", "", 0), ("", "", 0),
     ("Thu, 01 Jan 1970 00:01:00 GMT", "", 60), ("Thu, 01 Jan 1970 00:01:00 -0000", "", 60),
     ("Thu, 01 Jan 1970 00:01:00 GMT", "Thu, 01 Jan 1970 00:00:50 GMT", 10),
     ("Thu, 01 Jan 1970 00:01:00 GMT", "whenever", 60), ("Thu, 32 Jan 1970 00:01:00 GMT", "", 0),
     ("Thu, 01 Jan 99999 00:01:00 GMT", "", 0), ("\u0664\u0660", "", 0), ("4 0", "", 0)],
)  # fmt: skip
def test_when_to_come_again_is_read_from_seconds_and_dates(
    after: str, date: str, seconds: int
) -> None:
    assert seconds_to_wait(after, date, 0.0) == seconds
