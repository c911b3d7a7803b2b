"""The contract of ``cxlocal.exchange.store``, over every store."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from comparing_kit import Teller
from numbers_kit import FAULTS, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import CxError
from cxlocal.events.document import hash_of
from cxlocal.exchange.messages import decode, encode, event_out
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.ledger import ledger

Machine = Callable[..., Journal]


def contact(**rest: Any) -> dict[str, Any]:
    return {
        "node": "a" * 32,
        "token": {"count": 0, "value": ""},
        "proposal": {"count": 1, "value": "p1"},
        **rest,
    }


def wish(nonce: str, **rest: Any) -> dict[str, Any]:
    made = {"kind": "online", "deliverable": "webshop", "line": "2.7", "nonce": nonce, "run": "r"}
    return {**made, **rest}


def say(store: Any, **parts: Any) -> dict[str, Any]:
    message = {"protocol": 1, "contact": contact(), **parts}
    return decode(store.exchange(encode(message), timeout=5))


def test_one_request_one_answer(any_store: Any) -> None:
    answer = say(any_store, grant=[wish("n1")])
    assert answer["grant"][0]["entry"]["lo"] == 0
    assert answer["store"]["head"]["position"] == 1
    assert answer["ack"] == {"node": "a" * 32, "sequence": 0, "hash": "00" * 32}


def test_a_repeated_request_gets_the_same_grant(any_store: Any) -> None:
    first = say(any_store, grant=[wish("n1")])
    again = say(any_store, grant=[wish("n1")])
    assert again["grant"] == first["grant"]
    assert say(any_store, grant=[wish("n2")])["grant"][0]["entry"]["lo"] == 1


def test_a_nonce_is_worth_nothing_to_another_node(any_store: Any) -> None:
    say(any_store, grant=[wish("n1")])
    other = contact(node="b" * 32)
    with_stolen = {"protocol": 1, "contact": other, "grant": [wish("n1")]}
    answer = decode(any_store.exchange(encode(with_stolen), timeout=5))
    assert answer["refusal"]["name"] == "bad-message"
    assert say(any_store, grant=[wish("n3")])["grant"][0]["entry"]["lo"] == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"contact": contact(node="short")},
        {"contact": contact(token={"count": -5, "value": ""})},
        {"push": [{"events": []}]},
        {"push": [{"events": [{"node": "x"}]}]},
        {"push": "all"},
        {"grant": [{"kind": "online"}]},
        {"grant": [wish("n", kind="raise")]},
        {"grant": [wish("n", kind="reserve", size=101)]},
        {"grant": [wish("n", kind="reserve", ahead=501)]},
        {"grant": [wish("n", above=2**70)]},
        {"grant": [wish("")]},
        {"pull": {"cursor": {"position": "0", "hash": "00"}}},
        {"contact": contact(heads=[["webshop"]])},
        {"recover": {"evidence": [["webshop", "2.7"]]}},
    ],
)
def test_a_malformed_part_refuses_the_whole_message(any_store: Any, broken: dict[str, Any]) -> None:
    say(any_store, grant=[wish("n1")])
    answer = say(any_store, **{"grant": [wish("n2")], **broken})
    assert answer["refusal"]["name"] == "bad-message"
    after = say(any_store)
    assert after["store"]["head"]["position"] == 1, "a refused message left something behind"


WRONG_EVENTS: list[tuple[str, Any]] = [
    ("node", "../../../escaped"), ("type", "another"), ("run", "another"), ("document", "[]"),
    ("deliverable_sequence", None), ("deliverable", "x" * 5000),
    ("document", '{"commas":"' + "," * 1_000_000 + '"}'),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG_EVENTS)
def test_p15_an_event_no_journal_wrote_is_refused(
    any_store: Any, tmp_path: Path, name: str, value: Any
) -> None:
    """Its hash is right. Kept, it would end every sync of every machine, or lie outside the store."""
    say(any_store, grant=[wish("n1")])
    teller = Teller("b" * 32)
    event = teller.append("webshop", "news")._replace(**{name: value})
    event = event._replace(hash=hash_of(event))
    answer = say(any_store, push=[{"events": [event_out(event)]}])
    assert answer["refusal"]["name"] == "bad-message"
    assert say(any_store)["store"]["head"]["position"] == 1
    assert not [path for path in tmp_path.rglob("*escaped*")]


ODD_TEXTS = (
    "plain", "", "tab\tnewline\nreturn\r", "\\\\N \\\\. \\\\x41", 'a "b"', "ü \u2028 \U0001f680", "\x1f", "x" * 5000,
)  # fmt: skip


def test_p19_what_is_brought_in_one_batch_comes_back_letter_by_letter(any_store: Any) -> None:
    """To whom it is new, as a whole; to who brought it, by name and hash; to who follows another
    deliverable, by hash alone."""
    teller = Teller("b" * 32)
    for text in ODD_TEXTS:
        for name in (None, "webshop", "bänk\t"):
            teller.append(name, text)
    count = len(teller.chain)

    def pulled(node: str, **asked: Any) -> list[Any]:
        cursor = {"position": 0, "hash": "00" * 32}
        told = say(any_store, contact=contact(node=node), pull={"cursor": cursor, **asked})
        return list(told["pull"]["items"])

    carrier = Teller("e" * 32)
    told = say(any_store, contact=carrier.contact(lineage=""), push=[teller.batch(0, count)])
    assert told["push"][0]["appended"] == count
    carrier.accepted()
    whole = [{**event_out(event), "branch": 0} for event in teller.chain]
    assert [item["event"] for item in pulled(teller.node)] == whole, "who wrote it did not bring it"
    items = pulled("c" * 32)
    assert [item["event"] for item in items] == whole
    assert [item["position"] for item in items] == list(range(1, count + 1))
    in_part = [item.get("event") for item in pulled("d" * 32, deliverables=["webshop"])]
    others = ("bänk\t",)
    assert in_part == [None if one["deliverable"] in others else one for one in whole]
    cursor = {"position": 0, "hash": "00" * 32}
    own = say(any_store, contact=carrier.contact(lineage=""), pull={"cursor": cursor})["pull"][
        "items"
    ]
    assert [(item["hash"], item["brought"]) for item in own] == [
        (one["hash"], [teller.node, one["sequence"]]) for one in whole
    ]


def test_p19_another_protocol_is_refused_by_name(any_store: Any) -> None:
    raw = encode({"protocol": 2, "contact": contact()})
    answer = decode(any_store.exchange(raw, timeout=5))
    assert answer["refusal"]["name"] == "unknown-protocol"
    assert answer["refusal"]["fix"]


def test_unknown_fields_are_ignored(any_store: Any) -> None:
    answer = say(any_store, grant=[wish("n1", colour="red")], later={"what": 1})
    assert answer["grant"][0]["entry"]["lo"] == 0


def test_another_lineage_is_refused(any_store: Any) -> None:
    say(any_store)
    answer = say(any_store, contact=contact(lineage="f" * 32))
    assert answer["refusal"]["name"] == "wrong-lineage"


def test_p9_a_copy_is_refused_whatever_it_presents(any_store: Any) -> None:
    """The node made its first contact since a recovery with a count of its own: there is no first
    count that a copy could be compared with."""
    recovery = {"evidence": [], "margin": 1000, "generation": 0}
    made = say(any_store, recover=recovery)["store"]

    def come(count: int, value: str, generation: int = made["generation"]) -> Any:
        told = contact(
            node="b" * 32, lineage=made["lineage"], generation=generation,
            token={"count": count, "value": value},
            proposal={"count": count + 1, "value": f"after {value}"},
        )  # fmt: skip
        return say(any_store, contact=told).get("refusal", {}).get("name")

    assert come(12, "one", made["generation"] - 1) is None
    assert come(0, "") == "copy"
    assert come(11, "of a copy") == "copy"
    assert come(13, "after one") is None


def test_p9_copies_that_come_back_after_a_recovery_are_told_apart(any_store: Any) -> None:
    """Both held a token of the store that was lost, of different ages: one goes on."""
    recovery = {"evidence": [], "margin": 1000, "generation": 0}
    made = say(any_store, recover=recovery)["store"]

    def come(count: int, value: str, generation: int = made["generation"]) -> Any:
        told = contact(
            node="b" * 32, lineage=made["lineage"], generation=generation,
            token={"count": count, "value": value},
            proposal={"count": count + 1, "value": f"after {value}"},
        )  # fmt: skip
        return say(any_store, contact=told).get("refusal", {}).get("name")

    older = made["generation"] - 1
    assert come(12, "one", older) is None
    assert come(13, "after one") is None
    assert come(20, "two", older) is None
    assert come(20, "two", older) is None, "the same message again"
    assert come(14, "after after one") == "copy"
    assert come(12, "one", older) == "copy", "late, or twice"
    assert come(21, "after two") is None
    assert come(15, "after after after one") == "copy"


def test_blobs_by_digest(any_store: Any) -> None:
    say(any_store)
    content = b"report" * 1000
    digest = sha256(content).hexdigest()
    assert any_store.missing_blobs([digest], timeout=5) == [digest]
    any_store.put_blob(digest, content, timeout=5)
    any_store.put_blob(digest, content, timeout=5)
    assert any_store.missing_blobs([digest], timeout=5) == []
    assert any_store.get_blob(digest, timeout=5) == content
    assert any_store.get_blob("0" * 64, timeout=5) is None
    for _ in range(2):
        any_store.drop_blob(digest, timeout=5)
        assert any_store.get_blob(digest, timeout=5) is None
        assert any_store.missing_blobs([digest], timeout=5) == [digest]
    any_store.put_blob(digest, content, timeout=5)
    assert any_store.get_blob(digest, timeout=5) == content
    with pytest.raises(CxError):
        any_store.put_blob("0" * 64, content, timeout=5)
    with pytest.raises(CxError):
        any_store.get_blob("../../etc/passwd", timeout=5)


def test_machines_level_through_the_store(any_store: Any, machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    for index in range(3):
        obtain_number(one, any_store, request(f"one-{index}"))
        obtain_number(two, any_store, request(f"two-{index}"))
    for journal in (one, two, one, two):
        synchronise(journal, any_store)
    runs = [
        [row["run"] for row in journal.query("SELECT run FROM version ORDER BY number")]
        for journal in (one, two)
    ]
    assert runs[0] == runs[1] == ["one-0", "two-0", "one-1", "two-1", "one-2", "two-2"]
    assert [span[:4] for span in ledger(one, "webshop", "2.7") if span.run] == [
        span[:4] for span in ledger(two, "webshop", "2.7") if span.run
    ]
    assert pending(one) == pending(two) == 0


@pytest.mark.parametrize("fault", FAULTS)
def test_a_number_survives_every_fault(fault: str, faulty_store: Any, machine: Machine) -> None:
    store, journal = faulty_store, machine()
    first = obtain_number(journal, store, request("r0"))
    store.faults = [fault]
    second = obtain_number(journal, store, request("r1"))
    assert obtain_number(journal, store, request("r1")) == second
    third = obtain_number(journal, store, request("r2"))
    for _ in range(3):
        synchronise(journal, store, use_breaker=False)
    fourth = obtain_number(journal, store, request("r3"))
    numbers = [each.number for each in (first, second, third, fourth)]
    assert numbers == sorted(set(numbers), key=lambda number: number or 0), numbers
    spans = ledger(journal, "webshop", "2.7")
    covered = [number for span in spans for number in range(span.lo, span.hi + 1)]
    assert covered == list(range(len(covered))), "a number has no state, or two"
    assert pending(journal) == 0 or synchronise(journal, store).pending == 0
    lost = [span for span in spans if "answer was lost" in span.why]
    assert bool(lost) == (fault in ("delay", "lose-reply", "fail-after-commit"))
