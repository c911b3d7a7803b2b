"""What instances answer when they are asked whether they are well."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cxlocal.runner import health_probe
from cxlocal.runner.health_probe import HealthProbe


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """An address at which everybody is told the same, and what they asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    link, _ = server.accept()
                    with link:
                        asked.append(link.recv(65536))
                        link.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", asked
        server.shutdown(socket.SHUT_RDWR)


def problem(*addresses: str, **options: Any) -> str:
    asked = HealthProbe.Options(addresses=addresses, **options)
    said: list[str] = []
    ctx: Any = SimpleNamespace(options=asked, progress=said.append)
    found = HealthProbe().observe(ctx)
    assert said == [found.details["problem"] or "well"]
    assert found.healthy is (found.details["problem"] == "")
    return str(found.details["problem"])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", ""),
        (b"HTTP/1.0 302 Found\r\nLocation: /x\r\n\r\n", ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "/up answers 404"),
        (b"HTTP/1.1 503\r\n\r\n", "/up answers 503"),
        (b"", "does not answer: "),
        (b"HTTP/1.1 what\r\n\r\n", "does not answer: what it says is no HTTP"),
        (b"220 mail.example.org ESMTP\r\n", "does not answer: what it says is no HTTP"),
        (b"HTTP/1.1 200", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 1001, "does not come to its answer"),
        (b"x" * 200_000, "does not answer: "),
    ],
)  # fmt: skip
def test_an_answer(answer: bytes, words: str) -> None:
    with answering(answer) as (address, asked):
        found = problem(address, health="/up")
    assert found == words if not words else words in found
    assert asked[0].startswith(b"GET /up HTTP/1.1\r\nHost: " + address.encode() + b"\r\n")


def test_a_url_says_where_it_is() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (address, asked):
        assert problem(f"http://user@{address}/app", health="/up") == ""
    assert b"\r\nHost: " + address.encode() + b"\r\n" in asked[0]


@pytest.mark.parametrize("health", ["/a b", "/\r\nX: y", "/\xe9"])
def test_what_is_no_path_is_not_sent(health: str) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (address, asked):
        assert "does not answer" in problem(address, health=health)
    assert asked in ([], [b""])


def test_a_certificate_that_nobody_signed_is_no_health() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (address, _):
        assert "does not answer" in problem(f"https://{address}", health="/up")


def test_tcp_is_a_connection_alone_and_all_are_asked() -> None:
    with answering(b"") as (address, _):
        assert problem(address, health="tcp") == ""
        assert "127.0.0.1:1 does not answer" in problem(address, "127.0.0.1:1", health="tcp")
        assert problem(address, "127.0.0.1:1", health="") == ""


def test_who_is_well_later_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["no", "no", ""])
    monkeypatch.setattr(health_probe, "_first_problem", lambda addresses, health: next(answers))
    assert problem("a", health="tcp", within=20.0) == ""


def test_who_does_not_stay_well_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["", "", "gone"])
    monkeypatch.setattr(health_probe, "_first_problem", lambda addresses, health: next(answers))
    monkeypatch.setattr(health_probe, "HOLD_SECONDS", 0.01)
    assert problem("a", health="tcp", hold=20.0) == "gone"
