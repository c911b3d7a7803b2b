"""Machines and stores for the tests of numbers: journals in homes of their own, a store in another
process and home behind a wrapper that misbehaves on demand, and one in this process that does."""

from __future__ import annotations

import os
import select
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from cxlocal_sync.plugin import cxlocal_register_stores
from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.config.settings import settings
from cxlocal.exchange.open import Access, open_store
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import SyncReport, synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import SCHEMES

ACTOR = {"id": "someone@example.org", "how": "test"}
FAULTS = ("delay", "lose-reply", "twice", "fail-after-commit", "fail-before")


class TestClock:
    """A clock whose wall time the test sets; monotonic time is real unless told otherwise."""

    __test__ = False

    def __init__(self, now_ms: int = 1_795_400_000_000) -> None:
        self.ms = now_ms
        self.step = 0

    def now_ms(self) -> int:
        self.ms += self.step
        return self.ms

    def monotonic(self) -> float:
        return SystemClock().monotonic()


def open_at(
    url: str | None, home: Path, environ: Mapping[str, str] = MappingProxyType({}), **chosen: Any
) -> Any:
    """The store at ``url`` as a command of the machine at ``home`` opens it; ``chosen`` are settings."""
    said = {"CXLOCAL_STORE": url or "", **environ}
    found = settings(None, local=None, environ=said)._replace(**chosen)
    return open_store(Access(found, cxlocal_register_stores(), home, said, home))


def open_journal(home: Path, clock: Any = None) -> Journal:
    return Journal.open(home / "journal.db", clock=clock or TestClock(), ids=SystemIds())


def request(run: str, *, line: str = "2.7", deliverable: str = "webshop", scheme: str = "semver",
            **rest: Any) -> NumberRequest:  # fmt: skip
    return NumberRequest(deliverable, line, SCHEMES[scheme], run, ACTOR, **rest)


def take(journal: Journal, store: Any, run: str, deliverable: str = "webshop", **rest: Any) -> int:
    """The number a run gets; ``store`` None: nobody is asked."""
    wanted = request(run, deliverable=deliverable, **rest)
    number = obtain_number(journal, store, wanted).number
    assert number is not None
    return number


def sync(journal: Journal, store: Any) -> SyncReport:
    """A contact that must come about."""
    report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
    assert report.reached, report.why
    return report


class ElsewhereStore:
    """The embedded store in another process and home. ``faults`` are used up one a request.

    A reply that was lost or is late is waited for ``patience`` seconds at most, whatever the
    caller allows: the tests want the fault, not the wait.
    """

    url = "elsewhere:"

    def __init__(self, home: Path, patience: float = 0.25) -> None:
        self.home = home
        self.patience = patience
        self.faults: list[str] = []
        self.asked = 0
        self._process: subprocess.Popen[bytes] | None = None

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        fault = self.faults.pop(0) if self.faults else ""
        self.asked += 1
        process = self._running()
        assert process.stdin is not None
        head = struct.pack(">II24s", self.asked, len(request), fault.encode())
        process.stdin.write(head + request)
        process.stdin.flush()
        wait = min(timeout, self.patience) if fault in ("delay", "lose-reply") else timeout
        while True:
            number, reply = self._read(process, wait)
            if number == self.asked:
                return reply

    def _read(self, process: subprocess.Popen[bytes], wait: float) -> tuple[int, bytes]:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], wait)
        if not ready:
            raise self._gone("no answer in time")
        head = self._exactly(process, 8)
        number, length = struct.unpack(">II", head)
        return number, self._exactly(process, length)

    def _exactly(self, process: subprocess.Popen[bytes], length: int) -> bytes:
        assert process.stdout is not None
        data = b""
        while len(data) < length:
            part = os.read(process.stdout.fileno(), length - len(data))
            if not part:
                self.close()
                raise self._gone("the connection was cut")
            data += part
        return data

    def _gone(self, why: str) -> StoreUnreachable:
        return StoreUnreachable("the store cannot be reached", why=why, url=self.url)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            script = Path(__file__).with_name("store_process.py")
            self._process = subprocess.Popen(
                [sys.executable, str(script), str(self.home)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
            )  # fmt: skip
        return self._process

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        return SqliteStore("sqlite:", self.home).missing_blobs(digests, timeout=timeout)

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        SqliteStore("sqlite:", self.home).put_blob(digest, content, timeout=timeout)

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        return SqliteStore("sqlite:", self.home).get_blob(digest, timeout=timeout)

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        SqliteStore("sqlite:", self.home).drop_blob(digest, timeout=timeout)

    def close(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()


class FaultyStore:
    """A store whose requests and replies can be lost, doubled or delivered late."""

    def __init__(self, store: Any, faults: Sequence[str] = ()) -> None:
        self.inner = store
        self.url = store.url
        self.faults = list(faults)
        self.down = False
        self.late: list[bytes] = []
        self.requests: list[bytes] = []

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        if self.down:
            raise StoreUnreachable("the store cannot be reached", why="it is down", url=self.url)
        self.requests.append(request)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "lose-request":
            raise StoreUnreachable("the store cannot be reached", why="lost", url=self.url)
        if fault == "late-request":
            self.late.append(request)
            raise StoreUnreachable("the store cannot be reached", why="slow", url=self.url)
        reply = self.inner.exchange(request, timeout=timeout)
        if fault == "twice":
            reply = self.inner.exchange(request, timeout=timeout)
        if fault == "lose-reply":
            raise StoreUnreachable("the store cannot be reached", why="lost", url=self.url)
        return reply

    def deliver_late(self) -> None:
        """What was held back arrives now; nobody hears the answers."""
        for request in self.late:
            self.inner.exchange(request, timeout=5)
        self.late.clear()

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        return self.inner.missing_blobs(digests, timeout=timeout)

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        self.inner.put_blob(digest, content, timeout=timeout)

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        return self.inner.get_blob(digest, timeout=timeout)

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        self.inner.drop_blob(digest, timeout=timeout)

    def close(self) -> None:
        self.inner.close()
