"""Connections cut at any byte of a request or a reply: nothing is lost and nothing doubled."""

from __future__ import annotations

import random
import socket
import sqlite3
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.credentials import Credential, keep_credential
from cxlocal_sync.http.serving import Tls
from http_kit import CuttingProxy, ThreadServer
from numbers_kit import open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.events.machines import node_moved
from cxlocal.exchange.copies import ensure_node
from cxlocal.exchange.messages import decode, encode, event_out
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.read import node_events
from cxlocal.numbers.ledger import ledger

Machine = Callable[..., Journal]


@pytest.fixture
def way(server: ThreadServer, proxy: CuttingProxy, tmp_path: Path) -> Iterator[HttpStore]:
    """A client that reaches the server through the proxy."""
    home = tmp_path / "client"
    enrolled = server.enrol(home)
    assert enrolled._credential is not None
    keep_credential(home, proxy.url, Credential("tester", enrolled._credential.token))
    enrolled.close()
    store = HttpStore(proxy.url, home)
    yield store
    store.close()


def _messages(tmp_path: Path, lineage: list[str]) -> Iterator[bytes]:
    """Requests of one machine: each pushes the next event and asks for a number."""
    journal = open_journal(tmp_path / "source")
    with journal.write() as transaction:
        ensure_node(transaction)
    events = list(node_events(journal, journal.node, 1, 10))
    journal.close()
    count = 0
    while True:
        token = {"count": count, "value": f"t{count}" if count else ""}
        proposal = {"count": count + 1, "value": f"t{count + 1}"}
        wish = {
            "kind": "online",
            "deliverable": "shop",
            "line": "1",
            "nonce": f"n{count}",
            "run": "r",
        }
        yield encode(
            {
                "protocol": 1,
                "contact": {
                    "lineage": lineage[0],
                    "node": events[0].node,
                    "token": token,
                    "proposal": proposal,
                },
                "push": [{"events": [event_out(event) for event in events]}],
                "grant": [wish],
            }
        )
        count += 1


@pytest.mark.parametrize("side", ["request", "reply"])
def test_cut_at_every_byte(
    side: str, way: HttpStore, proxy: CuttingProxy, server: ThreadServer, tmp_path: Path
) -> None:
    lineage = [""]
    messages = _messages(tmp_path, lineage)
    lineage[0] = decode(way.exchange(next(messages), timeout=5))["store"]["lineage"]
    before = proxy.requests, proxy.replies
    first = decode(way.exchange(next(messages), timeout=5))
    sizes = {"request": proxy.requests - before[0], "reply": proxy.replies - before[1]}
    granted = [0, first["grant"][0]["entry"]["lo"]]
    # Each of the first and last bytes, and every fourth between. Later messages are a little
    # longer than the first: numbers get more digits.
    last = sizes[side] - 1
    offsets = sorted({*range(30), *range(30, last - 30, 4), *range(last - 30, last)})
    assert len(offsets) > 150
    for offset in offsets:
        message = next(messages)
        way.close()
        setattr(proxy, f"{side}_limit", offset)
        with pytest.raises(StoreUnreachable):
            way.exchange(message, timeout=5)
        answer = decode(way.exchange(message, timeout=5))
        granted.append(answer["grant"][0]["entry"]["lo"])
    assert granted == list(range(len(granted))), "a number was skipped or doubled"
    with sqlite3.connect(server.home / "store.db") as store:
        assert store.execute("SELECT count(*) FROM grant_entry").fetchone()[0] == len(granted)
        assert store.execute("SELECT count(*), max(sequence) FROM event").fetchone() == (1, 1)
    store.close()


def test_machines_level_through_a_bad_line(
    way: HttpStore, proxy: CuttingProxy, machine: Machine
) -> None:
    """P1, P13, P16, P18: two machines release over a line that is cut at random places."""
    chance = random.Random(20261123)
    journals = [machine("one"), machine("two")]
    runs = []
    for index in range(24):
        journal = journals[index % 2]
        journal.connection.execute("DELETE FROM breaker")
        if chance.random() < 0.7:
            way.close()
            setattr(proxy, chance.choice(["request_limit", "reply_limit"]), chance.randrange(3000))
        runs.append(obtain_number(journal, way, request(f"run-{index}")))
        synchronise(journal, way, use_breaker=False)
    proxy.request_limit = proxy.reply_limit = None
    for journal in (*journals, *journals):
        assert synchronise(journal, way, use_breaker=False).reached
    numbers = [run.number for run in runs]
    assert len(set(numbers)) == len(numbers)
    tables = [
        journal.query("SELECT number, run FROM version ORDER BY number") for journal in journals
    ]
    assert tables[0] == tables[1]
    assert {row["run"] for row in tables[0]} == {run.run for run in runs}
    for journal in journals:
        spans = ledger(journal, "webshop", "2.7")
        covered = [number for span in spans for number in range(span.lo, span.hi + 1)]
        assert covered == list(range(len(covered))), "a number has no state, or two"
        assert pending(journal) == 0


def _record(journal: Journal, count: int) -> None:
    actor = {"id": "someone@example.org", "how": "test"}
    with journal.write() as transaction:
        for index in range(count):
            reason = f"reason {index}"
            transaction.append(node_moved(node=journal.node, reason=reason, actor=actor, hint=""))


def test_an_interrupted_push_sends_one_batch_again(
    way: HttpStore, proxy: CuttingProxy, machine: Machine
) -> None:
    """P16, on a history of several batches."""
    cut, whole = machine("cut"), machine("whole")
    bytes_sent = {}
    limit = 20_000
    for journal in (whole, cut):
        assert synchronise(journal, way).reached
        _record(journal, 1200)
        before = proxy.requests
        if journal is cut:
            way.close()
            proxy.request_limit = limit
            assert not synchronise(cut, way, use_breaker=False, budget_seconds=20).reached
        report = synchronise(journal, way, use_breaker=False, budget_seconds=20)
        assert (report.reached, report.pushed, report.pending) == (True, 1200, 0)
        bytes_sent[journal] = proxy.requests - before
    # What was cut off had been read by the proxy in pieces of up to 64 KiB. Beside it, "cut" asks
    # twice more for what "whole" had brought.
    assert bytes_sent[cut] <= bytes_sent[whole] * 1.02 + limit + 64 * 1024 + 4 * 1500
    assert synchronise(whole, way, use_breaker=False, budget_seconds=20).pulled >= 1200


def test_a_machine_that_vanished_does_not_hold_up_a_restart(tmp_path: Path) -> None:
    """Whoever lies behind a pulled cable answers no goodbye of TLS."""
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    tls = Tls(tmp_path / "cert.pem", tmp_path / "key.pem")
    leaf.cert_chain_pems[0].write_to_path(tls.certificate)
    leaf.private_key_pem.write_to_path(tls.key)
    server = ThreadServer(tmp_path / "central", tls=tls)
    trust = ssl.create_default_context(cadata=authority.cert_pem.bytes().decode())
    raw = socket.create_connection(("127.0.0.1", server.port))
    with trust.wrap_socket(raw, server_hostname="localhost") as silent:
        silent.sendall(b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert silent.recv(100).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        server.close()
        assert time.monotonic() - began < 6
