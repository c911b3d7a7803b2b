"""All stores hear one story and give the same answers, letter by letter.

The story is drawn: numbers asked for, reserves exchanged, chains pushed in pieces, twice, with gaps
and forks, feeds pulled whole and by deliverable, copies, recoveries, numbers nobody granted.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from bucket_kit import CREDENTIALS, Server
from comparing_kit import (
    LINEAGE,
    Opened,
    Teller,
    elsewhere,
    embedded,
    in_bucket,
    in_database,
    in_folder,
    served,
    served_from_database,
    side_by_side,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from postgresql_kit import Databases

from cxlocal.exchange.messages import decode, encode

KINDS: list[Callable[[Path], Opened]] = [embedded, elsewhere, served, in_folder]
NODES = [letter * 32 for letter in "abc"]
DELIVERABLES = st.sampled_from(["webshop", "tool", "ünicode/näme"])
LINES = st.sampled_from(["2.7", "3.0"])
TELLERS = st.sampled_from(NODES)
SMALL = st.integers(0, 12)
SELDOM = st.sampled_from([False] * 7 + [True])
"""What makes a store stop, or refuse: often enough to be met, seldom enough to get past it."""


pytestmark = pytest.mark.needs("pg_ctlcluster")


@pytest.fixture(scope="module", autouse=True)
def servers(seaweedfs: Server) -> Iterator[None]:
    """One database server and one of object storage for all stories."""
    Comparing.databases, Comparing.storage = Databases(), seaweedfs
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield
    Comparing.databases.close()


class Comparing(RuleBasedStateMachine):
    """One story."""

    databases: Databases
    storage: Server

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.stores = self.stack.enter_context(
            side_by_side(
                folder,
                [
                    *KINDS,
                    in_database(self.databases),
                    served_from_database(self.databases),
                    in_bucket(self.storage),
                ],
            )
        )
        self.tellers = {node: Teller(node) for node in NODES}
        self.nonces = 0
        self.generation = 0
        self.last: dict[str, Any] = {}
        self.recover_soon = False
        self.granted: dict[tuple[str, str], list[int]] = defaultdict(list)

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def made(self) -> None:
        """A store that is recovered before it is used takes the lineage it is told."""
        recovery = {"evidence": [], "margin": 1000, "generation": 0}
        self.say(NODES[0], recover=recovery)

    def say(self, node: str, contact: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
        """The one answer of all stores."""
        teller = self.tellers[node]
        told = teller.contact(**(contact or {}))
        message = {"protocol": 1, "contact": told, **parts}
        self.last = message
        answers = [
            (each.name, decode(each.store.exchange(encode(message), timeout=10)))
            for each in self.stores
        ]
        for name, answer in answers[1:]:
            assert answer == answers[0][1], f"{name} and {answers[0][0]} differ: {message}"
        answer = answers[0][1]
        if "refusal" not in answer:
            assert answer["store"]["lineage"] == LINEAGE
            self.generation = teller.generation = answer["store"]["generation"]
            teller.accepted()
            teller.count, teller.value = told["proposal"]["count"], told["proposal"]["value"]
        self.recover_soon = bool(answer.get("store", {}).get("stopped"))
        return answer

    @rule(node=TELLERS)
    @precondition(lambda self: self.recover_soon)
    def go_on(self, node: str) -> None:
        """Somebody recovers a store that has stopped."""
        self.recover(node, 5, 0)

    def wish(self, **rest: Any) -> dict[str, Any]:
        self.nonces += 1
        return {"kind": "online", "nonce": f"n{self.nonces}", "run": f"run-{self.nonces}", **rest}

    @rule(node=TELLERS, deliverable=DELIVERABLES, line=LINES, floor=SMALL, odd=SELDOM)
    def number(self, node: str, deliverable: str, line: str, floor: int, odd: bool) -> None:
        asked = {"deliverable": deliverable, "line": line}
        rest = {"above": floor, "first": floor // 2} if odd else {}
        answer = self.say(node, grant=[self.wish(**asked, **rest)])
        entry = answer.get("grant") and answer["grant"][0]["entry"]
        if entry:
            self.granted[deliverable, line].append(entry["lo"])

    @rule(node=TELLERS, deliverable=DELIVERABLES, line=LINES, size=st.integers(1, 4))
    def reserve(self, node: str, deliverable: str, line: str, size: int) -> None:
        asked = {"deliverable": deliverable, "line": line, "size": size, "ahead": 10}
        self.say(node, grant=[self.wish(kind="reserve", **asked), self.wish(**asked)])

    @rule(node=TELLERS, tagged=SMALL)
    def tagged(self, node: str, tagged: int) -> None:
        self.say(node, grant=[self.wish(deliverable="webshop", line="2.7", tagged=tagged)])

    @rule(node=TELLERS)
    def again(self, node: str) -> None:
        """The last message once more, as it was: its answer had been lost."""
        answers = [
            decode(each.store.exchange(encode(self.last), timeout=10)) for each in self.stores
        ]
        assert all(answer == answers[0] for answer in answers)

    @rule(node=TELLERS, deliverable=DELIVERABLES | st.none(), count=st.integers(1, 4))
    def happen(self, node: str, deliverable: str | None, count: int) -> None:
        for index in range(count):
            self.tellers[node].append(deliverable, f"{index}\t\x7f\N{SNOWMAN}")

    @rule(node=TELLERS, line=LINES, which=SMALL, older=SELDOM, odd=SELDOM)
    def use(self, node: str, line: str, which: int, older: bool, odd: bool) -> None:
        granted = self.granted["webshop", line]
        number = granted[which % len(granted)] if granted and not odd else which
        if not granted and not odd:
            return
        generation = self.generation - 1 if older else self.generation
        self.tellers[node].append("webshop", "used", (line, number, generation))

    @rule(node=TELLERS, at=SMALL)
    def fork(self, node: str, at: int) -> None:
        self.tellers[node].fork(at)

    @rule(node=TELLERS, carrier=TELLERS, first=SMALL, length=st.integers(1, 8))
    def push(self, node: str, carrier: str, first: int, length: int) -> None:
        chain = self.tellers[node].chain
        if chain:
            first %= len(chain)
            self.say(carrier, push=[self.tellers[node].batch(first, first + length)])

    @rule(node=TELLERS, deliverable=DELIVERABLES | st.none())
    def push_all(self, node: str, deliverable: str | None) -> None:
        self.tellers[node].append(deliverable, "news")
        self.say(node, push=[self.tellers[node].batch(0, 500)], grant=[], pull=self.asked(node))

    @rule(node=TELLERS, limit=st.integers(1, 20), whole=st.booleans())
    def pull(self, node: str, limit: int, whole: bool) -> None:
        answer = self.say(node, pull={**self.asked(node), "limit": limit, "whole": whole})
        if "refusal" in answer or not answer["pull"]["items"]:
            return
        last = answer["pull"]["items"][-1]["position"]
        if last == answer["store"]["head"]["position"]:
            self.tellers[node].cursor = answer["store"]["head"]

    @rule(node=TELLERS, wanted=st.lists(DELIVERABLES, max_size=2))
    def pull_some(self, node: str, wanted: list[str]) -> None:
        self.say(node, pull={**self.asked(node), "deliverables": wanted})

    @rule(node=TELLERS, position=SMALL)
    def pull_from_nowhere(self, node: str, position: int) -> None:
        """The cursor of the pull is not the one of the contact: it is answered, and proves nothing."""
        cursor = {"position": position, "hash": "7" * 64}
        self.say(node, pull={"cursor": cursor, "limit": 5})

    def asked(self, node: str) -> dict[str, Any]:
        return {"cursor": self.tellers[node].cursor, "limit": 500}

    @rule(node=TELLERS, count=SMALL, odd=SELDOM)
    def copy(self, node: str, count: int, odd: bool) -> None:
        """A token that is not the one the store has."""
        if odd:
            token = {"count": count, "value": "of a copy" if count else ""}
            proposal = {"count": count + 1, "value": "also of a copy"}
            self.say(node, contact={"token": token, "proposal": proposal})

    @rule(node=TELLERS, count=SMALL, odd=SELDOM)
    def propose_anything(self, node: str, count: int, odd: bool) -> None:
        if odd:
            self.say(node, contact={"proposal": {"count": count, "value": "x" * (count % 2)}})

    @rule(node=TELLERS, position=SMALL, odd=SELDOM)
    def remember_more(self, node: str, position: int, odd: bool) -> None:
        """A cursor this store never gave: it went back, as far as anybody can see."""
        if odd:
            self.say(node, contact={"cursor": {"position": position, "hash": "9" * 64}})

    @rule(node=TELLERS, margin=st.integers(1, 30), number=SMALL, odd=SELDOM)
    def recover_for_nothing(self, node: str, margin: int, number: int, odd: bool) -> None:
        if odd:
            self.recover(node, margin, number)

    def recover(self, node: str, margin: int, number: int) -> None:
        evidence = [["webshop", "2.7", number]]
        self.say(node, recover={"evidence": evidence, "margin": margin, "generation": 0})
        for teller in self.tellers.values():
            teller.cursor = {"position": 0, "hash": "0" * 64}

    @rule(node=TELLERS, text=st.binary(max_size=3000))
    def blob(self, node: str, text: bytes) -> None:
        from hashlib import sha256

        digest = sha256(text).hexdigest()
        for each in self.stores:
            each.store.put_blob(digest, text, timeout=10)
            assert each.store.get_blob(digest, timeout=10) == text
            assert each.store.missing_blobs([digest, "0" * 64], timeout=10) == ["0" * 64]


Comparing.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestComparing = Comparing.TestCase
TestComparing.pytestmark = [pytest.mark.timeout(150)]
