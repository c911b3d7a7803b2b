"""Bundles and receipts: carried by hand, read with suspicion, taken in once."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from comparing_kit import Teller
from cxlocal_sync.stores.sqlite import SqliteStore
from numbers_kit import FaultyStore, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.bundles.form import MAGIC, BundleWriter, read_frames
from cxlocal.bundles.intake import TakenBundle, take_bundle
from cxlocal.bundles.reader import look
from cxlocal.bundles.receipts import Received, take_receipt, write_receipt
from cxlocal.bundles.writer import ALL, OWN, Packed, pack
from cxlocal.clock import SystemIds
from cxlocal.errors import CxError, NotSynced, Refused, StoreNeeded, Trouble, UsageError
from cxlocal.events.document import Draft, Event, hash_of
from cxlocal.exchange import carried as carrying
from cxlocal.exchange.contact import prepare
from cxlocal.exchange.copies import go_on_as_copy
from cxlocal.exchange.messages import PROTOCOL, encode, event_out
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.state import store_state
from cxlocal.exchange.sync import SyncReport, pending, synchronise, to_relay
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import explain

Machine = Callable[..., Journal]


def note(journal: Journal, count: int, size: int = 10, deliverable: str = "webshop") -> None:
    kind = "dev.cdeventsx.cxlocal-run.flagged.0.1.0"
    with journal.write() as transaction:
        for index in range(count):
            transaction.append(Draft(kind, f"s{index}", {}, {"x": "y" * size}, deliverable))


def hashes(journal: Journal) -> list[bytes]:
    return sorted(row["hash"] for row in journal.query("SELECT hash FROM event"))


def sync(journal: Journal, store: Any) -> SyncReport:
    report = synchronise(journal, store, use_breaker=False, budget_seconds=30)
    assert report.reached, report.why
    return report


def take(journal: Journal, path: Path) -> TakenBundle | Received:
    """What ``cxlocal import --offline`` does."""
    contents = look(path, journal.node)
    if contents.header.kind == "receipt":
        return take_receipt(journal, path, contents.header)
    taken = take_bundle(journal, path, contents)
    catch_up(journal)
    return taken


def sound(journal: Journal) -> None:
    assert verify(journal).findings == []


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    """Where files are carried."""
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


def test_a_bundle_and_its_receipt_go_round_without_any_network(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    ship, office = machine("ship"), machine("office")
    for name in range(3):
        obtain_number(office, store, request(f"office-{name}"))
    obtain_number(ship, store, request("ship-0"))
    sync(ship, store)
    # At sea: numbers come from the reserve, and the store is out of reach.
    number = obtain_number(ship, None, request("ship-1"))
    assert (number.how, number.number) == ("reserve", 103)
    note(ship, 600)
    packed = pack(ship, stick / "a.bundle")
    assert packed.events == pending(ship) == 601
    assert packed.asks == ("webshop 2.7",)

    obtain_number(office, store, request("office-3"))
    sync(office, store)
    taken = take(office, stick / "a.bundle")
    assert isinstance(taken, TakenBundle)
    assert (taken.new, taken.machines, taken.asks, taken.branches) == (601, 1, 1, 0)
    assert to_relay(office) == 601
    report = sync(office, store)
    assert (report.relayed, report.to_relay, report.not_taken) == (601, 0, ())
    written = write_receipt(office, store, stick / "a.receipt", 20)
    assert (written.machines, written.answers, written.unanswered) == (1, 1, ())

    received = take(ship, stick / "a.receipt")
    assert isinstance(received, Received)
    assert received.acknowledged >= 601
    # The old reserve is given up and the new one is held: two events more.
    assert pending(ship) == 2 and pack(ship, stick / "b.bundle").events == 2
    assert received.pulled > 0 and received.reserves == ("webshop 2.7: 203 to 205",)
    assert [reserve.lo for reserve in reserves(ship)] == [203]
    assert explain(ship, "webshop", "2.7", 103).state == "in use, confirmed"
    # Both know the same, and the store goes on above what was used at sea.
    sync(office, store)
    assert explain(office, "webshop", "2.7", 103).run == "ship-1"
    assert obtain_number(office, store, request("office-4")).number == 106
    assert obtain_number(ship, None, request("ship-2")).number == 203
    sound(ship)
    sound(office)
    for journal in (ship, office, ship):
        sync(journal, store)
    assert hashes(ship) == hashes(office)


def test_a_machine_that_never_met_the_store_gets_its_first_reserve_by_stick(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    from cxlocal.exchange.contact import reserve_wish

    hut, office = machine("hut"), machine("office")
    obtain_number(office, store, request("r0"))
    note(hut, 3)
    wish = reserve_wish(hut, "webshop", "2.7", 3, 100)
    pack(hut, stick / "hut.bundle", first_wishes=[wish])
    take(office, stick / "hut.bundle")
    sync(office, store)
    write_receipt(office, store, stick / "hut.receipt", 20)
    received = take(hut, stick / "hut.receipt")
    assert isinstance(received, Received) and len(received.reserves) == 1
    assert store_state(hut.connection).lineage == store_state(office.connection).lineage
    number = obtain_number(hut, None, request("r1"))
    assert number.how == "reserve"
    sound(hut)
    # Its first own contact is an ordinary one.
    before = hut.node
    sync(hut, store)
    assert hut.node == before and pending(hut) == 0


@pytest.fixture
def bundle(machine: Machine, store: FaultyStore, stick: Path) -> Path:
    """A small bundle of a machine named one."""
    one = machine("one")
    obtain_number(one, store, request("r0"))
    note(one, 12, size=200)
    pack(one, stick / "a.bundle", scope=OWN)
    return stick / "a.bundle"


def test_p16_a_bundle_cut_off_at_any_byte_is_noticed_and_leaves_no_trace(
    machine: Machine, bundle: Path, stick: Path
) -> None:
    two = machine("two")
    note(two, 1)
    before = hashes(two)
    whole = bundle.read_bytes()
    for length in range(len(whole)):
        (stick / "torn").write_bytes(whole[:length])
        with pytest.raises(Trouble) as caught:
            take(two, stick / "torn")
        assert caught.value.name == "bundle-torn", length
    assert hashes(two) == before
    taken = take(two, bundle)
    assert isinstance(taken, TakenBundle) and taken.new > 12


def test_p15_any_flipped_byte_of_a_bundle_is_noticed(
    machine: Machine, bundle: Path, stick: Path
) -> None:
    two = machine("two")
    note(two, 1)
    before = hashes(two)
    whole = bytearray(bundle.read_bytes())
    for index in range(len(whole)):
        changed = bytearray(whole)
        changed[index] ^= 1 << (index % 8)
        (stick / "changed").write_bytes(changed)
        with pytest.raises((Trouble, UsageError)) as caught:
            take(two, stick / "changed")
        assert caught.value.name in (
            "bundle-damaged", "bundle-torn", "not-a-bundle", "bundle-unknown",
        ), index  # fmt: skip
    (stick / "longer").write_bytes(whole + b"x")
    with pytest.raises(Trouble, match="changed after it was written"):
        take(two, stick / "longer")
    assert hashes(two) == before


def forge(path: Path, bundle: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Write a bundle anew, with hashes that match: what somebody with our source could do."""
    with open(bundle, "rb") as file:
        messages = [frame.message for frame in read_frames(file, "x")]
    with open(path, "wb") as file:
        writer = BundleWriter(file, "x")
        for message in messages:
            change(message)
            writer.message(message)
        writer.close()
    return path


