"""Members that lie, or ask for more than their share: what they say harms nobody but themselves."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from comparing_kit import Teller
from cxlocal_sync.http import wire
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.description import describe
from cxlocal_sync.http.line import HttpAnswer, Line
from cxlocal_sync.http.shapes import ANSWERS
from http_kit import ProcessServer, ThreadServer
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.commands.members import roll
from cxlocal.errors import CxError, NotSignedIn
from cxlocal.events import types
from cxlocal.events.document import hash_of
from cxlocal.exchange.messages import BLOB_BYTES_MAX, decode, encode, event_out
from cxlocal.exchange.rights import Rights, rights_from_json, words_of
from cxlocal.exchange.standing import read_joined
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.text import counted

Machine = Callable[..., Journal]
READER = Rights(frozenset(), frozenset(), None)
NOTHING = Rights(frozenset(), frozenset(), frozenset())


def shop_only() -> Rights:
    names = frozenset(["shop"])
    return Rights(names, names, names)


def say(store: HttpStore, contact: dict[str, Any], **parts: Any) -> dict[str, Any]:
    message = {"protocol": 1, "contact": {**contact, "lineage": ""}, **parts}
    return decode(store.exchange(encode(message), timeout=10))


@pytest.mark.parametrize(
    ("rights", "stopped"),
    [(NOTHING, set()), (READER, set()), (shop_only(), {"shop"}), (Rights(), {""})],
)
@pytest.mark.parametrize(
    "lie",
    [
        {"generation": 999},
        {"generation": 1, "cursor": {"position": 10**6, "hash": "0" * 64}},
        {"generation": 1, "heads": [["bank", "2.7", 50, "f" * 64]]},
        {
            "generation": 1,
            "token": {"count": 7, "value": "v"},
            "proposal": {"count": 8, "value": "w"},
        },
    ],
)
def test_what_a_member_remembers_stops_what_it_may_take(
    server: ThreadServer, machine: Machine, tmp_path: Path, rights: Rights, stopped: set[str],
    lie: dict[str, Any],
) -> None:  # fmt: skip
    good, laptop = server.enrol(tmp_path / "good", "good"), machine()
    obtain_number(laptop, good, request("r0", deliverable="bank"))
    liar = server.enrol(tmp_path / "liar", "liar", rights)
    answer = say(liar, {**Teller("e" * 32).contact(), **lie}, witness=["bank", "shop", ""])
    assert "refusal" not in answer
    with sqlite3.connect(server.home / "store.db") as store:
        assert {row[0] for row in store.execute("SELECT deliverable FROM stop")} == stopped
    store.close()
    how = obtain_number(laptop, good, request("r1", deliverable="bank")).how
    assert how == ("reserve" if "" in stopped else "online")
    for each in (good, liar):
        each.close()


def test_a_reader_changes_no_history(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    """It can neither say that a deployment is gone nor go on with, or fork, another's chain."""
    good, laptop = server.enrol(tmp_path / "good", "good"), machine()
    obtain_number(laptop, good, request("r0"))
    synchronise(laptop, good, use_breaker=False)
    board = server.enrol(tmp_path / "board", "board", READER)
    teller = Teller("e" * 32)
    say(board, teller.contact())
    teller.accepted()
    removed = teller.append(None, "")
    document = json.loads(removed.document)
    document["context"]["type"] = types.SERVICE_REMOVED
    removed = removed._replace(type=types.SERVICE_REMOVED, document=json.dumps(document))
    removed = removed._replace(hash=hash_of(removed))
    answer = say(board, teller.contact(), push=[{"events": [event_out(removed)]}])
    assert answer["refusal"]["name"] == "not-allowed"
    with sqlite3.connect(server.home / "store.db") as store:
        sequence, last = store.execute(
            "SELECT e.sequence, e.hash FROM event e JOIN node n ON n.id = e.node"
            " WHERE n.node = ? ORDER BY 1 DESC",
            (laptop.node,),
        ).fetchone()
    store.close()
    for at, before in ((sequence + 1, last), (sequence, last)):
        forged = Teller(laptop.node).append(None, "forged")
        forged = forged._replace(sequence=at, previous=before)
        forged = forged._replace(hash=hash_of(forged))
        answer = say(board, teller.contact(), push=[{"events": [event_out(forged)]}])
        assert answer["refusal"]["name"] == "not-allowed"
    assert obtain_number(laptop, good, request("r1")).how == "online"
    assert synchronise(laptop, good, use_breaker=False).pending == 0
    for each in (good, board):
        each.close()


