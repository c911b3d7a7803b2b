"""Whatever a store answers: it is read, or it counts as a store that cannot be used. Never a crash,
never half of it taken in."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from numbers_kit import FaultyStore, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import CxError, Refused
from cxlocal.events.document import hash_of
from cxlocal.exchange import answers
from cxlocal.exchange.answers import Answer, Refusal, Stop, read_answer
from cxlocal.exchange.contact import as_error, talk
from cxlocal.exchange.messages import BadMessage, decode, encode, event_in
from cxlocal.exchange.reply import Reply, Wish, apply
from cxlocal.exchange.state import unsent
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal

Machine = Callable[..., Journal]
Changed = Callable[[dict[str, Any]], None]

ODD = (
    None, True, 5, -5, 2**70, 1.5, "", "x", "\ud800", "0" * 64, "g" * 64, [], [5], ["x", 1], {},
    {"name": 5}, {"position": 1},
)  # fmt: skip


class Telling:
    """A store whose answers are changed on the way."""

    def __init__(self, store: FaultyStore, change: Changed = lambda message: None) -> None:
        self.store = store
        self.url = store.url
        self.change = change
        self.said: dict[str, Any] = {}

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        self.said = decode(self.store.exchange(request, timeout=timeout))
        self.change(self.said)
        return encode(self.said)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a message."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, found in inner:
        yield (*path, key)
        if isinstance(found, (dict, list)):
            yield from places(found, (*path, key))


def put(message: dict[str, Any], path: tuple[Any, ...], value: Any) -> None:
    at: Any = message
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value


OWN = {"position": 1, "hash": "ab" * 32, "brought": ["c" * 32, 7]}


@pytest.mark.parametrize("key", [*OWN, "event", "later", 0, 1])
def test_items_of_what_was_brought_are_read_as_each_of_them_is(
    key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, where they are as they should be; else the careful way has the word."""

    def read(items: list[Any]) -> Any:
        try:
            return answers._pulled({"items": items})
        except (ValueError, TypeError, KeyError, CxError) as error:
            return type(error)

    asked = []
    for odd in (*ODD, 0, 1, "AB" * 32, "a\0b", ["", 1], ["x", 0], ["x", True], [1, "x"]):
        spoiled: dict[str, Any] = copy.deepcopy(OWN)
        put(spoiled, ("brought", key) if isinstance(key, int) else (key,), odd)
        asked += [[spoiled], [OWN, spoiled]]
    at_once = [read(items) for items in asked]
    assert len(answers._own_items([OWN, OWN])) == 2
    monkeypatch.setattr(answers, "_own_items", lambda values: ())
    assert at_once == [read(items) for items in asked]
    assert read([OWN, OWN]).items[1].brought == ("c" * 32, 7)


def full_answer(machine: Machine, store: FaultyStore) -> tuple[Journal, Reply, dict[str, Any]]:
    """An answer that holds everything an answer can, not yet taken in."""
    one, two = machine("one"), machine("two")
    obtain_number(two, store, request("r0"))
    synchronise(two, store)
    store.faults = ["lose-reply"]
    assert not synchronise(one, store, use_breaker=False).reached
    one.append(flag())
    telling = Telling(store)
    wishes = [
        Wish("online", "webshop", "2.7", "a" * 32, run="r1"),
        Wish("reserve", "webshop", "2.7", "b" * 32, size=3, ahead=10),
        Wish("online", "webshop", "2.7", "c" * 32, run="r2", first=10**16),
    ]
    reply = talk(one, telling, wishes=wishes)
    said = telling.said
    said["store"]["stopped"] = [{"deliverable": "", "cause": "c", "why": "w"}]
    kinds = {key for item in said["pull"]["items"] for key in item}
    assert {"event", "grant", "brought"} <= kinds
    assert [bool(each["entry"]) for each in said["grant"]] == [True, True, False]
    assert said["grant"][2]["refusal"] and said["push"]
    return one, reply, said


def flag() -> Any:
    from cxlocal.events.runs import run_flagged

    return run_flagged(kind="k", subject="s", text="t", deliverable="webshop", run=None)


class Undo(Exception):
    """Takes a transaction back."""


def hashes(journal: Journal) -> list[bytes]:
    return [row["hash"] for row in journal.query("SELECT hash FROM event ORDER BY id")]


def outcome(journal: Journal, reply: Reply, message: dict[str, Any]) -> str:
    """What becomes of an answer; any other exception fails the test."""
    try:
        answer = read_answer(message)
        if isinstance(answer, Refusal):
            return as_error(answer, "x").name
        with journal.write() as transaction:
            apply(transaction, reply._replace(answer=answer))
            unsent(journal.connection)
            raise Undo
    except BadMessage:
        return "unreadable"
    except StoreUnreachable:
        return "not believed"
    except Undo:
        return "taken in"