def rehash(item: dict[str, Any]) -> None:
    """Give an event as it travels the hash it must have."""
    event = Event(
        item["node"], item["sequence"], 0, item["type"], item["deliverable"],
        item["deliverable_sequence"], item["clock"], bytes.fromhex(item["previous"]),
        bytes.fromhex(item["previous_in_deliverable"]), b"", item["document"], item["run"],
    )  # fmt: skip
    item["hash"] = hash_of(event).hex()


def change_document(item: dict[str, Any]) -> None:
    item["document"] = item["document"].replace("yyy", "zzz", 1)


def change_run(item: dict[str, Any]) -> None:
    item["run"] = "another"


def no_document(item: dict[str, Any]) -> None:
    item["document"] = "[" * 100_000
    rehash(item)


def no_type(item: dict[str, Any]) -> None:
    item["document"] = '{"context":{"timestamp":"2026-11-23T00:00:00.000Z"}}'
    rehash(item)


def other_place(item: dict[str, Any]) -> None:
    item["deliverable_sequence"] += 5
    rehash(item)


def half_deliverable(item: dict[str, Any]) -> None:
    item["deliverable_sequence"] = None
    rehash(item)


def surrogate(item: dict[str, Any]) -> None:
    item["document"] += "\ud800"


def nameless(item: dict[str, Any]) -> None:
    item["node"] = "../../etc"
    rehash(item)


