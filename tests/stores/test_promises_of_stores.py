"""The promises that rest on the store, by name, over every store: journals of real machines, and
requests and replies that are lost, doubled or late.

What rests on one machine alone is in tests/numbers and tests/journal; copies and restores of machines
and stores, which are promises too (P9 to P12), stand beside this file.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from comparing_kit import Teller
from numbers_kit import ACTOR, FaultyStore, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import number_of_run
from cxlocal.domain import NumberState
from cxlocal.errors import Refused, StoreNeeded
from cxlocal.events.document import Draft
from cxlocal.events.machines import version_used
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.contact import talk
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.state import store_state
from cxlocal.exchange.sync import pending, recover_store, synchronise, take_in
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import explain, ledger, lines_of

Machine = Callable[..., Journal]


def released(journal: Journal, store: Any, *runs: str, **rest: Any) -> list[int | None]:
    return [obtain_number(journal, store, request(run, **rest)).number for run in runs]


def covered(journal: Journal) -> list[int]:
    spans = ledger(journal, "webshop", "2.7")
    return [number for span in spans for number in range(span.lo, span.hi + 1)]


def level(store: Any, *journals: Journal) -> None:
    for journal in (*journals, *journals):
        report = synchronise(journal, store, use_breaker=False, budget_seconds=20)
        assert report.reached, report.why


def note(journal: Journal, count: int, text: str = "s") -> None:
    with journal.write() as transaction:
        for index in range(count):
            transaction.append(run_flagged(kind="note", subject=f"{index}", text=text))


def hashes(journal: Journal) -> list[bytes]:
    rows = journal.query("SELECT hash FROM event ORDER BY hash")
    return [row["hash"] for row in rows]


def test_p4_six_online_releases_in_a_row_are_0_to_5(machine: Machine, central: FaultyStore) -> None:
    laptop = machine()
    numbers = []
    for index in range(6):
        numbers += released(laptop, central, f"r{index}")
        synchronise(laptop, central)
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_p4_ten_machines_in_contact_between_skip_nothing(
    machine: Machine, central: FaultyStore
) -> None:
    laptop, others = machine(), [machine(f"agent-{index}") for index in range(10)]
    numbers = []
    for index in range(6):
        numbers += released(laptop, central, f"r{index}")
        for agent in others:
            if index == 0:
                numbers_of_agents = released(agent, central, f"{agent.home.name}", line="3.0")
                assert numbers_of_agents
            synchronise(agent, central)
    assert numbers == [0, 1, 2, 3, 4, 5]
    held = sorted((each.lo, each.hi) for agent in others for each in reserves(agent))
    assert len(held) == 10
    assert all(a[1] < b[0] for a, b in pairwise(held))
    assert held[0][0] == 100


def test_p4_a_reserve_lies_ahead_and_an_emergency_is_recognisable(
    machine: Machine, central: FaultyStore
) -> None:
    laptop = machine()
    assert released(laptop, central, *(f"r{index}" for index in range(15)))[-1] == 14
    # The reserve came with the first release; the cursor is not yet within half of the distance.
    assert [(each.lo, each.hi) for each in reserves(laptop)] == [(100, 102)]
    central.down = True
    assert released(laptop, central, "night") == [100]
    central.down = False
    level(central, laptop)
    passed = explain(laptop, "webshop", "2.7", 50)
    assert passed.state is NumberState.SKIPPED
    assert "passed over" in passed.why
    assert released(laptop, central, "after") == [103], "100 to 102 are the reserve's"
    assert [each.lo for each in reserves(laptop)] == [200]
    assert explain(laptop, "webshop", "2.7", 101).state is NumberState.SKIPPED


def test_p4_a_reserve_is_exchanged_when_the_numbers_in_use_come_close(
    machine: Machine, central: FaultyStore
) -> None:
    laptop, agent = machine(), machine("agent")
    released(laptop, central, "r0", ahead=10)
    released(agent, central, *(f"a{index}" for index in range(4)), ahead=10)
    synchronise(laptop, central)
    assert [each.lo for each in reserves(laptop)] == [10]
    released(agent, central, "a4", ahead=10)
    synchronise(laptop, central)
    [held] = reserves(laptop)
    assert held.lo > 13
    level(central, laptop, agent)
    given_up = explain(agent, "webshop", "2.7", 10)
    assert given_up.state is NumberState.SKIPPED
    assert "newer reserve" in given_up.why


def test_p4_an_offline_number_exceeds_all_known_to_be_in_use(
    machine: Machine, central: FaultyStore
) -> None:
    laptop, agent = machine(), machine("agent")
    released(laptop, central, "r0", ahead=4)
    assert [each.lo for each in reserves(laptop)] == [4]
    released(agent, central, *(f"a{index}" for index in range(8)), ahead=4)
    # The grant of a fresh reserve is lost, while what the others did becomes known.
    take_in(laptop, talk(laptop, central), settle=False)
    central.down = True
    known = max(row["number"] for row in laptop.query("SELECT number FROM version"))
    with pytest.raises(StoreNeeded):
        released(laptop, central, "night", ahead=4)
    assert known >= 8


def test_p1_no_number_twice_through_outages_and_lost_answers(
    machine: Machine, central: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    seen: list[int | None] = []
    faults = ["", "lose-reply", "lose-request", "twice", "late-request", "lose-reply", ""]
    for index, fault in enumerate(faults * 2):
        for journal in (one, two):
            central.faults = [fault] if fault else []
            try:
                seen += released(journal, central, f"{journal.home.name}-{index}")
            except StoreNeeded:
                synchronise(journal, central, use_breaker=False)
            central.deliver_late()
        journal.connection.execute("DELETE FROM breaker")
    assert len(seen) == len(set(seen))
    level(central, one, two)
    texts = one.query("SELECT number, count(*) AS uses FROM version GROUP BY number")
    assert all(row["uses"] == 1 for row in texts)


def test_p1_the_same_run_gets_the_same_number(machine: Machine, central: FaultyStore) -> None:
    laptop, agent = machine(), machine("agent")
    first = obtain_number(laptop, central, request("r0"))
    assert obtain_number(laptop, central, request("r0")) == first
    assert obtain_number(laptop, None, request("r0")) == first
    assert number_of_run(laptop, "webshop", "r0") == first
    level(central, laptop, agent)
    # A later job of the same run on another machine finds it too.
    assert number_of_run(agent, "webshop", "r0") == first
    central.down = True
    night = obtain_number(laptop, central, request("night"))
    central.down = False
    assert obtain_number(laptop, central, request("night")) == night


def test_p1_a_late_request_burns_its_number_and_no_more(
    machine: Machine, central: FaultyStore
) -> None:
    laptop = machine()
    released(laptop, central, "r0")
    central.faults = ["late-request"]
    assert released(laptop, central, "r1") == [100]
    level(central, laptop)
    central.deliver_late()
    level(central, laptop)
    assert obtain_number(laptop, central, request("r1")).number == 100
    numbers = released(laptop, central, "r2", "r3")
    assert len({100, *numbers}) == 3
    assert covered(laptop) == list(range(len(covered(laptop))))


def test_p1_an_answer_that_was_lost_is_asked_for_again(
    machine: Machine, central: FaultyStore
) -> None:
    """A machine that waits for its number asks under the same nonce: no number is burnt."""
    job, laptop = machine("job"), machine()
    central.faults = ["lose-reply"]
    asked = request("r0", kept=False)
    assert obtain_number(job, central, asked, patience_seconds=10).number == 0
    level(central, job, laptop)
    assert covered(laptop) == [0]
    assert released(laptop, central, "r1") == [1]


def test_p1_a_run_has_one_number_also_where_it_came_from_a_reserve(
    machine: Machine, central: FaultyStore
) -> None:
    """Another job of the run asks before it has heard of the first one."""
    laptop, job = machine(), machine("job")
    released(laptop, central, "r0")
    taken = obtain_number(laptop, None, request("night"))
    synchronise(laptop, central, use_breaker=False)
    assert obtain_number(job, central, request("night", kept=False)).number == taken.number == 100
    level(central, laptop, job)
    assert covered(job) == covered(laptop)


def test_p3_numbers_of_one_machine_strictly_increase(
    machine: Machine, central: FaultyStore
) -> None:
    laptop, agent = machine(), machine("agent")
    numbers: list[int | None] = []
    for index in range(12):
        central.down = index % 4 == 2
        laptop.connection.execute("DELETE FROM breaker")
        numbers += released(laptop, central, f"r{index}")
        central.down = False
        released(agent, central, f"a{index}")
    assert numbers == sorted(set(numbers), key=lambda number: number or 0)


def test_p5_grants_ascend_and_never_overlap(machine: Machine, central: FaultyStore) -> None:
    journals = [machine(f"m{index}") for index in range(3)]
    last = -1
    for index in range(9):
        [number] = released(journals[index % 3], central, f"r{index}", ahead=5)
        assert number is not None
        assert number > last
        last = number
    level(central, *journals)
    rows = journals[0].query("SELECT lo, hi FROM grant_entry WHERE kind != 'raise' ORDER BY lo")
    assert all(a["hi"] < b["lo"] for a, b in pairwise(rows))


def test_p7_every_number_has_exactly_one_state(machine: Machine, central: FaultyStore) -> None:
    laptop, agent = machine(), machine("agent")
    released(laptop, central, "r0", "r1", first=5)
    released(agent, central, "a0", first=5)
    central.faults = ["lose-reply"]
    released(laptop, central, "r2", first=5)
    level(central, laptop, agent)
    released(laptop, central, "r3", first=5)
    level(central, laptop, agent)
    for journal in (laptop, agent):
        numbers = covered(journal)
        top = journal.one("SELECT max(hi) AS top FROM grant_entry")
        assert top is not None
        assert numbers == list(range(top["top"] + 1))
        states = {span.state for span in ledger(journal, "webshop", "2.7")}
        assert NumberState.CONFIRMED in states
        assert all(span.why for span in ledger(journal, "webshop", "2.7"))
    low = explain(agent, "webshop", "2.7", 2)
    assert (low.state, "start at 5" in low.why) == (NumberState.SKIPPED, True)
    lost = explain(agent, "webshop", "2.7", 8)
    assert lost.state is NumberState.SKIPPED
    assert "answer was lost" in lost.why
    assert explain(agent, "webshop", "2.7", 10**6).state is NumberState.FREE
    assert lines_of(agent, "webshop") == ["2.7"]


def test_a_number_nobody_granted_stops_grants_and_moves_no_cursor(
    machine: Machine, central: FaultyStore
) -> None:
    laptop, rogue = machine(), machine("rogue")
    released(laptop, central, "r0")
    level(central, rogue)
    rogue.append(
        version_used(
            deliverable="webshop", run="x", line="2.7", number=5_000, scheme="semver",
            text="2.7.5000", sort_key="x", how="online", lineage="?", generation=1, k=1,
            actor=ACTOR,
        )
    )  # fmt: skip
    level(central, rogue)
    assert released(laptop, central, "r1") == [100]
    released(laptop, central, "other", deliverable="shop")
    level(central, laptop)
    assert lifted_to(laptop) <= 100
    recover_store(laptop, central)
    [number] = released(laptop, central, "r2")
    assert number is not None
    assert number > 5_000


def lifted_to(journal: Journal) -> int:
    """The highest number that anything but a reserve ahead has reached on the line."""
    row = journal.one(
        "SELECT max(hi) AS top FROM grant_entry WHERE deliverable = 'webshop' AND kind <> 'reserve'"
    )
    assert row is not None
    return int(row["top"])


def test_tags_decide_where_an_adopter_starts(machine: Machine, central: FaultyStore) -> None:
    laptop, other = machine(), machine("other")
    for turn in range(3):
        with pytest.raises(Refused) as caught:
            obtain_number(laptop, central, request(f"r{turn}", tagged=7))
        assert "from = 8" in caught.value.hint
        synchronise(laptop, central)
    assert released(laptop, central, "r0", tagged=7, first=8) == [8]
    assert released(laptop, central, "r1", tagged=8, first=8) == [9]
    # A tag on a release of our own, taken from a reserve the store has not heard of yet.
    ahead = obtain_number(laptop, None, request("night")).number
    assert released(other, central, "r2", tagged=ahead, first=8) == [10]


def test_a_passing_machine_holds_and_takes_no_reserve(
    machine: Machine, central: FaultyStore
) -> None:
    job = machine("job")
    assert released(job, central, "r0", kept=False) == [0]
    assert reserves(job) == []
    central.down = True
    with pytest.raises(StoreNeeded, match="passing machine"):
        obtain_number(job, central, request("r1", kept=False), patience_seconds=0.3)
    assert len(central.requests) == 1


def test_p8_p18_counting_goes_on_above_a_recovery_that_nobody_needed(
    machine: Machine, central: FaultyStore
) -> None:
    laptop, agent = machine(), machine("agent")
    before = released(laptop, central, "r0", "r1")
    assert recover_store(laptop, central).reached
    [number] = released(laptop, central, "r2")
    assert number is not None
    assert number > max(each or 0 for each in before) + 1000
    assert reserves(laptop)[0].lo > number
    level(central, laptop, agent)
    assert explain(agent, "webshop", "2.7", 1).state is NumberState.CONFIRMED
    assert covered(laptop) == covered(agent) == list(range(len(covered(laptop))))


def test_p13_hundreds_of_events_arrive_once_and_in_order(
    machine: Machine, central: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 720)
    note(two, 30)
    central.faults = ["twice", "lose-reply"]
    synchronise(one, central, use_breaker=False)
    central.faults = []
    level(central, one, two)
    assert hashes(one) == hashes(two)
    assert pending(one) == pending(two) == 0
    rows = two.query(
        "SELECT sequence FROM event e JOIN node_lookup n ON n.id = e.node WHERE n.name = ?"
        " ORDER BY e.id",
        (one.node,),
    )
    assert [row["sequence"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 720


def test_p12_what_was_acknowledged_is_there_for_whoever_opens_the_store_next(
    machine: Machine, open_any: Callable[[], Any]
) -> None:
    laptop, store = machine(), open_any()
    obtain_number(laptop, store, request("r0"))
    note(laptop, 5)
    level(store, laptop)
    store.close()
    agent = machine("agent")
    level(open_any(), agent)
    assert set(hashes(laptop)) < set(hashes(agent))
    assert number_of_run(agent, "webshop", "r0") == number_of_run(laptop, "webshop", "r0")


def test_p16_a_cut_exchange_resumes_with_at_most_one_batch_again(
    machine: Machine, central: FaultyStore
) -> None:
    one, two = machine("one"), machine("two")
    note(one, 1200)
    central.faults = ["", "lose-reply", ""]
    assert not synchronise(one, central, use_breaker=False).reached
    central.faults = []
    level(central, one, two)
    sent = [
        len(batch["events"])
        for raw in central.requests
        for batch in decode(raw).get("push", [])
        if batch["events"][0]["node"] == one.node
    ]
    assert sum(sent) <= 1201 + 500
    assert set(hashes(one)) <= set(hashes(two))


def test_p15_a_changed_event_is_refused_by_the_store(
    machine: Machine, central: FaultyStore
) -> None:
    teller = Teller("b" * 32)
    teller.append("webshop", "as it was")
    batch = teller.batch(0, 1)
    document = batch["events"][0]["document"]
    batch["events"][0]["document"] = document.replace("as it was", "as it is")
    contact = teller.contact(lineage="")
    answer = say(central, contact, push=[batch])
    assert answer["refusal"]["name"] == "bad-hash"
    assert say(central, contact)["ack"]["sequence"] == 0


def test_p19_what_is_unknown_here_travels_unchanged(machine: Machine, central: FaultyStore) -> None:
    """A newer cxlocal writes events nobody here can project, and known ones with more in them."""
    newer, older = machine("newer"), machine("older")
    known = run_flagged(kind="note", subject="s", text="t")
    unknown = Draft(
        "dev.cdeventsx.cxlocal-forecast.made.1.0.0", "f", {"sky": "blue"}, {}, "webshop", None
    )
    with newer.write() as transaction:
        transaction.append(unknown)
        transaction.append(known._replace(custom={**known.custom, "mood": ["calm", {"since": 3}]}))
    level(central, newer, older)
    there, here = (
        {row["hash"]: row["document"] for row in journal.query("SELECT hash, document FROM event")}
        for journal in (newer, older)
    )
    assert there.items() <= here.items()
    assert sum("sky" in document or "mood" in document for document in here.values()) == 2
    assert not verify(older).findings
    assert released(older, central, "r0") == [0]


def test_p20_every_refusal_of_the_store_names_cause_and_way_out(any_store: Any) -> None:
    teller = Teller("b" * 32)
    teller.append("webshop", "as it was")
    contact, batch = teller.contact(lineage=""), teller.batch(0, 1)
    batch["events"][0]["document"] = batch["events"][0]["document"].replace("was", "is")
    say(any_store, contact)
    wish = {"kind": "online", "deliverable": "webshop", "line": "2.7", "nonce": "n", "run": "r"}
    refused = {
        "unknown-protocol": say(any_store, contact, protocol=2),
        "wrong-lineage": say(any_store, {**contact, "lineage": "f" * 32}),
        "bad-message": say(any_store, contact, grant=[{**wish, "kind": "raise"}]),
        "bad-hash": say(any_store, contact, push=[batch]),
    }
    for name, answer in refused.items():
        assert answer["refusal"]["name"] == name
        assert answer["refusal"]["cause"] and answer["refusal"]["fix"], answer
    stopping = say(any_store, contact, grant=[{**wish, "tagged": 7, "first": 0}])
    below = stopping["grant"][0]["refusal"]
    assert (below["name"], bool(below["cause"]), bool(below["fix"])) == (
        "starts-too-low", True, True,
    )  # fmt: skip


def say(store: Any, contact: dict[str, Any], **parts: Any) -> dict[str, Any]:
    message = {"protocol": 1, "contact": contact, **parts}
    return decode(store.exchange(encode(message), timeout=20))


def test_p5_p14_a_reader_that_follows_misses_nothing(open_any: Callable[[], Any]) -> None:
    """Three machines write side by side; whoever follows the feed meanwhile sees each position once
    and never one below, and their numbers ascend without holes."""
    over = threading.Event()
    taken: list[list[int]] = []
    followed: list[int] = []
    errors: list[BaseException] = []
    say(open_any(), Teller("a" * 32).contact(lineage=""))

    def write(letter: str) -> None:
        store, teller = open_any(), Teller(letter * 32)
        numbers: list[int] = []
        for index in range(10):
            teller.append("webshop", f"{letter}{index}")
            nonce = f"{letter}{index}"
            asked = {"kind": "online", "deliverable": "webshop", "line": "2.7"}
            answer = say(
                store, teller.contact(lineage=""), push=[teller.batch(index, index + 1)],
                grant=[{**asked, "nonce": nonce, "run": nonce}],
            )  # fmt: skip
            numbers.append(answer["grant"][0]["entry"]["lo"])
            teller.accepted()
            teller.generation = answer["store"]["generation"]
        taken.append(numbers)
        store.close()

    def follow() -> None:
        store, reader = open_any(), Teller("e" * 32)
        cursor: dict[str, Any] = {"position": 0, "hash": "0" * 64}
        running = bytes(32)
        while True:
            last = over.is_set()
            asked = {"cursor": cursor, "limit": 7}
            answer = say(store, reader.contact(lineage=""), pull=asked)
            reader.accepted()
            reader.generation = answer["store"]["generation"]
            assert not answer["pull"]["void"]
            for item in answer["pull"]["items"]:
                followed.append(item["position"])
                running = sha256(running + hash_of_item(item)).digest()
                cursor = {"position": item["position"], "hash": running.hex()}
            if last and not answer["pull"]["more"]:
                store.close()
                return

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)

        return run

    reader = threading.Thread(target=guarded(follow))
    writers = [
        threading.Thread(target=guarded(lambda letter=letter: write(letter)))  # type: ignore[misc]
        for letter in "bcd"
    ]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join(40)
    over.set()
    reader.join(20)
    if errors:
        raise errors[0]
    assert all(numbers == sorted(numbers) for numbers in taken)
    assert sorted(number for numbers in taken for number in numbers) == list(range(30))
    assert followed == list(range(1, 61))


def hash_of_item(item: dict[str, Any]) -> bytes:
    told = item.get("hash") or (item.get("event") or item.get("grant") or {})["hash"]
    return bytes.fromhex(told)


def test_p18_idle_syncs_change_nothing(machine: Machine, central: FaultyStore) -> None:
    laptop, agent = machine(), machine("agent")
    released(laptop, central, "r0")
    released(agent, central, "a0")
    level(central, laptop, agent)

    def picture() -> Any:
        return [
            (
                journal.query("SELECT count(*) AS n FROM event UNION ALL SELECT count(*) FROM"
                              " grant_entry UNION ALL SELECT sum(sequence) FROM ack"),
                ledger(journal, "webshop", "2.7"),
            )
            for journal in (laptop, agent)
        ]  # fmt: skip

    before, said = picture(), len(central.requests)
    heads = set()
    for _ in range(5):
        level(central, laptop, agent)
        heads.add(repr(store_state(laptop.connection)))
    assert picture() == before
    assert len(heads) == 1, "the feed of the store has moved"
    assert not any(decode(raw).get("push") for raw in central.requests[said:])