def test_p17_any_part_of_an_answer_may_be_odd_or_missing(
    machine: Machine, store: FaultyStore
) -> None:
    journal, reply, said = full_answer(machine, store)
    assert outcome(journal, reply, said) == "taken in"
    before = hashes(journal)
    seen = set()
    for path in list(places(said)):
        for value in ODD:
            odd = copy.deepcopy(said)
            put(odd, path, value)
            seen.add(outcome(journal, reply, odd))
        odd = copy.deepcopy(said)
        at: Any = odd
        for key in path[:-1]:
            at = at[key]
        del at[path[-1]]
        seen.add(outcome(journal, reply, odd))
    assert {"unreadable", "not believed", "taken in"} <= seen
    assert hashes(journal) == before
    assert synchronise(journal, store, use_breaker=False).pending == 0


def test_p15_events_that_are_odd_all_through(machine: Machine, store: FaultyStore) -> None:
    """Their hash is right, so only what they say can be looked at."""
    journal, reply, said = full_answer(machine, store)
    seen = set()
    index = next(n for n, item in enumerate(said["pull"]["items"]) if "event" in item)
    for name in said["pull"]["items"][index]["event"]:
        for value in ODD:
            odd = copy.deepcopy(said)
            event = odd["pull"]["items"][index]["event"]
            event[name] = value
            try:
                event["hash"] = hash_of(event_in(event)).hex()
            except BadMessage:
                continue
            seen.add(outcome(journal, reply, odd))
    assert "taken in" in seen, "none of them got past its hash"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("refusal",), "x"), (("refusal",), {"name": 5}), (("store", "stopped"), 5),
        (("store", "stopped"), [1]), (("pull",), 5), (("pull", "items"), 5),
        (("pull", "items"), [5]), (("push",), [5]), (("push",), [{"node": "a"}]),
        (("ack",), {"sequence": 0, "hash": "00" * 32}), (("grant",), [5]),
        (("grant",), [{"nonce": []}]), (("ack", "hash"), ""), (("ack", "sequence"), -1),
    ],
)  # fmt: skip
def test_p17_a_release_goes_on_past_an_answer_no_one_can_read(
    machine: Machine, store: FaultyStore, path: tuple[str, ...], value: Any
) -> None:
    laptop = machine()
    obtain_number(laptop, store, request("r0", ahead=100))
    synchronise(laptop, store)
    odd = Telling(store, lambda message: put(message, path, value))
    report = synchronise(laptop, odd, use_breaker=False)
    assert (report.reached, report.why[:26]) == (False, "the answer cannot be read:")
    assert obtain_number(laptop, odd, request("r1")).number == 100
    assert pending(laptop) > 0
    assert synchronise(laptop, store, use_breaker=False).pending == 0


def test_a_grant_that_was_changed_is_not_used(machine: Machine, store: FaultyStore) -> None:
    def higher(message: dict[str, Any]) -> None:
        for each in message["grant"]:
            if each["entry"] is not None:
                each["entry"]["lo"] = each["entry"]["hi"] = 7

    laptop = machine()
    obtain_number(laptop, store, request("r0", ahead=100))
    assert obtain_number(laptop, Telling(store, higher), request("r1")).number == 100


def test_what_is_read() -> None:
    ack = {"node": "n", "sequence": 0, "hash": "0" * 64}
    least = {"store": {"lineage": "l", "generation": 1}, "ack": ack, "push": [], "grant": []}
    answer = read_answer({**least, "refusal": None, "later": [1]})
    assert isinstance(answer, Answer)
    assert (answer.stopped, answer.pull.items, answer.ack.node) == ((), (), "n")
    stopped = {"lineage": "l", "generation": 1, "stopped": [{"cause": "moved", "later": 1}]}
    answer = read_answer({**least, "store": stopped})
    assert isinstance(answer, Answer)
    assert answer.stopped == (Stop("", "moved", ""),)


def test_what_a_refusal_says() -> None:
    data = {"what": 1, "name": 2, "line": "2.7"}
    refused = read_answer(
        {"refusal": {"name": "not-allowed", "cause": "c", "fix": "f", "data": data}}
    )
    assert isinstance(refused, Refusal)
    error: CxError = as_error(refused, "x")
    assert isinstance(error, Refused)
    assert (error.name, error.why, error.hint, error.data) == (
        "not-allowed",
        "c",
        "f",
        {"line": "2.7"},
    )
    bare = read_answer({"refusal": {}})
    assert isinstance(bare, Refusal)
    assert (bare.name, bare.cause) == ("refused", "the store gave no reason")