@pytest.mark.parametrize(
    "change",
    [
        change_document, change_run, no_document, no_type, other_place, half_deliverable,
        nameless,
    ],
)  # fmt: skip
def test_p15_a_bundle_made_anew_by_hand_is_checked_event_by_event(
    change: Callable[[dict[str, Any]], None], machine: Machine, bundle: Path, stick: Path
) -> None:
    two = machine("two")
    note(two, 1)
    before = hashes(two)

    def last(message: dict[str, Any]) -> None:
        if message.get("push"):
            change(message["push"][-1]["events"][-1])

    forged = forge(stick / "forged", bundle, last)
    with pytest.raises(CxError) as caught:
        take(two, forged)
    assert caught.value.name in ("bundle-damaged",), caught.value
    assert hashes(two) == before
    sound(two)


def test_what_is_no_plain_file_is_no_bundle(machine: Machine, stick: Path) -> None:
    import os

    os.mkfifo(stick / "pipe")
    (stick / "link").symlink_to("/dev/zero")
    for path in (stick / "pipe", stick / "link", stick):
        with pytest.raises(Trouble, match="cannot be read"):
            take(machine("two"), path)
        with pytest.raises(Trouble, match="cannot be written"):
            pack(machine("two"), path, scope=OWN)


def test_text_that_no_file_can_hold_is_refused(machine: Machine, bundle: Path, stick: Path) -> None:
    def last(message: dict[str, Any]) -> None:
        if message.get("push"):
            surrogate(message["push"][-1]["events"][-1])

    with pytest.raises(UnicodeEncodeError):
        forge(stick / "forged", bundle, last)
    # Written as an escape it is JSON, and still no text.
    escaped = b'{"protocol":1,"push":[{"events":[{"document":"\\ud800"}]}]}'
    payload = _raw(bundle, escaped)
    (stick / "forged").write_bytes(payload)
    with pytest.raises(Trouble, match="changed"):
        take(machine("two"), stick / "forged")


def _raw(bundle: Path, *payloads: bytes) -> bytes:
    """The header of ``bundle``, then frames of these bytes, well hashed, then the end."""
    with open(bundle, "rb") as file:
        header = encode(next(read_frames(file, "x")).message)
    out, running = MAGIC, sha256(MAGIC).digest()
    end = encode({"protocol": PROTOCOL, "end": {"frames": len(payloads) + 1}})
    kinds = [(b"M", header), *((b"M", one) for one in payloads), (b"E", end)]
    for kind, payload in kinds:
        head = struct.pack(">cI", kind, len(payload))
        running = sha256(running + head + payload).digest()
        out += head + payload + running
    return out


