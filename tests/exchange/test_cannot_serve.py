"""A no that is none to what was asked, and numbers nobody may hand out: as if the store were away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from numbers_kit import FaultyStore, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import CxError, ExitCode, StoreNeeded
from cxlocal.exchange.answers import ABOUT_THE_REQUEST
from cxlocal.exchange.messages import PROTOCOL, decode, encode, refusal
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.log import Entry, entry_hash

Machine = Callable[..., Journal]


class Liar:
    """A store whose answers are changed on the way."""

    def __init__(
        self, store: FaultyStore, change: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> None:
        self.inner, self.url, self.change = store, store.url, change

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        return encode(self.change(decode(self.inner.exchange(request, timeout=timeout))))


def saying(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda answer: {"protocol": PROTOCOL, "refusal": refusal(name, "because", "do that")}


@pytest.mark.parametrize(
    "name", ["unknown-protocol", "bad-message", "surprise", "too-long", "no-store-here", "bug", "\x1b[31m"]
)  # fmt: skip
def test_a_store_that_cannot_serve_us_ends_no_release(
    machine: Machine, store: FaultyStore, name: str
) -> None:
    journal = machine()
    assert obtain_number(journal, store, request("r0")).how == "online"
    liar = Liar(store, saying(name))
    assert obtain_number(journal, liar, request("r1")).how == "reserve"
    report = synchronise(journal, liar, use_breaker=False)
    assert not report.reached
    assert f"{name}: because" in report.why
    with pytest.raises(StoreNeeded, match="no version number") as caught:
        obtain_number(machine("another"), liar, request("r2"))
    assert f"{name}: because" in caught.value.why


@pytest.mark.parametrize("name", sorted(ABOUT_THE_REQUEST - {"copy", "not-signed-in"}))
def test_a_no_to_what_was_asked_holds(machine: Machine, store: FaultyStore, name: str) -> None:
    journal = machine()
    obtain_number(journal, store, request("r0"))
    liar = Liar(store, saying(name))
    if name in ("grants-stopped", "grants-elsewhere"):
        assert obtain_number(journal, liar, request("r1")).how == "reserve"
        return
    with pytest.raises(CxError) as caught:
        obtain_number(journal, liar, request("r1"))
    assert (caught.value.exit_code, caught.value.name) == (ExitCode.REFUSED, name)


def granting(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Online grants with some fields changed, and a hash that fits."""

    def change(answer: dict[str, Any]) -> dict[str, Any]:
        for grant in answer.get("grant") or []:
            told = grant.get("entry")
            if told is None or told["kind"] not in changes.get("kinds", ("online",)):
                continue
            told.update({name: value for name, value in changes.items() if name != "kinds"})
            entry = Entry(**{name: told[name] for name in Entry._fields})
            told["hash"] = entry_hash(
                answer["store"]["lineage"], told["deliverable"], told["line"], entry
            )
        return {**answer, "pull": {"items": [], "more": False}}

    return change


LIES: dict[str, dict[str, Any]] = {
    "a number that was used here": {"lo": 0, "hi": 0},
    "to another machine": {"node": "e" * 32},
    "for another run": {"run": "another"},
    "for another wish": {"nonce": "f" * 32},
    "more than one": {"hi": 10**6},
    "a reserve that is larger than was asked for": {"hi": 10**6, "kinds": ("reserve",)},
    "a reserve for another machine": {"node": "e" * 32, "kinds": ("reserve",)},
}


@pytest.mark.parametrize("kind", LIES)
def test_a_grant_that_nobody_asked_for_has_no_effect(
    machine: Machine, store: FaultyStore, kind: str
) -> None:
    """Nothing of such an answer counts, and the reserve is used."""
    journal = machine()
    assert obtain_number(journal, store, request("r0")).how == "online"
    held = journal.query("SELECT lo, hi, next FROM reserve")
    wider = "reserve" in LIES[kind].get("kinds", ())
    asked = request("r1", reserve=5) if wider else request("r1")
    assert obtain_number(journal, Liar(store, granting(**LIES[kind])), asked).how == "reserve"
    assert journal.query("SELECT lo, hi FROM reserve") == [
        {"lo": row["lo"], "hi": row["hi"]} for row in held
    ]
    assert journal.query("SELECT 1 FROM number_skip WHERE lo = 0") == []
    assert synchronise(journal, store, use_breaker=False).reached
    assert obtain_number(journal, store, request("r2")).how == "online"


def test_a_number_that_was_given_up_is_offered_once_more_and_no_longer(
    machine: Machine, store: FaultyStore
) -> None:
    journal = machine()
    for run in ("r0", "r1", "r2"):
        obtain_number(journal, store, request(run))
    with journal.write() as transaction:
        transaction.connection.execute(
            "INSERT INTO given_up SELECT deliverable, line, 90, 90, 'x' FROM spent LIMIT 1"
        )
    asked = len(store.requests)
    assert (
        obtain_number(journal, Liar(store, granting(lo=90, hi=90)), request("r3")).how == "reserve"
    )
    assert len(store.requests) - asked <= 3
