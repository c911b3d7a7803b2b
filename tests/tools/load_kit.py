"""Services that say who they are, and people who use them all the time and notice everything that goes wrong."""

from __future__ import annotations

import hashlib
import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BODY_BYTES = 4096


def body_of(name: str) -> bytes:
    """What a service of that name answers: its own name, and bytes that follow from it."""
    filled = (hashlib.sha256(name.encode()).hexdigest() * (BODY_BYTES // 64)).encode()
    return f"{name}\n".encode() + filled


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

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
    """People at one address: half of them keep their connection, some wait for slow answers."""

    def __init__(
        self, port: int, *, people: int = 4, slow_people: int = 2, seconds: Sequence[float] = (1.5,)
    ) -> None:
        """``seconds``: how long what slow people ask for takes, one of them each time."""
        self.port = port
        self.seconds = seconds
        self.slow = 0
        """How many slow answers there were."""
        self.answers: Counter[str] = Counter()
        """Who answered, how often."""
        self.failures: list[str] = []
        self._mark = self._since = 0.0
        self._fresh: Counter[str] = Counter()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self.threads = [
            threading.Thread(target=self._use, args=(each % 2 == 0, each >= people), daemon=True)
            for each in range(people + slow_people)
        ]

    def _use(self, keeps: bool, slow: bool) -> None:
        link: http.client.HTTPConnection | None = None
        chance = random.Random(threading.get_ident())
        while not self._over.is_set():
            began = time.monotonic()
            try:
                link = link or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                link.request("GET", f"/?slow={chance.choice(self.seconds)}" if slow else "/")
                answer = link.getresponse()
                self._note(answer.status, answer.read(), began, slow)
            except (OSError, http.client.HTTPException) as error:
                with self._lock:
                    self._fail(began, f"{type(error).__name__}: {error}")
                link = None
            if link is not None and not keeps:
                link.close()
                link = None
            self._over.wait(0.004)
        if link is not None:
            link.close()

    def _note(self, status: int, body: bytes, began: float, slow: bool) -> None:
        name = body.partition(b"\n")[0].decode("utf-8", "replace")
        with self._lock:
            if status != 200:
                self._fail(began, f"status {status}")
                return
            self.answers[name] += 1
            self.slow += slow
            if began >= self._mark:
                self._fresh[name] += 1
            if body != body_of(name):
                self._fail(began, f"{len(body)} bytes that are not those of {name!r}")

    def _fail(self, began: float, words: str) -> None:
        if began >= self._since:
            self.failures.append(words)

    @property
    def rate(self) -> float:
        """Requests a second so far."""
        return sum(self.answers.values()) / (time.monotonic() - self._began)

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
            f"{whole} requests, {self.slow} of them slow, {self.rate:.0f} a second,"
            f" {len(self.failures)} failed"
        )


@contextmanager
def load(port: int, **more: Any) -> Iterator[Load]:
    """Use a service while the body runs; the last requests are waited for."""
    made = Load(port, **more)
    for thread in made.threads:
        thread.start()
    try:
        yield made
    finally:
        made._over.set()
        for thread in made.threads:
            thread.join(30)
