"""Bundles through a served store: who may carry what, and whose questions it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from http_kit import ThreadServer
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.bundles.intake import TakenBundle, take_bundle
from cxlocal.bundles.reader import look
from cxlocal.bundles.receipts import Received, take_receipt, write_receipt
from cxlocal.bundles.writer import pack
from cxlocal.events.document import Draft
from cxlocal.exchange.contact import reserve_wish
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.sync import SyncReport, pending, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up

Machine = Callable[..., Journal]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ThreadServer]:
    served = ThreadServer(tmp_path / "central")
    yield served
    served.close()


@pytest.fixture
def member(server: ThreadServer, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Lets a member in and gives its client."""
    opened: list[Any] = []

    def let_in(name: str, rights: Rights | None = None) -> Any:
        client = server.enrol(tmp_path / f"{name}-credentials", name, rights)
        opened.append(client)
        return client

    yield let_in
    for client in opened:
        client.close()


def note(journal: Journal, count: int, deliverable: str = "webshop") -> None:
    kind = "dev.cdeventsx.cxlocal-run.flagged.0.1.0"
    with journal.write() as transaction:
        for index in range(count):
            transaction.append(Draft(kind, f"s{index}", {}, {}, deliverable))


def sync(journal: Journal, store: Any) -> SyncReport:
    report = synchronise(journal, store, use_breaker=False, budget_seconds=30)
    assert report.reached, report.why
    return report


def take(journal: Journal, path: Path) -> TakenBundle | Received:
    contents = look(path, journal.node)
    if contents.header.kind == "receipt":
        return take_receipt(journal, path, contents.header)
    taken = take_bundle(journal, path, contents)
    catch_up(journal)
    return taken


def hashes(journal: Journal) -> set[bytes]:
    return {row["hash"] for row in journal.query("SELECT hash FROM event")}


def test_a_courier_brings_a_machine_that_nobody_let_in(
    machine: Machine, member: Callable[..., Any], tmp_path: Path
) -> None:
    hut, office = machine("hut"), machine("office")
    post = member("post")
    obtain_number(office, post, request("office-0"))
    note(hut, 700)
    pack(hut, tmp_path / "a", first_wishes=[reserve_wish(hut, "webshop", "2.7", 3, 100)])
    take(office, tmp_path / "a")
    assert sync(office, post).relayed == 701
    written = write_receipt(office, post, tmp_path / "r", 20)
    assert (written.answers, written.unanswered) == (1, ())
    received = take(hut, tmp_path / "r")
    assert isinstance(received, Received)
    assert received.reserves == ("webshop 2.7: 103 to 105",)
    assert obtain_number(hut, None, request("hut-0")).number == 103
    # Let in as a member of its own later, it goes on under a new id and loses nothing.
    before = hashes(hut)
    sync(hut, member("hut"))
    reader = machine("reader")
    sync(reader, post)
    assert before <= hashes(hut) & hashes(reader) and pending(hut) == 0
    assert verify(hut).findings == verify(reader).findings == []


def test_a_machine_of_another_member_gets_its_acknowledgements_and_the_reason(
    machine: Machine, member: Callable[..., Any], tmp_path: Path
) -> None:
    ship, office = machine("ship"), machine("office")
    own, post = member("ship"), member("post")
    obtain_number(ship, own, request("ship-0"))
    sync(office, post)
    assert obtain_number(ship, None, request("ship-1")).number == 100
    pack(ship, tmp_path / "a")
    take(office, tmp_path / "a")
    assert sync(office, post).relayed > 0
    written = write_receipt(office, post, tmp_path / "r", 20)
    assert written.answers == 0 and "another member" in written.unanswered[0]
    node = ship.node
    received = take(ship, tmp_path / "r")
    assert isinstance(received, Received) and "another member" in received.unanswered
    assert received.acknowledged > 0 and pending(ship) == 0
    # Nothing was asked in its name, and it is taken for nobody's copy.
    sync(ship, own)
    assert ship.node == node and obtain_number(ship, own, request("ship-2")).number == 103


def test_what_a_courier_may_not_push_is_said_and_waits(
    machine: Machine, member: Callable[..., Any], tmp_path: Path
) -> None:
    ship, office = machine("ship"), machine("office")
    every = frozenset({"webshop"})
    narrow = member("narrow", Rights(take=every, push=every, read=None))
    note(ship, 2, "engine")
    pack(ship, tmp_path / "a")
    take(office, tmp_path / "a")
    note(office, 2, "webshop")
    report = sync(office, narrow)
    assert pending(office) == 0 and report.relayed == 0
    assert report.not_taken == (f"{ship.node[:8]}: narrow may not push history of 'engine'",)
    # Another courier with the same stick may.
    other = machine("other")
    take(other, tmp_path / "a")
    assert sync(other, member("wide")).relayed == 3
