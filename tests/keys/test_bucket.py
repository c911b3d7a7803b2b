"""Object storage by real servers: one that honours conditions, one that ignores them, one that goes
away (F29)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bucket_kit import Server, start_rclone, start_seaweedfs
from cxlocal_sync.keys.open import object_store
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import Refused, StoreNeeded
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.ledger import ledger

Machine = Callable[..., Journal]


@pytest.fixture
def careless(tmp_path: Path, credentials: None) -> Iterator[Server]:
    """A server that writes over what exists."""
    server = start_rclone(tmp_path / "rclone")
    yield server
    server.stop()


@pytest.fixture
def own(tmp_path: Path, credentials: None) -> Iterator[Server]:
    """A server the test may stop and start."""
    server = start_seaweedfs(tmp_path / "objects")
    yield server
    server.stop()


def test_a_server_that_ignores_conditions_is_refused(careless: Server, tmp_path: Path) -> None:
    store = object_store(careless.url("here"), tmp_path / "home")
    with pytest.raises(Refused, match="cannot hold a store") as caught:
        store.create()
    assert caught.value.name == "ignores-conditions"
    store.close()


def test_a_store_that_was_moved_to_such_a_server_is_refused(
    careless: Server, machine: Machine, tmp_path: Path
) -> None:
    """The objects were copied there; the first contact of every machine tries the place."""
    from cxlocal_sync.keys.form import marker_out

    prefix = tmp_path / "rclone" / "builds" / "here"
    prefix.mkdir()
    (prefix / "cxlocal-store").write_bytes(marker_out("5" * 32, ""))
    store = object_store(careless.url("here"), tmp_path / "home")
    with pytest.raises(Refused, match="cannot hold a store"):
        synchronise(machine(), store)
    store.close()


def test_a_server_that_goes_away_and_comes_back(
    own: Server, machine: Machine, tmp_path: Path
) -> None:
    laptop, home = machine(), tmp_path / "home"
    store: Any = object_store(own.url("there"), home)
    store.create()
    assert obtain_number(laptop, store, request("r0")).number == 0
    synchronise(laptop, store, use_breaker=False)
    own.stop()
    night = obtain_number(laptop, store, request("night"))
    assert (night.number, night.how) == (100, "reserve")
    assert not synchronise(laptop, store, use_breaker=False).reached
    own.start()
    for _ in range(50):
        report = synchronise(laptop, store, use_breaker=False, budget_seconds=20)
        if report.reached:
            break
    assert (report.reached, report.pending) == (True, 0)
    assert obtain_number(laptop, store, request("r1")).number == 103
    covered = [span.lo for span in ledger(laptop, "webshop", "2.7")]
    assert covered == sorted(set(covered))
    store.close()


def test_a_bucket_that_does_not_exist(seaweedfs: Server, credentials: None, tmp_path: Path) -> None:
    store = object_store(seaweedfs.url("x", bucket="nobody-made-this"), tmp_path / "home")
    with pytest.raises(StoreUnreachable):
        store.create()
    store.close()


def test_wrong_credentials_say_so(
    seaweedfs: Server, monkeypatch: pytest.MonkeyPatch, machine: Machine, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret of somebody")
    store = object_store(seaweedfs.url("x"), tmp_path / "home")
    with pytest.raises(StoreUnreachable) as caught:
        store.create()
    assert "a secret of somebody" not in str(caught.value)
    with pytest.raises(StoreNeeded):
        obtain_number(machine(), store, request("r0"))
    store.close()