def test_bodies_that_are_announced_take_nobodys_place(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    good, laptop = server.enrol(tmp_path / "good", "good"), machine()
    obtain_number(laptop, good, request("r0"))
    bad = server.enrol(tmp_path / "bad", "bad")
    held = []
    for index in range(12):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        head = (
            f"PUT {wire.BLOB}{index:064x} HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {bad.token}\r\ncontent-length: {BLOB_BYTES_MAX}\r\n\r\n"
        )
        connection.sendall(head.encode())
        held.append(connection)
    time.sleep(0.3)
    for index in range(5):
        assert obtain_number(laptop, good, request(f"r{index + 1}")).how == "online"
        assert synchronise(laptop, good, use_breaker=False).reached
    for connection in held:
        connection.close()
    for each in (good, bad):
        each.close()


def test_who_may_push_nothing_is_refused_before_its_bytes(
    server: ThreadServer, tmp_path: Path
) -> None:
    board = server.enrol(tmp_path / "board", "board", READER)
    head = (
        f"PUT {wire.BLOB}{0:064x} HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {board.token}\r\ncontent-length: 1000000\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 403")
    board.close()


def test_one_member_fills_half_of_the_place_for_blobs(server: ThreadServer, tmp_path: Path) -> None:
    good = server.enrol(tmp_path / "good", "good")
    say(good, Teller("d" * 32).contact())
    bad = server.enrol(tmp_path / "bad", "bad")
    held = []
    size = 60 * 1024 * 1024
    for index in range(3):
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
        head = (
            f"PUT {wire.BLOB}{index:064x} HTTP/1.1\r\nhost: x\r\n"
            f"authorization: Bearer {bad.token}\r\ncontent-length: {size + 1}\r\n\r\n"
        )
        try:
            connection.sendall(head.encode() + bytes(size))
        except OSError:
            pass  # it was told that there is no place
        held.append(connection)
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    good.put_blob(digest, b"", timeout=10)
    assert good.get_blob(digest, timeout=10) == b""
    for connection in held:
        connection.close()
    for each in (good, bad):
        each.close()


def test_a_locked_file_of_members_stops_nobody(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    good, laptop = server.enrol(tmp_path / "good", "good"), machine()
    obtain_number(laptop, good, request("r0"))
    locked = sqlite3.connect(server.members_path, isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError):
        server.service.members.flush()
    for index in range(3):
        started = time.monotonic()
        assert obtain_number(laptop, good, request(f"r{index + 1}")).how == "online"
        assert time.monotonic() - started < 2
    locked.execute("ROLLBACK")
    locked.close()
    server.service.members.flush()
    seen = {row["node"]: row["last_at"] for row in server.service.members.listing()["machines"]}
    assert laptop.node in seen
    good.close()


def test_a_pull_reads_no_more_than_it_answers(tmp_path: Path) -> None:
    """Five hundred events of the longest legal size: a hundred times what an answer holds."""
    server = ProcessServer(tmp_path / "server")
    store = server.enrol(tmp_path / "client")
    teller = Teller("c" * 32)
    for first in range(0, 300, 3):
        for index in range(first, first + 3):
            teller.append("shop", f"{index} {'x' * 255_000}")
        answer = say(store, teller.contact(), push=[teller.batch(first, first + 3)])
        assert answer["push"][0]["appended"] == 3
        teller.accepted()
    before = server.memory_mib()
    cursor = {"position": 0, "hash": "0" * 64}
    pulled = say(store, Teller("d" * 32).contact(), pull={"cursor": cursor, "limit": 500})["pull"]
    assert 4 <= len(pulled["items"]) <= 5
    assert pulled["more"]
    assert server.memory_mib() - before < 40
    store.close()
    server.stop()


@pytest.mark.parametrize("token", ["secret-one\nsecond line", "secret-ö", "secret\x00", "", "a b"])
def test_a_token_that_no_header_carries_is_not_shown(tmp_path: Path, token: str) -> None:
    store = HttpStore("http://127.0.0.1:9", tmp_path)
    store.sign_in(lambda: token)
    with pytest.raises(NotSignedIn) as caught:
        store.exchange(b"{}", timeout=2)
    told = json.dumps(caught.value.as_json()) + repr(caught.value) + str(caught.value.why)
    assert "secret" not in told
    store.close()


MEMBER: dict[str, Any] = {"name": "ada", "rights": {"take": ["*"], "push": [], "read": ["shop"], "manage": False},
    "joined_at": "2026-01-01T00:00:00Z", "revoked_at": None}  # fmt: skip
ANSWERED: dict[str, dict[str, Any]] = {
    wire.MISSING: {"missing": ["a" * 64]},
    wire.JOIN: {"member": "ada", "rights": MEMBER["rights"], "lends": False},
    wire.MEMBERS: {
        "members": [MEMBER],
        "machines": [{"node": "e" * 32, "member": "ada", "first_at": "x", "last_at": "y"}],
        "codes": [{"name": None, "until": "z"}],
    },
    wire.INVITE: {"name": "ada", "code": "secret"},
    wire.GRANT: {"name": "ada", "rights": MEMBER["rights"], "before": {}},
    wire.REVOKE: {"name": "ada", "machines": 1},
    wire.LEND: {"line": "2.7", "number": 1, "text": "2.7.1", "lineage": "l", "generation": 1, "k": 1,
                "node": "n"},
    wire.LEFT: {"left": 1, "locked": False},
    wire.PAGES: {"address": "http://127.0.0.1:8378", "key": "a" * 64},
}  # fmt: skip
CALLS: dict[str, Callable[[HttpStore], Any]] = {
    wire.MISSING: lambda store: store.missing_blobs(["a" * 64], timeout=2),
    wire.JOIN: lambda store: read_joined(store.join("code")),
    wire.MEMBERS: lambda store: [
        None if row["rights"] is None else words_of(rights_from_json(row["rights"]))
        for row in roll(store.members(), {})
    ],
    wire.INVITE: lambda store: store.invite("ada", {})["code"].encode(),
    wire.GRANT: lambda store: [
        words_of(rights_from_json(store.grant("ada", {})[each])) for each in ("before", "rights")
    ],
    wire.REVOKE: lambda store: counted(store.revoke("ada")["machines"], "machine").encode(),
    wire.LEND: lambda store: store.lend({}, timeout=2)["number"] + 1,
    wire.LEFT: lambda store: store.left({}, timeout=2)["left"] + 1,
    wire.PAGES: lambda store: [store.pages(False)[each].encode() for each in ("address", "key")],
}
WRONG = (5, -1, 1.5, True, None, "", "\ud800", [], [[]], [5], {}, {"a": 5})


def answers(store: HttpStore, monkeypatch: pytest.MonkeyPatch, status: int, value: Any) -> None:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    monkeypatch.setattr(Line, "ask", lambda *_: HttpAnswer(status, raw, True))


def wrong_forms(value: Any) -> Iterator[Any]:
    """``value`` with one part of it, or all of it, of another form or missing."""
    yield from WRONG
    if isinstance(value, dict):
        for name, part in value.items():
            yield {key: one for key, one in value.items() if key != name}
            yield from ({**value, name: wrong} for wrong in wrong_forms(part))
    elif isinstance(value, list):
        yield from ([wrong] for part in value for wrong in wrong_forms(part))


@pytest.mark.parametrize("path", ANSWERS)
def test_no_answer_of_a_server_is_taken_for_what_it_is_not(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = HttpStore("http://127.0.0.1:9", tmp_path)
    store.sign_in(lambda: "token")
    answers(store, monkeypatch, 200, ANSWERED[path])
    CALLS[path](store)
    answers(store, monkeypatch, 200, {**ANSWERED[path], "of a newer store": 1})
    CALLS[path](store)
    lacking = [
        {key: one for key, one in ANSWERED[path].items() if key != name} for name in ANSWERED[path]
    ]
    for wrong in (*lacking, *WRONG, b"", b"{", b"[" * 100_000, b"\xff", b"9" * 5000):
        answers(store, monkeypatch, 200, wrong)
        with pytest.raises(StoreUnreachable) as caught:
            CALLS[path](store)
        assert "cannot be read" in caught.value.why
    for wrong in wrong_forms(ANSWERED[path]):
        answers(store, monkeypatch, 200, wrong)
        with contextlib.suppress(CxError):
            CALLS[path](store)
    store.close()


def test_what_is_read_is_what_is_described() -> None:
    described = describe()["paths"]
    for path, name in ANSWERS.items():
        (operation,) = described[path].values()
        schema = operation["responses"]["200"]["content"][wire.JSON_TYPE]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize("path", ANSWERS)
def test_no_refusal_of_a_server_is_more_than_an_error(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = {
        "error": "x",
        "what": "w",
        "why": "y",
        "hint": "h",
        "exit_code": 3,
        "data": {"self": 1},
    }
    store = HttpStore("http://127.0.0.1:9", tmp_path)
    store.sign_in(lambda: "token")
    for status in (400, 401, 403, 404, 429, 503):
        for wrong in (error, *wrong_forms(error)):
            answers(store, monkeypatch, status, wrong)
            with pytest.raises(CxError):
                CALLS[path](store)
    store.close()