@pytest.mark.parametrize(
    "payload",
    [
        b"CXZ1" + zlib.compress(b" " * 300_000_000, 9),
        b"CXZ1" + zlib.compress(b"[" * 3_000_000, 9),
        b"[]",
        b"not json",
        b'{"protocol":1,"push":7}',
        b'{"protocol":1,"push":[{"events":[]}]}',
        b'{"protocol":1,"push":[{"events":{}}]}',
        b'{"protocol":1,"push":[{}]}',
        b'{"protocol":1,"ask":{}}',
        b'{"protocol":1,"ask":{"request":{"contact":[]}}}',
        b'{"protocol":1,"blob":{"sha256":"..","size":1,"pieces":1}}',
        b'{"protocol":1,"blob":{"sha256":"' + b"a" * 64 + b'","size":1,"pieces":999999999999}}',
    ],
    ids=lambda payload: payload[:40].decode("latin-1"),
)  # fmt: skip
def test_hostile_parts_are_refused_with_bounded_memory(
    payload: bytes, machine: Machine, bundle: Path, stick: Path
) -> None:
    import tracemalloc

    two = machine("two")
    note(two, 1)
    before = hashes(two)
    (stick / "hostile").write_bytes(_raw(bundle, payload))
    tracemalloc.start()
    with pytest.raises(Trouble) as caught:
        take(two, stick / "hostile")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.name == "bundle-damaged"
    assert peak < 100_000_000
    assert hashes(two) == before


def write_by_hand(path: Path, batches: list[list[Event]]) -> Path:
    """A bundle of these batches, as a program other than ours could write it."""
    header = {
        "kind": "journal", "node": batches[0][0].node, "lineage": "", "generation": 0,
        "written_at": "x", "cxlocal": "0",
    }  # fmt: skip
    with path.open("wb") as file:
        writer = BundleWriter(file, "x")
        writer.message({"protocol": PROTOCOL, "bundle": header})
        for batch in batches:
            events = [event_out(event) for event in batch]
            writer.message({"protocol": PROTOCOL, "push": [{"events": events}]})
        writer.close()
    return path


def test_a_bundle_of_many_machines_costs_memory_for_one_frame(stick: Path) -> None:
    """Four megabytes that unpack to a quarter of a gigabyte of documents."""
    import tracemalloc

    batches = []
    for index in range(1000):
        teller = Teller(f"{index:032x}")
        batches.append([teller.append(None, "x" * 250_000)])
    path = write_by_hand(stick / "many", batches)
    batches.clear()
    tracemalloc.start()
    contents = look(path, "f" * 32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(contents.firsts), contents.events) == (1000, 1000)
    assert peak < 30_000_000


def test_a_bundle_that_turns_out_unsound_says_what_was_taken(machine: Machine, stick: Path) -> None:
    """Whether an event continues its deliverable shows only where it is kept."""
    teller, two = Teller("b" * 32), machine("two")
    first = teller.append("shop", "news")
    second = teller.append("shop", "more")._replace(deliverable_sequence=7)
    second = second._replace(hash=hash_of(second))
    path = write_by_hand(stick / "unsound", [[first], [second]])
    with pytest.raises(Trouble) as caught:
        take(two, path)
    assert "the 1 new events before it were taken" in caught.value.why
    assert first.hash in hashes(two)
    assert second.hash not in hashes(two)
    catch_up(two)
    sound(two)


