"""HTTP as sinks use it: one request after the other over one connection, answers judged in one place."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from cxlocal.hooks.sink import Later, NotTaken

_ANSWER_BYTES = 64 * 1024
_LINE_BYTES = 1024 * 1024
"""Of an answer: a piece of a log line has 8 KiB, and each byte may be written as a number."""
_TRANSIENT = frozenset({401, 403, 404, 405, 407, 408, 421, 425, 429})
"""Said of the receiver, the way there or our credential; not of what was sent."""


class Refusal(Exception):
    """The receiver says no to what was sent."""


class Doubt(Later):
    """More answers came than requests were sent: which one was whose is not known."""


class Web:
    """One receiver."""

    def __init__(
        self, url: str, *, token: str, timeout_seconds: float, default_port: int | None = None
    ) -> None:
        """Raises ValueError for what is no http or https address."""
        self.parts: SplitResult = urlsplit(url)
        if self.parts.scheme not in ("http", "https") or not self.parts.hostname:
            raise ValueError(f"{url} is no http or https address")
        self._port = self.parts.port or default_port
        self._token = token
        self._timeout = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    @property
    def path(self) -> str:
        """The path of the address, with its query; ``/`` where it has none."""
        query = f"?{self.parts.query}" if self.parts.query else ""
        return (self.parts.path or "/") + query

    def send(
        self, path: str, content: bytes, headers: Mapping[str, str], *, method: str = "POST"
    ) -> bytes:
        """One request; the body of the answer. Raises Later, Refusal, OSError."""
        told = dict(headers)
        if self._token:
            told["Authorization"] = f"Bearer {self._token}"
        self.settle()
        fresh = self._connection is None
        try:
            status, body = self._ask(method, path, content, told)
        except (OSError, http.client.HTTPException) as problem:
            self.close()
            if fresh:
                raise Later(_words(problem)) from problem
            # A connection that was kept may have been closed meanwhile.
            return self.send(path, content, headers, method=method)
        if 200 <= status < 300:
            return body
        words = " ".join(body.decode("utf-8", "backslashreplace").split())
        said = f"HTTP {status} {words}".rstrip()
        if status >= 500 or status < 400 or status in _TRANSIENT:
            raise Later(said)
        raise Refusal(said)

    def settle(self) -> None:
        """Look at what came after the last answer: an end is one; more is ``Doubt``."""
        sock = None if self._connection is None else self._connection.sock
        if sock is None or not select.select([sock], [], [], 0)[0]:
            return
        # Inside TLS there are messages that are nobody's answer.
        more = not isinstance(sock, ssl.SSLSocket) and sock.recv(1, socket.MSG_PEEK)
        self.close()
        if more:
            raise Doubt("it answered more often than it was asked")

    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[bytes]:
        """The lines of what one GET answers, as they come. Raises Later, OSError."""
        told = dict(headers)
        if self._token:
            told["Authorization"] = f"Bearer {self._token}"
        try:
            connection = self._opened()
            connection.request("GET", path, headers=told)
            answer = connection.getresponse()
            if answer.status != 200:
                words = answer.read(_ANSWER_BYTES).decode("utf-8", "backslashreplace")
                raise Later(f"HTTP {answer.status} {' '.join(words.split())}".rstrip())
            while line := answer.readline(_LINE_BYTES):
                if len(line) == _LINE_BYTES:
                    raise Later("a line of its answer does not end")
                yield line
        except http.client.HTTPException as problem:
            raise Later(_words(problem)) from problem
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(
        self, method: str, path: str, content: bytes, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = self._opened()
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        body = answer.read(_ANSWER_BYTES)
        if answer.will_close or not answer.isclosed():
            self.close()
        return answer.status, body

    def _opened(self) -> http.client.HTTPConnection:
        if self._connection is None:
            host, port = self.parts.hostname or "", self._port
            if self.parts.scheme == "https":
                context = ssl.create_default_context()
                self._connection = http.client.HTTPSConnection(
                    host, port, timeout=self._timeout, context=context
                )
            else:
                self._connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        return self._connection


def send_each(web: Web, batch: Sequence[Any], send: Callable[[Any], object]) -> int:
    """One request for each record; how many were taken. Raises Later, NotTaken where that is said of
    the first, and ``Doubt`` where none of them is known to be."""
    for done, one in enumerate(batch):
        try:
            send(one)
        except Doubt:
            raise
        except Refusal as problem:
            if done:
                return done
            raise NotTaken(str(problem)) from problem
        except Later:
            if done:
                return done
            raise
    web.settle()
    return len(batch)


def send_together(batch: Sequence[Any], send: Callable[[Sequence[Any]], None]) -> int:
    """One request for all; where that is refused, for a half of them, until the one that is meant
    stands alone. Raises Later, NotTaken."""
    count = len(batch)
    while True:
        try:
            send(batch[:count])
        except Refusal as problem:
            if count == 1:
                raise NotTaken(str(problem)) from problem
            count = (count + 1) // 2
        else:
            return count


def _words(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    text = getattr(problem, "strerror", None) or str(problem)
    return text or type(problem).__name__
