"""The front of a local service: what goes through it comes out as if asked directly, and turning loses nothing."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.local_service import front
from cxlocal_plugins.local_service.web import free_port

from cxlocal.files import write_whole

UPLOAD = b"x" * 300_000


class Shop(BaseHTTPRequestHandler):
    """Answers in all the ways there are."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self) -> None:
        """By path."""
        body = self._received()
        ways: dict[str, Callable[[bytes], None]] = {
            "/chunks": self._chunks, "/until-close": self._until_close, "/nothing": self._nothing,
            "/early": self._early, "/drop": self._drop, "/switch": self._switch,
        }  # fmt: skip
        if self.path == "/slow":
            time.sleep(0.4)
        ways.get(self.path, self._plain)(body)

    do_POST = do_HEAD = do_PUT = do_GET

    def log_message(self, *told: object) -> None:
        """Nobody reads it."""

    def _received(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _plain(self, body: bytes) -> None:
        version = self.server.version  # type: ignore[attr-defined]
        said = f"{version} {self.command} {self.path} {hashlib.sha256(body).hexdigest()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.send_header("X-Twice", "a")
        self.send_header("X-Twice", "b")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)

    def _chunks(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (b"one", b"two" * 30_000):
            self.wfile.write(f"{len(part):x};note=1\r\n".encode() + part + b"\r\n")
            self.wfile.flush()
        self.wfile.write(b"0\r\nX-Trailer: yes\r\n\r\n")

    def _until_close(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"until the end" * 1000)

    def _nothing(self, body: bytes) -> None:
        self.send_response(204)
        self.end_headers()

    def _early(self, body: bytes) -> None:
        self.send_response_only(103)
        self.send_header("Link", "</a.css>")
        self.end_headers()
        self._plain(body)

    def _drop(self, body: bytes) -> None:
        self.close_connection = True

    def _switch(self, body: bytes) -> None:
        self.send_response_only(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "echo")
        self.end_headers()
        self.wfile.flush()
        self.wfile.write(b"echo " + self.rfile.readline())
        self.close_connection = True


class Instances:
    """Services of several versions, and a front before them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.servers: dict[str, ThreadingHTTPServer] = {}
        self.route({})
        program = [sys.executable, "-P", front.__file__, str(folder), str(self.port)]
        self.process = subprocess.Popen(program, stderr=subprocess.PIPE)
        until = time.monotonic() + 20
        while not (folder / front.FRONT).exists() and time.monotonic() < until:
            time.sleep(0.02)
        self.tells = json.loads((folder / front.FRONT).read_text())["tells"]

    def start(self, version: str) -> None:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
        server.daemon_threads = True
        server.version = version  # type: ignore[attr-defined]
        self.servers[version] = server
        threading.Thread(target=server.serve_forever, daemon=True).start()

    def stop(self, version: str) -> None:
        server = self.servers.pop(version)
        server.shutdown()
        server.server_close()

    def route(self, wanted: dict[str, int]) -> None:
        ports = {one: server.server_address[1] for one, server in self.servers.items()}
        write_whole(self.folder / front.ROUTE, json.dumps({"wanted": wanted, "ports": ports}))

    def busy(self) -> dict[str, int]:
        with socket.create_connection(("127.0.0.1", self.tells), timeout=5) as link:
            said: dict[str, int] = json.loads(b"".join(iter(lambda: link.recv(4096), b"")))
        return said

    def wait_until_idle(self, version: str) -> None:
        while self.busy().get(version):
            time.sleep(0.01)

    def close(self) -> bytes:
        self.process.kill()
        for version in list(self.servers):
            self.stop(version)
        return self.process.communicate()[1]


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Instances]:
    made = Instances(tmp_path)
    try:
        made.start("one")
        made.route({"one": 100})
        yield made
    finally:
        said = made.close()
    assert b"Traceback" not in said, said.decode()


def raw(port: int, request: bytes) -> bytes:
    """All that comes back, by one connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(request)
        return b"".join(iter(lambda: link.recv(65536), b""))


def told(answer: bytes) -> bytes:
    """An answer without what is about its connection, or about the time."""
    return re.sub(rb"(?im)^(connection|date):[^\r]*\r\n", b"", answer)


LAST = b"Host: shop\r\nConnection: close\r\n"
WAYS = {
    "plain": b"GET / HTTP/1.1\r\n" + LAST + b"\r\n",
    "head": b"HEAD / HTTP/1.1\r\n" + LAST + b"\r\n",
    "upload": b"POST /a HTTP/1.1\r\n" + LAST + b"Content-Length: 300000\r\n\r\n" + UPLOAD,
    "upload in chunks": b"PUT /b HTTP/1.1\r\n" + LAST
    + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "asks before it sends": b"POST /c HTTP/1.1\r\n" + LAST
    + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    "answer in chunks": b"GET /chunks HTTP/1.1\r\n" + LAST + b"\r\n",
    "answer until the end": b"GET /until-close HTTP/1.1\r\n" + LAST + b"\r\n",
    "its end is that of the connection": b"GET /until-close HTTP/1.1\r\nHost: shop\r\n\r\n",
    "no body": b"GET /nothing HTTP/1.1\r\n" + LAST + b"\r\n",
    "early hints": b"GET /early HTTP/1.1\r\n" + LAST + b"\r\n",
    "http 1.0": b"GET / HTTP/1.0\r\nHost: shop\r\n\r\n",
    "other protocol": b"GET /switch HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n",
    "two at once": b"GET /1 HTTP/1.1\r\nHost: shop\r\n\r\nGET /2 HTTP/1.1\r\n" + LAST + b"\r\n",
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_it_comes_out_as_if_asked_directly(there: Instances, way: str) -> None:
    direct = raw(there.servers["one"].server_address[1], WAYS[way])
    through = raw(there.port, WAYS[way])
    assert told(through) == told(direct)
    assert there.busy() == {"one": 0}


REFUSED = {
    "nobody is there": (b"GET / HTTP/1.1\r\n\r\n", b"503"),
    "two lengths": (b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
    "no length": (b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
    "no request": (b"hello\r\n\r\n", b"400"),
    "too long": (b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", b"431"),
    "size with a sign": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", b"502"),
    "size below nothing": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n0\r\n\r\n", b"502"),
    "no size": (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", b"502"),
    "no answer": (b"GET /drop HTTP/1.1\r\n\r\n", b"502"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_answered_is_said(there: Instances, what: str) -> None:
    request, status = REFUSED[what]
    if what == "nobody is there":
        there.stop("one")
    assert raw(there.port, request).split(b" ")[1] == status
    there.route({})
    assert raw(there.port, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 503")


def test_who_leaves_in_the_middle_keeps_no_instance_busy(there: Instances) -> None:
    with socket.create_connection(("127.0.0.1", there.port)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000\r\n\r\nhalf")
        while there.busy() != {"one": 1}:
            time.sleep(0.01)
    there.wait_until_idle("one")


def test_weights_are_shares(there: Instances) -> None:
    there.start("two")
    there.route({"one": 90, "two": 10})
    link = http.client.HTTPConnection("127.0.0.1", there.port, timeout=10)
    seen = Counter(_body(link, "GET", "/").split()[0] for _ in range(100))
    link.close()
    assert seen == {"one": 90, "two": 10}


def test_one_that_is_gone_is_passed_over(there: Instances) -> None:
    there.start("two")
    there.route({"one": 50, "two": 50})
    there.servers["one"].shutdown()
    there.servers["one"].server_close()
    link = http.client.HTTPConnection("127.0.0.1", there.port, timeout=10)
    assert {_body(link, "GET", "/").split()[0] for _ in range(6)} == {"two"}
    link.close()


def _body(link: http.client.HTTPConnection, method: str, path: str, body: Any = None) -> str:
    link.request(method, path, body)
    return link.getresponse().read().decode()


def test_turning_under_load_loses_no_request(there: Instances) -> None:
    """Kept connections and new ones, uploads, chunks and slow answers, while versions come and go."""
    over, wrong, seen = threading.Event(), [], Counter[str]()
    digest = hashlib.sha256(UPLOAD).hexdigest()
    kinds: list[tuple[bool, str, str, bytes | None]] = [
        (True, "GET", "/", None), (False, "GET", "/", None), (True, "POST", "/up", UPLOAD),
        (True, "GET", "/slow", None), (False, "GET", "/slow", None), (True, "GET", "/chunks", None),
    ]  # fmt: skip

    def ask(kept: bool, method: str, path: str, body: bytes | None) -> None:
        link = http.client.HTTPConnection("127.0.0.1", there.port, timeout=30)
        while not over.wait(0.002):
            try:
                said = _body(link, method, path, body)
                good = said == "one" + "two" * 30_000 if path == "/chunks" else path in said
                if not good or (body and digest not in said):
                    wrong.append(f"{path}: {said[:100]}")
                seen[path] += 1
            except (OSError, http.client.HTTPException) as error:
                wrong.append(f"{path}: {error!r}")
            if not kept or wrong:
                link.close()
        link.close()

    threads = [threading.Thread(target=ask, args=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    old = "one"
    for new in ("two", "three", "four", "five", "six"):
        there.start(new)
        there.route({new: 100})
        there.wait_until_idle(old)
        there.stop(old)
        old = new
        time.sleep(0.1)
    over.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert set(seen) == {"/", "/up", "/slow", "/chunks"} and sum(seen.values()) > 100
