"""A server under abuse keeps answering good clients, with bounded memory."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http import limits, wire
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.serving import GuardedProtocol
from http_kit import ProcessServer, ThreadServer

from cxlocal.exchange.messages import UNPACKED_BYTES_MAX, decode, encode
from cxlocal.exchange.store import StoreUnreachable

MEMORY_MIB = 450.0
"""Python with the server (60), one message unpacked (32) and its 2 million objects (200)."""


class Asker:
    """A good client, and how long it waited for numbers."""

    def __init__(self, store: HttpStore) -> None:
        self.store = store
        self.count = 0
        self.lineage = ""

    def ask(self, timeout: float = 5.0) -> int:
        count = self.count
        message = {
            "protocol": 1,
            "contact": {
                "lineage": self.lineage,
                "node": "a" * 32,
                "token": {"count": count, "value": f"t{count}" if count else ""},
                "proposal": {"count": count + 1, "value": f"t{count + 1}"},
            },
            "grant": [
                {
                    "kind": "online",
                    "deliverable": "s",
                    "line": "1",
                    "nonce": f"n{count}",
                    "run": "r",
                }
            ],
        }
        answer = decode(self.store.exchange(encode(message), timeout=timeout))
        self.lineage = answer["store"]["lineage"]
        self.count += 1
        return int(answer["grant"][0]["entry"]["lo"])


@pytest.fixture
def asker(server: ThreadServer, tmp_path: Path) -> Iterator[Asker]:
    store = server.enrol(tmp_path / "good", "good")
    yield Asker(store)
    store.close()


def _token(store: HttpStore) -> str:
    assert store._credential is not None
    return store._credential.token


def _raw(port: int, data: bytes, *, wait: float = 5.0) -> bytes:
    """Send bytes; what comes back until the other side closes or is silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return b"(closed)"
        parts = b""
        try:
            while part := connection.recv(65536):
                parts += part
        except OSError:
            parts += b"(cut)"
        return parts


def test_garbage(server: ThreadServer, asker: Asker) -> None:
    chance = random.Random(7)
    for index in range(60):
        _raw(server.port, chance.randbytes(chance.randrange(1, 3000)), wait=1)
        if index % 20 == 0:
            assert asker.ask() == index // 20
    for line in (
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/exchange HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/exchange HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/health HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ):
        answer = _raw(server.port, line)
        assert b" 200 " not in answer.partition(b"\r\n")[0], line[:60]
    assert asker.ask() == 3


def test_messages_of_garbage_are_refused_in_an_answer(server: ThreadServer, asker: Asker) -> None:
    chance = random.Random(8)
    texts = [b"", b"{}", b"[]", b"null", b'"x"', b"CXZ1", b"CXZ1" + zlib.compress(b"{}")[:-1]]
    texts += [chance.randbytes(chance.randrange(1, 500)) for _ in range(30)]
    texts += [b'{"protocol":1,"contact":' + text + b"}" for text in (b"[]", b"1", b'{"node":[]}')]
    texts.append(b"[" * 100_000)
    for text in texts:
        answer = decode(asker.store.exchange(text, timeout=5))
        assert answer["refusal"]["name"] in ("bad-message", "unknown-protocol"), text[:40]
        assert answer["refusal"]["cause"]
    assert asker.ask() == 0


