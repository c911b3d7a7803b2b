"""P17 and P20 for every kind of store that stands on another machine: whichever way it is away, a
release goes on from the reserve within the time allowed, and the words say why and what to do."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bucket_kit import free_ports
from cxlocal_sync.http.credentials import Credential, keep_credential
from http_kit import answering
from numbers_kit import FaultyStore, open_at, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import StoreNeeded
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal

Machine = Callable[..., Journal]

ADDRESSES = {
    "http": "http://127.0.0.1:{port}",
    "postgresql": "postgresql://cx@127.0.0.1:{port}/store",
    "bucket": "s3://builds/here?endpoint=http://127.0.0.1:{port}&region=us-east-1",
}


def silent(connection: socket.socket) -> None:
    """It takes the connection and says nothing."""


def trickling(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"H")
        time.sleep(0.05)


def babbling(connection: socket.socket) -> None:
    """Another service listens there."""
    connection.sendall(b"220 mail.example.org ESMTP\r\n")


def hanging_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def refusing(_: Any) -> Iterator[int]:
    """Nobody listens."""
    yield free_ports(1)[0]


def away(kind: str, way: Any, home: Path, stack: ExitStack) -> Any:
    """A store that is away."""
    there = refusing if way is refusing else answering
    url = ADDRESSES[kind].format(port=stack.enter_context(there(way)))
    if kind == "http":
        keep_credential(home, url, Credential("tester", "secret-token"))
    store = open_at(url, home)
    stack.callback(store.close)  # type: ignore[attr-defined]
    return store


@pytest.fixture
def stack(credentials: None) -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("way", [refusing, silent, trickling, babbling, hanging_up])
@pytest.mark.parametrize("kind", ADDRESSES)
def test_p17_a_store_that_is_away_costs_three_seconds_at_most(
    kind: str, way: Any, machine: Machine, store: FaultyStore, tmp_path: Path, stack: ExitStack
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0"))
    there = away(kind, way, tmp_path / "client", stack)
    bind_address(laptop, there.url)  # the same store, where it is known by that address
    begun = time.monotonic()
    assert obtain_number(laptop, there, request("r1")).how == "reserve"
    report = synchronise(laptop, there)
    assert not report.reached
    assert time.monotonic() - begun < 3.0
    begun = time.monotonic()
    assert obtain_number(laptop, there, request("r2")).how == "reserve"
    assert time.monotonic() - begun < 0.5, "left alone for a minute"


@pytest.mark.parametrize("way", [refusing, silent, babbling])
@pytest.mark.parametrize("kind", ADDRESSES)
def test_p20_a_machine_without_numbers_is_told_why_and_what_to_do(
    kind: str, way: Any, machine: Machine, tmp_path: Path, stack: ExitStack
) -> None:
    there = away(kind, way, tmp_path / "client", stack)
    with pytest.raises(StoreNeeded) as caught:
        obtain_number(machine(), there, request("r1"))
    said = f"{caught.value.what} {caught.value.why} {caught.value.hint}"
    assert caught.value.name == "no-number"
    assert {refusing: "refused", silent: "in time"}.get(way, "") in caught.value.why.lower()
    assert "run it again once the store answers" in caught.value.hint
    assert "secret-token" not in said and "cxsecret" not in said
