"""Taking events in: the usual way of a batch comes to what the careful one comes to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.stores import chains
from cxlocal_sync.stores.sqlite import SqliteStore
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxlocal.domain import Outcome
from cxlocal.events import runs
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import (
    NO_HASH,
    Draft,
    Event,
    build_document,
    encode_document,
    hash_of,
)
from cxlocal.events.runs import RunRef
from cxlocal.exchange import chain, receive
from cxlocal.exchange.messages import PROTOCOL, BadMessage, decode, encode, event_in, event_out

NODE = "a" * 32
OTHERS = mark_id("11111111-2222-4222-8222-111111111111", "another")
NAMES = (None, "shop", "bänk")


def said(name: str | None, number: int, odd: str) -> Draft:
    """One of what machines say."""
    if name is None:
        return runs.run_flagged(kind="note", subject=NODE, text=odd, deliverable=None, run=None)
    run = mark_id(f"{number:08x}-1111-4111-8111-111111111111", name)
    ref = RunRef(name, run, name, "urn:uuid:x")
    if number % 2:
        return runs.stage_started(ref, stage="unit", attempt=1, facts={"host": odd})
    return runs.stage_finished(
        ref, stage="unit", attempt=1, outcome=Outcome.SUCCESS, reason=odd, facts={}
    )


class History:
    """A chain of events, and the ends of its deliverables."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def going_on(self, wanted: list[tuple[str | None, str]], branch: int) -> list[Event]:
        """As many more, of these deliverables; ``branch`` tells two histories apart."""
        found = list(self.events)
        for name, odd in wanted:
            before = [one for one in found if name is not None and one.deliverable == name]
            place = None if name is None else len(before) + 1
            sequence = len(found) + 1
            draft = said(name, sequence, odd)
            document = build_document(
                draft, event_id=mark_id(f"{sequence:08x}-2222-4222-8222-{branch:012x}", name or "x")
                if name else f"{sequence:08x}-2222-4222-8222-{branch:012x}",
                source="urn:x", time_ms=1_795_400_000_000 + sequence,
            )  # fmt: skip
            event = Event(
                NODE, sequence, 0, draft.type, name, place, sequence,
                found[-1].hash if found else NO_HASH, before[-1].hash if before else NO_HASH, b"",
                encode_document(document), draft.run,
            )  # fmt: skip
            found.append(event._replace(hash=hash_of(event)))
        return found


@contextmanager
def with_care() -> Iterator[None]:
    """Each event looked at by itself, as if it were out of the ordinary."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chains, "events_in", lambda items: [event_in(one) for one in items])
        patch.setattr(receive, "is_plainly_true", lambda event: False)
        patch.setattr(chains, "place", place_slowly)
        patch.setattr(chains, "all_continue", lambda events, known: False)
        yield


def place_slowly(event: Event, known: chain.Known) -> int:
    """Where an event goes, by the words of ``place`` alone."""
    here = {value: branch for branch, value in known.get(event.sequence, [])}
    if event.hash in here:
        return chain.HELD
    before = [
        branch for branch, value in known.get(event.sequence - 1, []) if value == event.previous
    ]
    if event.sequence == 1:
        before = [0] if event.previous == NO_HASH else []
    free = [branch for branch in before if branch not in here.values()]
    return chain.GAP if not before else free[0] if free else chain.NEW_BRANCH


def odd_one(events: list[dict[str, Any]], place: int, how: str) -> None:
    """Spoil one event of a batch."""
    one = events[place % len(events)]
    if how == "document":
        one["document"] = one["document"].replace("unit", "unix")
    elif how == "foreign":
        one["document"] = one["document"].replace('"id":"', f'"id":"{OTHERS}/')
    elif how == "previous":
        one["previous_in_deliverable"] = "22" * 32
    elif how == "surrogate":
        one["document"] = one["document"][:-1] + ',"x":"\\ud800"}'
    elif how == "run":
        one["run"] = "a;b"
    elif how == "place" and one["deliverable_sequence"]:
        one["deliverable_sequence"] += 1
    elif how == "hash":
        one["hash"] = "33" * 32
    elif how == "left out":
        events.remove(one)
    if how not in ("hash", "left out"):
        try:
            one["hash"] = hash_of(event_in(one)).hex()
        except BadMessage:
            return  # what cannot be read has no hash either


pieces = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(["", "x" * 50, "ü", 'a "b"\\u0041', "\x1f"])),
    min_size=1, max_size=6,
)  # fmt: skip
steps = st.lists(
    st.tuples(
        st.integers(0, 2),  # which history
        pieces,
        st.integers(0, 8),  # from where on it is sent
        st.booleans(),  # in part
        st.none() | st.tuples(
            st.integers(0, 9),
            st.sampled_from([
                "document", "foreign", "previous", "surrogate", "run", "place", "hash", "left out",
            ]),
        ),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(steps)
@example([(0, [("shop", "")], 0, False, (0, "hash"))])
@example([(0, [("shop", "")] * 2, 0, False, (1, "place"))])
@example([(0, [("shop", "")] * 2, 0, False, (1, "previous"))])
@example([(0, [("shop", "")], 0, False, None), (1, [("shop", "")] * 3, 1, False, None)])
def test_both_ways_agree(steps: list[Any]) -> None:
    """Branches, gaps, what was sent before, what is changed, untrue, odd or left out."""
    with tempfile.TemporaryDirectory() as folder:
        stores = [SqliteStore(f"sqlite://{folder}/{name}.db", Path(folder)) for name in "ab"]
        lineages = [store.create() for store in stores]
        histories = [History([]) for _ in range(3)]
        count = 0
        for which, wanted, since, in_part, spoiled in steps:
            history = histories[which]
            history.events = history.going_on(wanted, which)
            items = [event_out(one) for one in history.events[since:]] or [
                event_out(history.events[-1])
            ]
            if spoiled is not None:
                odd_one(items, *spoiled)
            batch = {"events": items, "in_part": in_part}
            answers = []
            for store, lineage in zip(stores, lineages, strict=True):
                contact = {
                    "lineage": lineage, "node": "b" * 32,
                    "token": {"count": count, "value": f"t{count}" if count else ""},
                    "proposal": {"count": count + 1, "value": f"t{count + 1}"},
                }  # fmt: skip
                raw = encode({"protocol": PROTOCOL, "contact": contact, "push": [batch]})
                if store is stores[0]:
                    answers.append(decode(store.exchange(raw, timeout=20)))
                else:
                    with with_care():
                        answers.append(decode(store.exchange(raw, timeout=20)))
            told = [{**one, "store": None} for one in answers]
            assert told[0] == told[1]
            count += "refusal" not in told[0]  # else its token was not taken either
        kept = [
            store._connection.execute("SELECT * FROM event ORDER BY position").fetchall()  # type: ignore[union-attr]
            for store in stores
        ]
        assert kept[0] == kept[1]
        for store in stores:
            store.close()
