"""A server between a tool and a real registry: it passes requests on, or does what registries do on bad days."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

WRITES = ("POST", "PUT", "PATCH", "DELETE")
NOT_PASSED = ("connection", "content-length", "transfer-encoding", "expect")
NOT_SAID = ("transfer-encoding", "content-length", "connection", "date", "server")


class Weather(ThreadingHTTPServer):
    """``mood`` is what it does with requests: fine, down (502), gone after writing, late after writing (504),
    no writing, expired, yanked (files of a package index)."""

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behind = urlsplit(behind)
        self.double: Any = None
        """What stands behind it, where that is no real one."""
        self.mood = "fine"
        self.seen: list[tuple[str, str]] = []
        """Method and path of each request."""
        self.taken: list[str] = []
        """What the registry took: the method and its answer's status."""
        self.stop_at = ""
        """Where to stop until ``go``: method, and before or after it reached the registry; ``GET 2`` is the
        second GET."""
        self.reached, self.go = threading.Event(), threading.Event()
        self.counts: Counter[str] = Counter()
        self.drops = False
        """What was stopped comes to nothing."""

    def pass_by(self, method: str, when: str) -> bool:
        """Stop here if it is the place; whether to go on."""
        if when == "before":
            self.counts[method] += 1
        if self.stop_at in (f"{method} {when}", f"{method} {self.counts[method]} {when}"):
            self.stop_at = ""
            self.reached.set()
            self.go.wait(30)
            return not self.drops
        return True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Weather

    def _answer(self) -> None:
        weather, writes = self.server, self.command in WRITES
        weather.seen.append((self.command, self.path))
        body = self._body()
        if weather.mood == "down":
            return self._say(502, b"bad gateway")
        if weather.mood == "expired":
            return self._say(401, _refusal("UNAUTHORIZED", "the token has expired"))
        if weather.mood == "no writing" and writes:
            return self._say(403, _refusal("DENIED", "this place is read-only"))
        if not weather.pass_by(self.command, "before"):
            self.close_connection = True
            return None
        link = HTTPConnection(weather.behind.hostname or "", weather.behind.port, timeout=20)
        link.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():  # some of them several times
            if name.lower() not in NOT_PASSED:
                link.putheader(name, value)
        if body or writes:
            link.putheader("Content-Length", str(len(body)))
        link.endheaders(body)
        with link.getresponse() as answer:
            content = answer.read()
        link.close()
        if writes and answer.status < 300:
            weather.taken.append(f"{self.command} {self.path}")
        weather.pass_by(self.command, "after")
        if weather.mood == "gone after writing" and writes:
            self.close_connection = True
            self.connection.close()
            return None
        if weather.mood == "late after writing" and writes:
            return self._say(504, b"gateway time-out")
        if weather.mood == "yanked":
            content = content.replace(b"<a ", b'<a data-yanked="loses data" ')
        self._say(answer.status, content, dict(answer.getheaders()))

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _say(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            if name.lower() not in NOT_SAID or (
                self.command == "HEAD" and name == "Content-Length"
            ):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        with suppress(OSError):  # Who asked may be dead.
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _refusal(code: str, words: str) -> bytes:
    """As indexes say it, and as the OCI distribution specification has it."""
    said = {"message": words, "errors": [{"code": code, "message": words}]}
    return json.dumps(said).encode()


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[Any]:
    """Serve in a thread."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(answers: Callable[[], bool]) -> None:
    """Until a server that was started answers; the test's time limit ends it."""
    step = threading.Event()
    while not answers():
        step.wait(0.05)


def answers_at(port: int, path: str = "/") -> bool:
    """Whether something speaks HTTP there."""
    link = HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        link.request("GET", path)
        return link.getresponse().status < 500
    except OSError:
        return False
    finally:
        link.close()
