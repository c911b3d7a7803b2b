"""Receivers of our own: they keep what came, and can be slow, mute, cut off or away."""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cxlocal.hooks.sink import Later

RESET = struct.pack("ii", 1, 0)


class Tcp:
    """Reads each connection to its end. ``cut_after``: bytes after which the next ones are reset."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, port: int = 0) -> None:
        self.whole: list[bytes] = []
        self.broken: list[bytes] = []
        self.cut_after: list[int] = []
        self.mute = False
        self.asked = 0
        """Connections that were begun."""
        self.hasty = False
        """Says at once that it is at its end."""
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._ended = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.asked += 1
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        if self.mute:
            self._ended.wait(20)
            connection.close()
            return
        if self.hasty:
            connection.shutdown(socket.SHUT_WR)
        limit = self.cut_after.pop(0) if self.cut_after else None
        content = b""
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            while chunk := connection.recv(65536):
                content += chunk
                if limit is not None and len(content) >= limit:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    self.broken.append(content[:limit])
                    connection.close()
                    return
            self.whole.append(content)
        except OSError:
            self.broken.append(content)
        finally:
            connection.close()

    def lines(self) -> list[Any]:
        """What arrived whole, as JSON."""
        return [json.loads(line) for part in self.whole for line in part.splitlines()]

    def close(self) -> None:
        """Nobody answers any more."""
        self._ended.set()
        self._socket.close()


class Http:
    """Keeps the bodies of requests. ``answers``: statuses for the next ones; then 202. A status of 0
    keeps the request and cuts the connection before the answer; -1 stays silent."""

    def __init__(self, port: int = 0) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.judge: Callable[[bytes], int] = lambda body: 202
        self.body: Callable[[], bytes] = lambda: b""
        self._ended = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = outer.answers.pop(0) if outer.answers else outer.judge(body)
                if status == -1:
                    outer._ended.wait(20)
                if status < 200 or status < 300:
                    outer.requests.append((self.path, dict(self.headers), body))
                if status <= 0:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                    self.close_connection = True
                    self.connection.close()
                    return
                answer = outer.body()
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_PUT = do_POST

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                try:
                    super().handle()
                except (OSError, ValueError):
                    pass  # cut on purpose

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def ids(self) -> list[str]:
        """The ids of the CloudEvents that came."""
        return [json.loads(body)["id"] for _, _, body in self.requests]

    def close(self) -> None:
        """Nobody answers any more."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def running(made: Any) -> Iterator[Any]:
    """A receiver for the length of a ``with`` block."""
    try:
        yield made
    finally:
        made.close()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


class Cutting:
    """Stands before a receiver. ``rules``: what becomes of the next connections: ``cut N`` resets both
    ends after N bytes towards it, ``mute N`` swallows its answers, ``slow N`` passes N bytes a time, ``twice N`` its answers twice."""

    def __init__(self, target: int) -> None:
        self.rules: list[tuple[str, int]] = []
        self._target = target
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                near, _ = self._socket.accept()
            except OSError:
                return
            rule = self.rules.pop(0) if self.rules else ("", 0)
            threading.Thread(target=self._pair, args=(near, rule), daemon=True).start()

    def _pair(self, near: socket.socket, rule: tuple[str, int]) -> None:
        what, count = rule
        passed, reading = 0, [near]
        with near, socket.create_connection(("127.0.0.1", self._target)) as far:
            reading.append(far)
            try:
                while reading:
                    for source in select.select(reading, [], [])[0]:
                        to = far if source is near else near
                        chunk = source.recv(count if what == "slow" else 65536)
                        if source is near and what == "cut" and passed + len(chunk) >= count:
                            to.sendall(chunk[: count - passed])
                            for end in (near, far):  # closing them now resets them
                                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                            return
                        if not chunk:
                            reading.remove(source)
                        if source is far and what == "mute":
                            continue
                        if chunk:
                            to.sendall(chunk * (2 if source is far and what == "twice" else 1))
                        else:
                            to.shutdown(socket.SHUT_WR)
                        passed += len(chunk) if source is near else 0
            except OSError:
                return  # one of them is gone

    def close(self) -> None:
        """No more is passed."""
        self._socket.close()


@contextmanager
def answering(content: bytes, *, endless: bool = False) -> Iterator[tuple[int, list[bytes]]]:
    """A port whose every caller gets these bytes, ``endless``ly where that is said; what they asked."""
    listener, asked = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                asked.append(connection.recv(65536))
                connection.sendall(content)
                while endless:
                    connection.sendall(content.partition(b"\r\n\r\n")[2])

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], asked
    finally:
        listener.close()


def deliver_through(sink: Any, batch: list[Any], *, pause: float = 0.0) -> int:
    """As cxlocal does: tried again as long as it says *later*; how often it was asked."""
    left, asked = list(batch), 0
    while left:
        asked += 1
        assert asked < 100
        try:
            left = left[sink.deliver(left[:200]) :]
        except (Later, OSError):
            time.sleep(pause)
    sink.close()
    return asked
