"""Services that say who they are, and people who use them all the time and notice everything that goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BODY_BYTES = 4096
RATE_MIN = 200
"""Requests a second in a load that tells something."""
WINDOW_SECONDS = 10
"""It must have them in any time as long as this."""
TICK_SECONDS, BURST, LATE_SECONDS = 0.01, 20, 2.0
"""When it looks whether requests are to begin, how many then may at once, and for how long a time in which it
could not begin any it makes up."""
ANSWER_SECONDS = 30.0
"""Nobody waits longer than this, beside what they asked for."""


def body_of(name: str) -> bytes:
    """What a service of that name answers: its own name, and bytes that follow from it."""
    filled = (hashlib.sha256(name.encode()).hexdigest() * (BODY_BYTES // 64)).encode()
    return f"{name}\n".encode() + filled


class Server(ThreadingHTTPServer):
    """More than five may come at once."""

    request_queue_size = 128


class Service:
    """Answers every path with ``body_of(name)``; ``/?slow=S`` after S seconds."""

    def __init__(self, name: str) -> None:
        body = body_of(name)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one write for head and body

            def do_GET(self) -> None:
                slow = parse_qs(urlsplit(self.path).query).get("slow")
                if slow:
                    time.sleep(float(slow[0]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_OPTIONS = do_HEAD = do_GET

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *whom: None  # health checks hang up early
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


class Load:
    """People at one address, as many each second whatever becomes of their requests: half of them keep their
    connection, one in nineteen waits for a slow answer. All in one thread, so that it costs little."""

    def __init__(
        self, port: int, *, rate: float = 260, seconds: tuple[float, float] = (1, 20)
    ) -> None:
        """``rate``: requests that begin each second. ``seconds``: the shortest and the longest of slow answers;
        as many take 1 to 2 s as 10 to 20."""
        self.port, self.pace, self.seconds = port, rate, seconds
        self.answers: Counter[str] = Counter()
        """Who answered, how often."""
        self.slow = self.kept = 0
        """Of the answers: how many were slow, and came by a connection that others had used."""
        self.begun = self.begun_slow = 0
        """Requests, also those whose answer was forgiven."""
        self.longest = 0.0
        """Seconds until the last of those was answered that ask for nothing slow: tells of a machine too busy."""
        self.failures: list[str] = []
        self._each_second: Counter[int] = Counter()
        self._mark = self._since = 0.0
        self._fresh: Counter[str] = Counter()
        self._idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = deque()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._ended = 0.0
        self.thread = threading.Thread(target=lambda: asyncio.run(self._come()), daemon=True)

    async def _come(self) -> None:
        with contextlib.suppress(PermissionError):
            # People have machines of their own: where this one is busy there are not fewer of them.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        chance = random.Random(1)
        under_way: set[asyncio.Task[None]] = set()
        late = time.monotonic()
        while not self._over.is_set():
            for _ in range(BURST):
                if late > time.monotonic():
                    break
                late += 1 / self.pace
                number = self.begun
                self.begun += 1
                self._each_second[int(late - self._began)] += 1
                shortest, longest = self.seconds
                wait = shortest * (longest / shortest) ** chance.random()
                slow = number % 19 == 0
                self.begun_slow += slow
                task = asyncio.create_task(self._ask(number % 2 == 0, wait if slow else 0))
                under_way.add(task)
                task.add_done_callback(under_way.discard)
            else:
                late = max(
                    late, time.monotonic()
                )  # what it could not begin in time shows in its figures
            await asyncio.sleep(TICK_SECONDS)
        self._ended = time.monotonic()
        if under_way:
            await asyncio.wait(under_way)
        for _, writer in self._idle:
            writer.close()
        await asyncio.sleep(
            TICK_SECONDS
        )  # connections end a turn of the loop after they are closed

    async def _ask(self, keeps: bool, wait: float) -> None:
        began, link = time.monotonic(), None
        try:
            async with asyncio.timeout(wait + ANSWER_SECONDS):
                used = keeps and bool(self._idle)
                link = self._idle.popleft() if used else await self._open()
                status, body, stays = await _exchange(*link, f"/?slow={wait:.2f}" if wait else "/")
            if keeps and stays:
                self._idle.append(link)
            else:
                link[1].close()
            if not wait:
                self.longest = max(self.longest, time.monotonic() - began)
            self._note(status, body, began, slow=bool(wait), used=used)
        except (OSError, EOFError, ValueError) as error:
            if link:
                link[1].close()
            told = "after a slow request: " if wait else ""
            self._fail(began, f"{told}{type(error).__name__}: {error}")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def _note(self, status: int, body: bytes, began: float, *, slow: bool, used: bool) -> None:
        name = body.partition(b"\n")[0].decode("utf-8", "replace")
        if status != 200:
            self._fail(began, f"status {status}")
            return
        with self._lock:
            self.answers[name] += 1
            self.slow += slow
            self.kept += used
            if began >= self._mark:
                self._fresh[name] += 1
        if body != body_of(name):
            self._fail(began, f"{len(body)} bytes that are not those of {name!r}")

    def _fail(self, began: float, words: str) -> None:
        with self._lock:
            if began >= self._since:
                self.failures.append(f"{words} ({began - self._began:.1f} s after the beginning)")

    @property
    def rate(self) -> float:
        """The fewest requests a second that began in any ten seconds so far; in all of it where it is shorter."""
        whole = int((self._ended or time.monotonic()) - self._began)
        each = [self._each_second[second] for second in range(max(1, whole))]
        length = min(WINDOW_SECONDS, len(each))
        return min(sum(each[at : at + length]) for at in range(len(each) - length + 1)) / length

    def faults(self) -> list[str]:
        """What went wrong, and what makes this no load that tells anything."""
        whole = sum(self.answers.values())
        lacks = {
            f"only {self.rate:.0f} requests a second": self.rate < RATE_MIN,
            f"only {self.begun_slow} of {self.begun} were to be slow": self.begun_slow
            < self.begun / 20,
            f"only {self.kept} of {whole} came by connections that stayed": self.kept
            < whole * 0.45,
        }
        return self.failures + [words for words, true in lacks.items() if true]

    def forgive(self) -> None:
        """What was asked before now may have failed: everybody asks once more, and that counts."""
        with self._lock:
            self._since = time.monotonic()
            self.failures.clear()

    def wait_for(self, requests: int) -> Counter[str]:
        """Who answers so many requests that are made from now on."""
        with self._lock:
            self._mark, self._fresh = time.monotonic(), Counter()
        deadline = time.monotonic() + 30
        while sum(self._fresh.values()) < requests:
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.01)
        return Counter(self._fresh)

    def __str__(self) -> str:
        """Figures for people."""
        whole = sum(self.answers.values())
        return (
            f"{whole} requests in {(self._ended or time.monotonic()) - self._began:.0f} s, at least"
            f" {self.rate:.0f} a second, {self.slow} of them slow, {self.kept} by connections that stayed;"
            f" the others took {self.longest:.1f} s at most; {len(self.failures)} failed"
        )


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str
) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection stays. Raises OSError, EOFError, ValueError."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = head.partition("content-length: ")[2].partition("\r\n")[0]
    body = await reader.readexactly(int(length))
    return int(head.split(" ", 2)[1]), body, "connection: close" not in head


@contextlib.contextmanager
def load(port: int, **more: Any) -> Iterator[Load]:
    """Use a service while the body runs; the last requests are waited for."""
    made = Load(port, **more)
    made.thread.start()
    try:
        yield made
    finally:
        made._over.set()
        made.thread.join(made.seconds[1] + ANSWER_SECONDS)