def test_p12_a_job_that_went_on_under_a_new_id_takes_both_histories_along(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    """A job got its number, was then taken for a copy, and the store went away."""
    job, office = machine("job"), machine("office")
    assert obtain_number(job, store, request("r0", kept=False)).number == 0
    old = job.node
    go_on_as_copy(job, prepare(job))
    assert job.node != old
    pack(job, stick / "job", scope=OWN, ask=False)
    take(office, stick / "job")
    sync(office, store)
    runs = {row["run"] for row in office.query("SELECT run FROM version")}
    assert runs == {"r0"}
    assert set(hashes(job)) <= set(hashes(office))


def test_p1_a_receipt_alone_is_no_word_of_a_recovery(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    """A later generation voids reserves, and told to the store it stops all numbers."""
    laptop, other = machine(), machine("other")
    obtain_number(laptop, store, request("r0"))
    sync(laptop, store)
    before = store_state(laptop.connection)
    header = {
        "kind": "receipt", "node": "b" * 32, "lineage": before.lineage, "generation": 99,
        "written_at": "x", "cxlocal": "0",
    }  # fmt: skip
    with (stick / "receipt").open("wb") as file:
        writer = BundleWriter(file, "x")
        writer.message({"protocol": PROTOCOL, "bundle": header})
        writer.message({"protocol": PROTOCOL, "acks": []})
        writer.close()
    received = take(laptop, stick / "receipt")
    assert isinstance(received, Received)
    assert received.old
    assert store_state(laptop.connection) == before
    assert obtain_number(laptop, None, request("night")).number == 100
    assert not sync(laptop, store).stopped
    assert obtain_number(other, store, request("r1")).how == "online"


def test_what_is_no_bundle_is_said_to_be_none(machine: Machine, stick: Path) -> None:
    two = machine("two")
    for content, name in (
        (b"PK\x03\x04 a zip file", "not-a-bundle"),
        (b"CXBUNDLE2\nlater", "bundle-unknown"),
        (b"", "bundle-torn"),
        (b"CXBUNDLE1\r\nM...", "bundle-line-ends"),
        (b"CXBUNDLE1\rM...", "bundle-line-ends"),
    ):
        (stick / "file").write_bytes(content)
        with pytest.raises(CxError) as caught:
            take(two, stick / "file")
        assert caught.value.name == name and caught.value.hint
    with pytest.raises(Trouble, match="cannot be read"):
        take(two, stick / "absent")
    with pytest.raises(Trouble, match="cannot be read"):
        take(two, stick)


def test_a_bundle_imported_twice_or_older_is_a_no_op(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 5)
    pack(one, stick / "first")
    note(one, 5)
    pack(one, stick / "second")
    for path, new in (("second", 11), ("first", 0), ("second", 0)):
        taken = take(two, stick / path)
        assert isinstance(taken, TakenBundle) and (taken.new, taken.branches) == (new, 0)
    sync(two, store)
    sync(two, store)
    assert store.inner._connection is not None
    count = store.inner._connection.execute("SELECT count(*) FROM event").fetchone()[0]
    assert count == 12
    assert take(two, stick / "first") == take(two, stick / "first")
    assert sync(two, store).relayed == 0


def test_bundles_out_of_order_are_refused_until_the_one_before_is_there(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    one, two, courier = machine("one"), machine("two"), machine("courier")
    note(one, 5)
    pack(one, stick / "first")
    sync(one, store)
    note(one, 5)
    pack(one, stick / "second")
    with pytest.raises(Refused) as caught:
        take(two, stick / "second")
    assert caught.value.name == "bundle-gap" and "begins with event 7" in caught.value.why
    assert hashes(two) == []
    for path in ("first", "second"):
        take(two, stick / path)
    assert len(hashes(two)) == 11
    # Or whoever has the store asks it for what comes before.
    sync(courier, store)
    take(courier, stick / "second")
    assert sync(courier, store).relayed == 5
    assert pack(one, stick / "all", scope=ALL).events == 11


def test_a_bundle_of_another_store_is_refused(
    machine: Machine, store: FaultyStore, tmp_path: Path, stick: Path
) -> None:
    one, two, fresh = machine("one"), machine("two"), machine("fresh")
    (tmp_path / "other").mkdir()
    other = SqliteStore("sqlite:", tmp_path / "other")
    obtain_number(one, store, request("r0"))
    obtain_number(two, other, request("r0"))
    pack(one, stick / "a.bundle", scope=OWN)
    before = hashes(two)
    with pytest.raises(Refused) as caught:
        take(two, stick / "a.bundle")
    assert caught.value.name == "wrong-lineage" and hashes(two) == before
    # A machine of no store may look at it, and does not bring it to another store later.
    take(fresh, stick / "a.bundle")
    report = sync(fresh, other)
    assert (report.relayed, report.to_relay, report.stopped) == (0, 0, "")
    other.close()


def test_p9_histories_that_disagree_are_both_kept_and_both_relayed(
    machine: Machine, store: FaultyStore, tmp_path: Path, stick: Path
) -> None:
    one = machine("one")
    note(one, 3)
    one.close()
    shutil.copytree(tmp_path / "one", tmp_path / "clone")
    one, clone, courier = machine("one"), machine("clone"), machine("courier")
    note(one, 2, size=11)
    note(clone, 4, size=12)
    pack(one, stick / "one")
    pack(clone, stick / "clone")
    take(courier, stick / "one")
    taken = take(courier, stick / "clone")
    assert isinstance(taken, TakenBundle) and (taken.new, taken.branches) == (4, 4)
    report = sync(courier, store)
    assert (report.relayed, report.to_relay, report.not_taken) == (10, 0, ())
    sound(courier)
    reader = machine("reader")
    sync(reader, store)
    assert set(hashes(one)) | set(hashes(clone)) < set(hashes(reader))


def test_p9_a_restored_journal_is_noticed_by_its_own_bundle(
    machine: Machine, store: FaultyStore, tmp_path: Path, stick: Path
) -> None:
    one = machine("one")
    obtain_number(one, store, request("r0"))
    sync(one, store)
    one.close()
    shutil.copytree(tmp_path / "one", tmp_path / "backup")
    one = machine("one")
    assert obtain_number(one, None, request("r1")).number == 100
    pack(one, stick / "a.bundle")
    lost, before = hashes(one), one.node
    one.close()
    # The disk died; the backup comes back in its place.
    for name in ("journal.db",):
        (tmp_path / "one" / name).write_bytes((tmp_path / "backup" / name).read_bytes())
    one = machine("one")
    taken = take(one, stick / "a.bundle")
    assert isinstance(taken, TakenBundle) and taken.restored
    assert one.node != before and reserves(one) == []
    assert set(lost) <= set(hashes(one))
    with pytest.raises(StoreNeeded):
        obtain_number(one, None, request("r2"))
    sync(one, store)
    assert obtain_number(one, store, request("r2")).number == 103
    sound(one)


def test_a_chain_that_the_store_does_not_take_holds_nothing_up(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 3)
    pack(one, stick / "a.bundle")
    take(two, stick / "a.bundle")
    note(two, 2)
    chain = carrying.waiting(two.connection, "")[0]
    refuse = store.inner.exchange

    class Choosy(FaultyStore):
        def exchange(self, request: bytes, *, timeout: float) -> bytes:
            from cxlocal.exchange.messages import decode, refusal

            for batch in decode(request).get("push", []):
                if batch["events"][0]["node"] == chain.node:
                    no = refusal("not-allowed", "you may not push webshop", "ask the operator")
                    return encode({"protocol": PROTOCOL, "refusal": no})
            return refuse(request, timeout=timeout)

    report = sync(two, Choosy(store.inner))
    assert pending(two) == 0 and report.to_relay == 4
    assert report.not_taken == (f"{chain.node[:8]}: you may not push webshop",)
    assert sync(two, store).relayed == 0, "it is not offered again at every exchange"
    report = synchronise(two, store, use_breaker=False, again=True)
    assert (report.relayed, report.to_relay, report.not_taken) == (4, 0, ())


# receipts


@pytest.fixture
def asked(machine: Machine, store: FaultyStore, stick: Path) -> tuple[Journal, Journal, Path]:
    """A machine that asked, one that carried, and the receipt."""
    ship, office = machine("ship"), machine("office")
    obtain_number(ship, store, request("ship-0"))
    assert obtain_number(ship, None, request("ship-1")).number == 100
    pack(ship, stick / "a.bundle")
    sync(office, store)
    take(office, stick / "a.bundle")
    sync(office, store)
    write_receipt(office, store, stick / "a.receipt", 20)
    return ship, office, stick / "a.receipt"


def test_a_receipt_taken_twice_or_by_a_stranger_is_a_no_op(
    asked: tuple[Journal, Journal, Path], machine: Machine
) -> None:
    ship, office, path = asked
    first = take(ship, path)
    assert isinstance(first, Received) and first.reserves
    held, before = reserves(ship), hashes(ship)
    again = take(ship, path)
    assert isinstance(again, Received) and again.old
    assert (reserves(ship), hashes(ship)) == (held, before)
    for journal in (office, machine("stranger")):
        nothing = take(journal, path)
        assert isinstance(nothing, Received)
        assert (nothing.reserves, nothing.pulled, nothing.acknowledged) == ((), 0, 0)


def test_p1_a_copy_of_the_journal_gets_no_numbers_by_the_receipt(
    asked: tuple[Journal, Journal, Path], machine: Machine, tmp_path: Path
) -> None:
    ship, _, path = asked
    ship.close()
    shutil.copytree(tmp_path / "ship", tmp_path / "copy")
    ship, copy = machine("ship"), machine("copy")
    for journal in (copy, ship):
        take(journal, path)
    assert [reserve.lo for reserve in reserves(ship)] == [200]
    assert [reserve.lo for reserve in reserves(copy)] == [100]
    with pytest.raises(Refused, match="locked"):
        obtain_number(copy, None, request("other"))


def test_a_receipt_that_comes_late_takes_nothing_back(
    asked: tuple[Journal, Journal, Path], store: FaultyStore
) -> None:
    ship, _, path = asked
    # Meanwhile the ship was in port and met the store itself.
    sync(ship, store)
    note(ship, 4)
    sync(ship, store)
    held, position = reserves(ship), store_state(ship.connection)
    late = take(ship, path)
    assert isinstance(late, Received) and late.old
    assert (pending(ship), reserves(ship)) == (0, held)
    assert store_state(ship.connection) == position
    sync(ship, store)
    sound(ship)


def test_a_bundle_that_comes_late_disturbs_nobody(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    ship, office = machine("ship"), machine("office")
    obtain_number(ship, store, request("ship-0"))
    note(ship, 3)
    pack(ship, stick / "a.bundle")
    for _ in range(2):
        note(ship, 1)
        sync(ship, store)
    before = ship.node
    sync(office, store)
    take(office, stick / "a.bundle")
    assert sync(office, store).relayed == 0
    written = write_receipt(office, store, stick / "a.receipt", 20)
    assert written.answers == 0
    late = take(ship, stick / "a.receipt")
    assert isinstance(late, Received) and not late.reserves
    sync(ship, store)
    assert ship.node == before, "the store takes nobody for a copy because of a late bundle"
    assert obtain_number(ship, store, request("ship-1")).number == 1


def test_a_receipt_of_a_lost_answer_is_asked_for_again(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    ship, office = machine("ship"), machine("office")
    obtain_number(ship, store, request("ship-0"))
    obtain_number(ship, None, request("ship-1"))
    pack(ship, stick / "a.bundle")
    sync(office, store)
    take(office, stick / "a.bundle")
    sync(office, store)
    store.faults = ["lose-reply"]
    written = write_receipt(office, store, stick / "a.receipt", 20)
    assert written.answers == 0 and "lost" in written.unanswered[0]
    received = take(ship, stick / "a.receipt")
    assert isinstance(received, Received) and pending(ship) == 0 and not received.reserves
    assert write_receipt(office, store, stick / "b.receipt", 20).answers == 1
    received = take(ship, stick / "b.receipt")
    assert isinstance(received, Received) and received.reserves == ("webshop 2.7: 200 to 202",)


def test_p15_a_receipt_cut_or_changed_anywhere_is_noticed(
    asked: tuple[Journal, Journal, Path], stick: Path
) -> None:
    ship, _, path = asked
    whole = path.read_bytes()
    before = (hashes(ship), reserves(ship), pending(ship))
    for index in range(0, len(whole), 3):
        (stick / "torn").write_bytes(whole[:index])
        changed = bytearray(whole)
        changed[index] ^= 1 << (index % 8)
        (stick / "changed").write_bytes(changed)
        for name in ("torn", "changed"):
            with pytest.raises(CxError):
                take(ship, stick / name)
    assert (hashes(ship), reserves(ship), pending(ship)) == before


def wider(entry: dict[str, Any]) -> None:
    entry["hi"] += 1000


def lower(entry: dict[str, Any]) -> None:
    entry["lo"], entry["hi"] = 0, 2


def other_node(entry: dict[str, Any]) -> None:
    entry["node"] = "0" * 32


def other_hash(entry: dict[str, Any]) -> None:
    entry["lo"] += 1


@pytest.mark.parametrize("change", [wider, lower, other_node, other_hash])
def test_p1_a_receipt_made_by_hand_hands_out_no_numbers(
    change: Callable[[dict[str, Any]], None],
    asked: tuple[Journal, Journal, Path],
    stick: Path,
) -> None:
    from cxlocal.exchange.messages import entry_in
    from cxlocal.numbers.log import entry_hash

    ship, _, path = asked
    lineage = store_state(ship.connection).lineage

    def edit(message: dict[str, Any]) -> None:
        for item in message.get("answer", {}).get("says", {}).get("grant", []):
            change(item["entry"])
            if change is not other_hash:
                deliverable, line, entry = entry_in(item["entry"])
                item["entry"]["hash"] = entry_hash(lineage, deliverable, line, entry)

    held = reserves(ship)
    with pytest.raises(Trouble, match="changed after it was written"):
        take(ship, forge(stick / "forged", path, edit))
    assert reserves(ship) == held
    received = take(ship, path)
    assert isinstance(received, Received) and received.reserves, "the true one still counts"


def test_a_receipt_before_anything_arrived_says_so(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    with pytest.raises(NotSynced, match="nothing to say"):
        write_receipt(machine("office"), store, stick / "a.receipt", 20)
    assert not (stick / "a.receipt").exists()


def test_asking_in_anothers_name_is_limited_to_what_a_bundle_may_ask(
    machine: Machine, store: FaultyStore, bundle: Path, stick: Path
) -> None:
    def edit(message: dict[str, Any]) -> None:
        if "ask" in message:
            request = message["ask"]["request"]
            request["recover"] = {"evidence": [], "margin": 1, "generation": 1}
            request["push"] = [{"events": []}]
            request["grant"] = [{**wish, "kind": "online"} for wish in request["grant"]]

    two = machine("two")
    take(two, forge(stick / "forged", bundle, edit))
    [question] = carrying.questions(two.connection)
    assert question.request["grant"] == question.request["push"] == []
    assert "recover" not in question.request
    sync(two, store)
    write_receipt(two, store, stick / "r", 20)
    assert store_state(two.connection).generation == 1


# files


def test_only_a_bundle_is_written_over(machine: Machine, stick: Path) -> None:
    one = machine("one")
    note(one, 1)
    (stick / "cx.toml").write_text("cx = 1\n")
    with pytest.raises(UsageError, match="no bundle"):
        pack(one, stick / "cx.toml")
    assert (stick / "cx.toml").read_text() == "cx = 1\n"
    pack(one, stick / "a")
    pack(one, stick / "a")
    assert (stick / "a").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in stick.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(Trouble, match="cannot be written"):
        pack(one, stick / "absent" / "a")
    with pytest.raises(Trouble, match="cannot be written"):
        pack(one, stick)


def test_a_bundle_is_small_and_carries_thousands(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 5000, size=300)
    packed = pack(one, stick / "a")
    documents = sum(len(event.document) for _, event in all_events(one))
    assert isinstance(packed, Packed)
    assert packed.bytes < documents / 3
    take(two, stick / "a")
    assert hashes(one) == hashes(two)
    assert sync(two, store).relayed == 5001


def test_what_another_form_adds_to_events_survives(
    machine: Machine, store: FaultyStore, stick: Path
) -> None:
    one, two, three = machine("one"), machine("two"), machine("three")
    one.append(Draft("dev.cdeventsx.future-thing.happened.9.9.9", "x", {"new": [1]}, {"y": "z"}))
    pack(one, stick / "a", scope=OWN)
    take(two, stick / "a")
    sync(two, store)
    sync(three, store)
    kinds = {event.type for _, event in all_events(three)}
    assert "dev.cdeventsx.future-thing.happened.9.9.9" in kinds
    assert set(hashes(one)) <= set(hashes(three))
    sound(three)


def test_an_event_of_ours_travels_as_it_was_hashed(machine: Machine) -> None:
    one = machine("one")
    note(one, 1)
    [_, event] = [event for _, event in all_events(one)]
    assert json.loads(json.dumps(event_out(event)))["document"] == event.document
    assert len(SystemIds().token()) == 32
