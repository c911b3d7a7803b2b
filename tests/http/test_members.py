"""Members: what each may do, how one is let in and put out, and what is kept of it."""

from __future__ import annotations

import http.client
import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http import limits, wire
from cxlocal_sync.http.client import HttpStore
from cxlocal_sync.http.members import CODE_MS, Members
from cxlocal_sync.http.serving import proxy_address
from http_kit import ThreadServer
from numbers_kit import TestClock, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import ConfigError, NotSignedIn, Refused, UsageError
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.replica import look
from cxlocal.exchange.rights import Rights, rights_from_json
from cxlocal.exchange.state import forget_cursor
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, recover_store, synchronise
from cxlocal.journal.file import Journal

Machine = Callable[..., Journal]


def _for(*names: str) -> Rights:
    some = frozenset(names)
    return Rights(some, some, some)


def _deliverables(journal: Journal) -> set[str]:
    rows = journal.query("SELECT DISTINCT deliverable FROM event_log WHERE deliverable IS NOT NULL")
    return {row["deliverable"] for row in rows}


def _level(journal: Journal, store: HttpStore) -> Any:
    for _ in range(2):
        report = synchronise(journal, store, use_breaker=False, budget_seconds=10)
    return report


# Rights


def test_a_member_takes_pushes_and_reads_what_it_may(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    everything = server.enrol(tmp_path / "all", "all")
    shop_only = server.enrol(tmp_path / "shop", "shop", _for("shop"))
    boss, shop = machine("boss"), machine("shopkeeper")
    obtain_number(boss, everything, request("b0", deliverable="bank"))
    obtain_number(boss, everything, request("s0", deliverable="shop"))
    assert obtain_number(shop, shop_only, request("s1", deliverable="shop")).number == 1
    _level(boss, everything)
    report = _level(shop, shop_only)
    assert report.pending == 0
    assert _deliverables(shop) == {"shop"}
    assert verify(shop).findings == []
    assert not shop.query("SELECT 1 FROM grant_entry WHERE deliverable = 'bank'")
    assert _deliverables(boss) == {"shop", "bank"}
    with pytest.raises(Refused, match="may not take numbers of 'bank'"):
        obtain_number(shop, shop_only, request("b1", deliverable="bank"))
    assert _level(shop, shop_only).reached, "what it may not do stops nothing else"
    assert _level(shop, shop_only)[:4] == (True, "", 0, 0), "idle"
    for store in (everything, shop_only):
        store.close()


def test_a_member_that_may_read_more_gets_what_it_missed(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    everything = server.enrol(tmp_path / "all", "all")
    boss, late = machine("boss"), machine("late")
    for index in range(3):
        obtain_number(boss, everything, request(f"b{index}", deliverable="bank"))
        obtain_number(boss, everything, request(f"s{index}", deliverable="shop"))
    _level(boss, everything)
    narrow = server.enrol(tmp_path / "late", "late", _for("shop"))
    _level(late, narrow)
    assert _deliverables(late) == {"shop"}
    narrow.close()
    wide = server.enrol(tmp_path / "late", "late", _for("shop", "bank"))
    with late.write() as transaction:
        forget_cursor(transaction.connection)
    _level(late, wide)
    assert _deliverables(late) == {"shop", "bank"}
    count = "SELECT count(*) AS n FROM event_log WHERE deliverable IS NOT NULL"
    assert late.one(count) == boss.one(count)
    assert verify(late).findings == []
    for store in (everything, wide):
        store.close()


def test_what_may_not_be_pushed_stays(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    everything = server.enrol(tmp_path / "m", "m")
    journal = machine()
    obtain_number(journal, everything, request("b0", deliverable="bank"))
    everything.close()
    before = pending(journal)
    assert before
    narrow = server.enrol(tmp_path / "m", "m", _for("shop"))
    report = synchronise(journal, narrow, use_breaker=False)
    assert report.reached and report.staying == {"bank": before}
    assert report.pending == pending(journal) == 0
    narrow.close()


def test_a_reader_reads_and_no_more(server: ThreadServer, machine: Machine, tmp_path: Path) -> None:
    everything = server.enrol(tmp_path / "all", "all")
    boss = machine("boss")
    obtain_number(boss, everything, request("s0", deliverable="shop"))
    _level(boss, everything)
    board = server.enrol(tmp_path / "board", "board", Rights(frozenset(), frozenset(), None))
    screen = machine("screen")
    assert _level(screen, board).reached
    assert _deliverables(screen) == {"shop"}
    with pytest.raises(Refused, match="take"):
        obtain_number(screen, board, request("s1", deliverable="shop"))
    with pytest.raises(Refused, match="may push nothing"):
        board.put_blob("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", b"",
                       timeout=5)  # fmt: skip
    with pytest.raises(Refused, match="may not remove bytes"):
        board.drop_blob("0" * 64, timeout=5)
    for call in (lambda: board.invite("x", {}), lambda: board.revoke("all")):
        with pytest.raises(Refused, match="may not invite or revoke"):
            call()
    with pytest.raises(Refused, match="may not recover"):
        recover_store(screen, board)
    assert board.members()["members"]
    for store in (everything, board):
        store.close()


@pytest.mark.parametrize("rights", [Rights(), _for("shop"), _for()])
def test_a_member_that_may_not_invite_sees_itself(
    server: ThreadServer, machine: Machine, tmp_path: Path, rights: Rights
) -> None:
    """Names, rights and machines of the others are a map for whoever holds one stolen token."""
    boss = server.enrol(tmp_path / "boss", "boss")
    one = server.enrol(tmp_path / "one", "one", rights)
    for store, name in ((boss, "boss"), (one, "one")):
        synchronise(machine(name), store, use_breaker=False)
    assert {row["name"] for row in boss.members()["members"]} == {"boss", "one"}
    seen = one.members()
    assert [(row["name"], row["rights"]) for row in seen["members"]] == [("one", rights.as_json())]
    assert {row["member"] for row in seen["machines"]} == {"one"}
    assert set(seen) == {"members", "machines", "codes"}
    for store in (boss, one):
        store.close()


@pytest.mark.parametrize(
    "shape",
    [None, [], {"take": "all"}, {"take": [1]}, {"fly": []}, {"manage": 1}, {"take": [""]},
     {"read": ["x"] * 2000}],
)  # fmt: skip
def test_rights_of_another_shape_are_refused(shape: Any) -> None:
    with pytest.raises(UsageError):
        rights_from_json(shape)


def test_rights_travel() -> None:
    for rights in (Rights(), Rights(manage=True), _for("a", "b"), Rights(frozenset(), None)):
        assert rights_from_json(json.loads(json.dumps(rights.as_json()))) == rights
    assert rights_from_json({}) == _for()


@pytest.mark.parametrize(
    "part",
    [
        {"push": {"events": 1}}, {"push": [1]}, {"push": [{"events": [1]}]}, {"grant": [1]},
        {"push": [{"events": [{"deliverable": ["shop"]}]}]}, {"grant": [{"deliverable": None}]},
        {"pull": [1]}, {"pull": {"cursor": 1, "deliverables": "shop"}}, {"grant": {"a": 1}},
    ],
)  # fmt: skip
def test_malformed_parts_slip_through_no_gate(
    server: ThreadServer, tmp_path: Path, part: dict[str, Any]
) -> None:
    store = server.enrol(tmp_path / "shop", "shop", _for("shop"))
    token = {"count": 0, "value": ""}
    contact = {"node": "a" * 32, "token": token, "proposal": {"count": 1, "value": "p"}}
    answer = store.exchange(encode({"protocol": 1, "contact": contact, **part}), timeout=5)
    assert decode(answer)["refusal"]["name"] == "bad-message"
    store.close()


# Coming and going


def test_a_revoked_member_is_out_at_once_and_comes_back_under_a_new_id(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    store = server.enrol(tmp_path / "laptop", "laptop")
    journal = machine()
    for index in range(3):
        obtain_number(journal, store, request(f"r{index}"))
    _level(journal, store)
    # As 'cxlocal store revoke' does on the server, in another process.
    members = Members(server.members_path)
    assert members.revoke("laptop") == 1
    with pytest.raises(NotSignedIn, match="revoked") as raised:
        synchronise(journal, store, use_breaker=False)
    assert f"cxlocal store join {server.url} --code CODE" in raised.value.hint
    with pytest.raises(Refused, match="no member is called"):
        members.revoke("nobody")
    members.close()
    # What it holds it may spend, as it could with the cable pulled.
    held = obtain_number(journal, store, request("emergency"))
    assert held.how == "reserve"
    with pytest.raises(NotSignedIn):
        obtain_number(journal, store, request("e1", deliverable="other"))
    store.close()
    node = journal.node
    again = server.enrol(tmp_path / "laptop", "laptop")
    number = obtain_number(journal, again, request("r3")).number
    assert journal.node != node, "a machine of a revoked member has no place any more"
    assert number is not None
    assert number > (held.number or 0)
    assert _level(journal, again).pending == 0
    numbers = [row["number"] for row in journal.query("SELECT number FROM version ORDER BY 1")]
    assert numbers == [0, 1, 2, held.number, number]
    assert verify(journal).findings == []
    again.close()


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("before", "after", "staying"),
    [
        (_for("shop"), _for("shop"), 0), (None, _for("shop"), 0), (_for("shop"), None, 0),
        (_for("shop"), _for("shop", "bank"), 0), (_for("shop", "bank"), _for("bank"), 1),
    ],
)  # fmt: skip
def test_what_was_recorded_while_revoked_follows(
    before: Rights | None, after: Rights | None, staying: int, times: int,
    server: ThreadServer, machine: Machine, tmp_path: Path,
) -> None:  # fmt: skip
    """Under the id that was revoked, by the member that comes back; what it may not push stays here."""
    journal, ids = machine(), set()
    for turn in range(times):
        store = server.enrol(tmp_path / "laptop", "carol", before)
        obtain_number(journal, store, request(f"r{turn}", deliverable="shop"))
        _level(journal, store)
        ids.add(journal.node)
        members = Members(server.members_path)
        members.revoke("carol")
        members.close()
        held = obtain_number(journal, store, request(f"away{turn}", deliverable="shop"))
        assert held.how == "reserve" and pending(journal)
        store.close()
    again = server.enrol(tmp_path / "laptop", "carol", after)
    report = _level(journal, again)
    assert report.reached and report.pending == 0 and journal.node not in ids
    assert bool(report.staying) is bool(staying) and set(report.staying) <= {"shop"}
    name = "bank" if staying else "shop"
    assert obtain_number(journal, again, request("next", deliverable=name)).number is not None
    assert _level(journal, again)[:4] == (True, "", 0, 0)
    with sqlite3.connect(server.home / "store.db") as file:
        sql = "SELECT count(*) FROM event WHERE type LIKE '%version.used%' AND run = ?"
        arrived = file.execute(sql, (f"away{times - 1}",)).fetchone()[0]
    file.close()
    assert arrived == (0 if staying else 1)
    assert verify(journal).findings == []
    again.close()


def test_the_history_of_a_revoked_member_is_its_own(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    """Another member with the same rights does not go on with it, and nobody speaks under its id."""
    members = Members(server.members_path)
    carol, dave = (
        members.join(members.invite(name, _for("shop")), name * 9) for name in ("carol", "dave")
    )
    node = "c" * 32
    assert members.speak_as(node, carol) and members.may_bring(node, carol)
    members.revoke("carol")
    assert members.may_bring(node, carol) and members.owns(carol, node)
    assert not members.may_speak_as(node, carol) and not members.speak_as(node, carol)
    assert not members.may_bring(node, dave) and not members.owns(dave, node)
    assert [each["member"] for each in members.listing()["machines"]] == [None]
    members.close()


def test_a_second_code_gives_a_new_token_and_the_machine_stays(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    store = server.enrol(tmp_path / "laptop", "laptop")
    journal = machine()
    obtain_number(journal, store, request("r0"))
    node, old = journal.node, store.token
    store.close()
    again = server.enrol(tmp_path / "laptop", "laptop")
    assert again.token != old
    assert obtain_number(journal, again, request("r1")).number == 1
    assert journal.node == node
    again.close()
    stale = HttpStore(server.url, tmp_path / "stale")
    stale.sign_in(lambda: old)
    with pytest.raises(NotSignedIn):
        stale.members()
    stale.close()


def test_a_journal_in_the_hands_of_another_member_goes_on_under_a_new_id(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    mine = server.enrol(tmp_path / "me", "me")
    journal = machine("me")
    obtain_number(journal, mine, request("r0"))
    shutil.copy(tmp_path / "me" / "journal.db", tmp_path / "copy.db")
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "copy.db", tmp_path / "other" / "journal.db")
    theirs = server.enrol(tmp_path / "other", "other")
    copied = machine("other")
    assert copied.node == journal.node
    assert obtain_number(copied, theirs, request("r1")).number == 1
    assert copied.node != journal.node
    assert obtain_number(journal, mine, request("r2")).number == 2
    owners = {row["member"] for row in mine.members()["machines"]}
    assert owners == {"me", "other"}
    for store in (mine, theirs):
        store.close()


def test_relayed_events_are_marked(server: ThreadServer, machine: Machine, tmp_path: Path) -> None:
    """What a machine brings of another is kept with the name of who brought it."""
    source, courier = machine("source"), machine("courier")
    first = server.enrol(tmp_path / "source", "source")
    obtain_number(source, first, request("r0"))
    _level(source, first)
    second = server.enrol(tmp_path / "courier", "courier")
    _level(courier, second)
    with sqlite3.connect(server.home / "store.db") as store:
        rows = store.execute(
            "SELECT n.node, c.node FROM event e JOIN node n ON n.id = e.node"
            " JOIN node c ON c.id = e.carrier"
        ).fetchall()
    store.close()
    assert {row for row in rows if row[0] == source.node} == {(source.node, source.node)}
    for each in (first, second):
        each.close()


# Codes


def test_a_code_works_once(tmp_path: Path) -> None:
    clock = TestClock()
    members = Members(tmp_path / "m", clock=clock)
    code = members.invite("laptop", Rights())
    assert members.join(code.lower().replace("-", " "), "1" * 64).name == "laptop"
    assert members.join(code, "1" * 64).name == "laptop", "the same machine may ask again"
    with pytest.raises(NotSignedIn):
        members.join(code, "2" * 64)
    first = members.invite("build", Rights())
    second = members.invite("build", Rights())
    with pytest.raises(NotSignedIn):
        members.join(first, "3" * 64)
    clock.ms += CODE_MS + 1
    with pytest.raises(NotSignedIn, match="a day old"):
        members.join(second, "3" * 64)
    assert members.listing()["wrong_codes"] == 3
    members.close()


def test_codes_are_long_and_all_different(tmp_path: Path) -> None:
    members = Members(tmp_path / "m")
    codes = {members.invite(f"m{index}", Rights()) for index in range(100)}
    assert len(codes) == 100
    assert {len(code.replace("-", "")) for code in codes} == {16}
    letters = {letter for code in codes for letter in code}
    assert not letters & set("ILOU")
    members.close()


def test_neither_tokens_nor_codes_are_kept(server: ThreadServer, tmp_path: Path) -> None:
    members = Members(server.members_path)
    code = members.invite("laptop", Rights())
    members.close()
    store = HttpStore(server.url, tmp_path / "laptop")
    store.join(code)
    store.members()
    kept = b"".join(path.read_bytes() for path in server.home.rglob("*") if path.is_file())
    for secret in (store.token, code, code.replace("-", "")):
        assert secret.encode() not in kept
    assert server.members_path.stat().st_mode & 0o777 == 0o600
    store.close()


def _try_code(port: int, code: str, source: str) -> int:
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=10, source_address=(source, 0)
    )
    try:
        body = json.dumps({"code": code, "token_sha256": "0" * 64})
        connection.request("POST", wire.JOIN, body)
        return connection.getresponse().status
    finally:
        connection.close()


def test_guesses_of_codes_are_slowed_and_counted(server: ThreadServer, tmp_path: Path) -> None:
    """A flood of guesses finds nothing, and keeps nobody else out."""
    members = Members(server.members_path)
    code = members.invite("good", Rights(manage=True))
    statuses: list[int] = []

    def guess() -> None:
        for index in range(10):
            statuses.append(_try_code(server.port, f"GUES-{index}", "127.0.0.2"))

    threads = [threading.Thread(target=guess) for _ in range(8)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    good = HttpStore(server.url, tmp_path / "good")
    assert good.join(code)["member"] == "good"
    for thread in threads:
        thread.join()
    assert set(statuses) == {401, 429}
    slow = statuses.count(401)
    assert slow <= limits.CODES_BURST + len(threads)
    assert time.monotonic() - started >= limits.WRONG_CODE_SECONDS
    assert _try_code(server.port, "GUES-S", "127.0.0.2") == 429
    assert good.members()["wrong_codes"] == slow
    members.close()
    good.close()


def test_limits_count_a_subscriber_as_one() -> None:
    assert limits.network_of("192.0.2.1") != limits.network_of("192.0.2.2")
    assert limits.network_of("2001:db8::1") == limits.network_of("2001:db8::2:0:0:1")
    assert limits.network_of("2001:db8::1") != limits.network_of("2001:db8:0:1::1")
    assert limits.network_of("fe80::1%eth0") == limits.network_of("fe80::2")


def test_a_rate_refills(tmp_path: Path) -> None:
    class Slow(TestClock):
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Slow()
    rate = limits.Rate(clock, 2.0, 3)
    for _ in range(3):
        rate.take("a", "too often")
    with pytest.raises(limits.TooOften):
        rate.take("a", "too often")
    rate.take("b", "too often")
    clock.now = 0.5
    rate.take("a", "too often")
    with pytest.raises(limits.TooOften):
        rate.take("a", "too often")
    for index in range(limits.ADDRESSES_MAX + 10):
        rate.spend(index)
    assert len(rate._buckets) <= limits.ADDRESSES_MAX


# A proxy in front


def _guess(port: int, source: str, forwarded: str) -> int:
    """Status of a guess that comes from ``source``, for ``forwarded``; 0 where nothing is answered."""
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=20, source_address=(source, 0)
    )
    try:
        body = json.dumps({"code": "GUES-S", "token_sha256": "0" * 64})
        connection.request("POST", wire.JOIN, body, {"x-forwarded-for": forwarded})
        return connection.getresponse().status
    except (ConnectionError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _guesses(port: int, source: str, forwarded: Callable[[int], str]) -> set[int]:
    """Statuses of more guesses than one sender has, a few at once."""
    with ThreadPoolExecutor(4) as pool:
        turns = range(limits.CODES_BURST + 10)
        return set(pool.map(lambda turn: _guess(port, source, forwarded(turn)), turns))


def test_behind_a_proxy_nobody_else_is_answered_or_believed(tmp_path: Path) -> None:
    server = ThreadServer(tmp_path / "central", proxy="127.0.0.3")
    try:
        for stranger in ("127.0.0.1", "127.0.0.4"):
            assert _guess(server.port, stranger, "10.9.9.9") == 0, stranger
        # Behind the proxy each sender has its own guesses.
        assert 429 in _guesses(server.port, "127.0.0.3", lambda turn: "10.1.1.1")
        assert _guess(server.port, "127.0.0.3", "10.2.2.2") == 401
        # What a sender writes into the header itself stands before what the proxy adds.
        assert 429 in _guesses(server.port, "127.0.0.3", lambda turn: f"10.3.3.{turn}, 10.4.4.4")
    finally:
        server.close()


def test_without_a_proxy_the_header_is_not_believed(server: ThreadServer) -> None:
    assert 429 in _guesses(server.port, "127.0.0.1", lambda turn: f"10.0.0.{turn}")


@pytest.mark.parametrize("text", ["*", "proxy.example", "10.0.0.0/8", "10.0.0.1,10.0.0.2", " "])
def test_a_proxy_has_one_address(text: str) -> None:
    with pytest.raises(UsageError, match="no address of a proxy"):
        proxy_address(text)


def test_an_address_has_several_spellings() -> None:
    assert proxy_address("") == ""
    assert proxy_address("::ffff:10.0.0.7") == proxy_address("10.0.0.7") == "10.0.0.7"
    assert proxy_address("2001:DB8:0::7") == "2001:db8::7"


# The store behind


def test_a_store_that_is_gone_is_not_made_anew(tmp_path: Path, machine: Machine) -> None:
    """A disk that is not mounted after a restart: numbers must not start over."""
    home = tmp_path / "central"
    server = ThreadServer(home)
    store = server.enrol(tmp_path / "one", "one")
    obtain_number(machine("one"), store, request("r0"))
    store.close()
    server.close()
    shutil.move(home / "store.db", tmp_path / "elsewhere.db")
    server = ThreadServer(home)
    store = server.enrol(tmp_path / "two", "two")
    report = synchronise(machine("two"), store)
    assert not report.reached and "the store cannot be reached" in report.why
    assert not (home / "store.db").exists()
    assert _health(server) == 503
    store.close()
    server.close()
    shutil.move(tmp_path / "elsewhere.db", home / "store.db")
    server = ThreadServer(home)
    assert _health(server) == 200
    store = server.enrol(tmp_path / "two", "two")
    assert synchronise(machine("three"), store, use_breaker=False).reached
    store.close()
    server.close()


def _gone(path: Path) -> None:
    path.unlink()


def _damaged(path: Path) -> None:
    path.write_bytes(b"no database" * 500)


def _a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("ails", [_gone, _damaged, _a_folder])
def test_members_are_not_told_where_the_store_lies(
    tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture, ails: Callable[[Path], None]
) -> None:
    home = tmp_path / "central"
    server = ThreadServer(home)
    store = server.enrol(tmp_path / "one", "one")
    obtain_number(machine("one"), store, request("r0"))
    store.close()
    server.close()
    ails(home / "store.db")
    server = ThreadServer(home)
    store = server.enrol(tmp_path / "two", "two")
    log = logging.getLogger("cxlocal.server")
    with caplog.at_level(logging.WARNING, logger=log.name):
        log.addHandler(caplog.handler)
        with pytest.raises(StoreUnreachable) as unreached:
            store.exchange(encode(look("")), timeout=10)
        log.removeHandler(caplog.handler)
    assert str(home) not in json.dumps(unreached.value.as_json())
    assert "the log of 'cxlocal serve' says" in unreached.value.why
    assert str(home) in caplog.text, "whoever runs it is told"
    store.close()
    server.close()


def test_another_store_in_its_place_is_noticed(tmp_path: Path, machine: Machine) -> None:
    home = tmp_path / "central"
    server = ThreadServer(home)
    store = server.enrol(tmp_path / "one", "one")
    obtain_number(machine("one"), store, request("r0"))
    store.close()
    server.close()
    (home / "store.db").unlink()
    members = (home / "store.db.members").rename(tmp_path / "kept")
    other = ThreadServer(home)
    stranger = other.enrol(tmp_path / "x", "x")
    obtain_number(machine("x"), stranger, request("r0"))
    stranger.close()
    other.close()
    members.rename(home / "store.db.members")
    server = ThreadServer(home)
    store = server.enrol(tmp_path / "two", "two")
    report = synchronise(machine("two"), store)
    assert "another store" in report.why
    store.close()
    server.close()


def _health(server: ThreadServer) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", wire.HEALTH)
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_file_of_another_program_is_no_file_of_members(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(ConfigError, match="not a file of members"):
        Members(tmp_path / "other.db")


def test_two_members_cannot_both_have_a_machine(tmp_path: Path) -> None:
    one, two = Members(tmp_path / "m"), Members(tmp_path / "m")
    codes = [one.invite(name, Rights()) for name in ("a", "b")]
    a, b = one.join(codes[0], "1" * 64), two.join(codes[1], "2" * 64)
    assert one.speak_as("c" * 32, a)
    assert not two.speak_as("c" * 32, b)
    assert one.speak_as("c" * 32, a)
    one.close()
    two.close()


def test_the_server_goes_on_when_the_disk_is_away_for_a_moment(
    server: ThreadServer, machine: Machine, tmp_path: Path
) -> None:
    store = server.enrol(tmp_path / "laptop")
    journal = machine()
    obtain_number(journal, store, request("r0"))
    (server.home / "store.db").rename(tmp_path / "away.db")
    with pytest.raises(StoreUnreachable, match="the log of .cxlocal serve. says"):
        store.exchange(encode({"protocol": 1, "contact": _full_contact(journal)}), timeout=5)
    (tmp_path / "away.db").rename(server.home / "store.db")
    assert obtain_number(journal, store, request("r1")).number == 1
    store.close()


def _full_contact(journal: Journal) -> dict[str, Any]:
    from cxlocal.exchange.state import store_state

    token = {"count": 0, "value": ""}
    lineage = store_state(journal.connection).lineage
    return {"lineage": lineage, "node": "b" * 32, "token": token, "proposal": token}