def test_silent_connections_are_cut_off(
    server: ThreadServer, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GuardedProtocol, "head_limit", 0.5)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
    for index, connection in enumerate(silent):
        connection.settimeout(5)
        connection.sendall((b"", b"POST ", b"POST /v1/exchange HTTP/1.1\r\nhost")[index % 3])
    started = time.monotonic()
    assert asker.ask() == 0
    assert time.monotonic() - started < 2
    for connection in silent:
        with connection:
            assert _ended(connection)
    assert time.monotonic() - started < 5
    assert len(server.server.server_state.connections) == 1


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_body_that_trickles_is_cut_off(
    server: ThreadServer, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.ask()
    monkeypatch.setattr(GuardedProtocol, "request_limit", 1.0)
    head = (
        f"POST {wire.EXCHANGE} HTTP/1.1\r\nhost: x\r\ncontent-length: 8000000\r\n"
        f"authorization: Bearer {_token(asker.store)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(head.encode())
        started = time.monotonic()
        with pytest.raises(OSError):
            while True:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - started < 4
    _until(lambda: _service(server).message_bytes.held == 0)
    asker.ask()


def test_a_reader_that_does_not_read_is_cut_off(
    server: ThreadServer, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker.ask()
    content = random.Random(1).randbytes(24 * 1024 * 1024)
    digest = sha256(content).hexdigest()
    asker.store.put_blob(digest, content, timeout=20)
    monkeypatch.setattr(GuardedProtocol, "request_limit", 1.0)
    ask = (
        f"GET {wire.BLOB}{digest} HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {_token(asker.store)}\r\n\r\n"
    )
    slow = []
    for _ in range(3):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(ask.encode())
        slow.append(connection)
    asker.ask()
    time.sleep(3)
    for connection in slow:
        with connection:
            assert _drained(connection) < len(content), "it was never cut off"
    _until(lambda: _service(server).blob_bytes.held == 0)
    asker.ask()


def _drained(connection: socket.socket) -> int:
    size = 0
    try:
        while part := connection.recv(1 << 20):
            size += len(part)
    except ConnectionResetError:
        pass  # that is how one is cut off
    return size


def _service(server: ThreadServer) -> Any:
    return server.service


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_bodies_that_are_too_long(server: ThreadServer, asker: Asker) -> None:
    asker.ask()
    for path, method in (
        (wire.EXCHANGE, "POST"),
        (wire.BLOB + "0" * 64, "PUT"),
        (wire.JOIN, "POST"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.putrequest(method, path)
        connection.putheader("content-length", str(10**12))
        connection.putheader("authorization", f"Bearer {_token(asker.store)}")
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413
        assert json.loads(answer.read())["error"] == "too-long"
        connection.close()
    head = (
        f"POST {wire.EXCHANGE} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        f"authorization: Bearer {_token(asker.store)}\r\n\r\n"
    )
    piece = b"10000\r\n" + bytes(65536) + b"\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        with pytest.raises(OSError):
            for _ in range(100_000):
                connection.sendall(piece)
    assert asker.ask() == 1


def _bombs() -> Iterator[bytes]:
    """What unpacks to much more: too many bytes, and few bytes that are many objects."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(1 << 20)) for _ in range(500)]
    yield b"CXZ1" + b"".join(parts) + packer.flush()
    head, tail = b'{"protocol":1,"x":[', b"1]}"
    for piece in (b"[],", b'{"a":1},', b"1,"):
        raw = head + piece * ((UNPACKED_BYTES_MAX - 100) // len(piece)) + tail
        yield b"CXZ1" + zlib.compress(raw, 9)
    yield b"CXZ1" + zlib.compress(head + b"{}," * 600_000 + tail, 9)


def test_bombs_leave_memory_bounded(process_server: ProcessServer, tmp_path: Path) -> None:
    good = Asker(process_server.enrol(tmp_path / "good", "good"))
    bad = process_server.enrol(tmp_path / "bad", "bad")
    good.ask()
    stop = threading.Event()
    bombs = list(_bombs())
    failed: list[BaseException] = []

    def attack() -> None:
        store = HttpStore(bad.url, tmp_path / "bad")
        while not stop.is_set():
            for bomb in bombs:
                try:
                    store.exchange(bomb, timeout=20)
                except StoreUnreachable as error:
                    failed.append(error)
        store.close()

    threads = [threading.Thread(target=attack) for _ in range(3)]
    for bomb in bombs:
        name = decode(bad.exchange(bomb, timeout=20))["refusal"]["name"]
        assert name in ("too-long", "bad-message")
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            good.ask(timeout=20)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert process_server.memory_mib() < MEMORY_MIB
    good.store.close()
    bad.close()


def test_bodies_of_strangers_are_not_kept(process_server: ProcessServer, tmp_path: Path) -> None:
    good = Asker(process_server.enrol(tmp_path / "good", "good"))
    good.ask()
    before = process_server.memory_mib()
    head = (
        f"POST {wire.EXCHANGE} HTTP/1.1\r\nhost: x\r\ncontent-length: {wire.EXCHANGE_BYTES_MAX}\r\n"
        "authorization: Bearer nobody\r\n\r\n"
    )
    connections = []
    for _ in range(30):
        connection = socket.create_connection(("127.0.0.1", process_server.port), timeout=10)
        connection.sendall(head.encode() + bytes(wire.EXCHANGE_BYTES_MAX - 1))
        connections.append(connection)
    good.ask()
    assert process_server.memory_mib() - before < 40
    for connection in connections:
        with connection:
            connection.sendall(b"x")
            assert connection.recv(1000).startswith(b"HTTP/1.1 401")
    good.store.close()


def test_a_member_that_asks_too_often_waits(
    server: ThreadServer, asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = Asker(server.enrol(tmp_path / "eager", "eager"))
    asker.ask()
    monkeypatch.setattr(_service(server), "_requests", limits.Rate(_service(server).clock, 1.0, 10))
    with pytest.raises(StoreUnreachable, match="more often"):
        for _ in range(30):
            eager.store.members()
    assert asker.ask() == 1
    eager.store.close()
