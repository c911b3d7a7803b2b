"""Two histories of one machine: what they disagree about is disputed wherever both are known, whichever
came first; a person settles it, and the same values then stand everywhere."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemIds
from cxlocal.domain import Actor, Outcome
from cxlocal.events.document import NO_HASH, Draft, Event, hash_of
from cxlocal.events.machines import version_used
from cxlocal.events.outputs import artifact_packaged, suite_finished, suite_started
from cxlocal.events.places import promotion_decided, service_deployed
from cxlocal.events.runs import (
    RunRef,
    run_finished,
    run_flagged,
    run_queued,
    run_reverified,
    run_started,
    stage_finished,
    stage_started,
)
from cxlocal.exchange.receive import take_event
from cxlocal.exchange.settling import questions, settle
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up, rebuild
from cxlocal.journal.verify import verify
from cxlocal.projection.tables import TABLES

ACTOR = {"id": "Ada <ada@example.org>", "how": "git config"}
ADA = Actor(**ACTOR)
DIGEST = "ab" * 32


def release(
    run: str, number: int, outcome: Outcome = Outcome.FAILURE, attempt: int = 1
) -> list[Draft]:
    """What a machine records of a release."""
    ref = RunRef("shop", run, "shop", f"urn:uuid:{run}")
    version = f"1.{number}"
    return [
        run_queued(ref, {"kind": "release", "actor": ACTOR, "reason": "a fix"}),
        version_used(
            deliverable="shop", run=run, line="1", number=number, scheme="own", text=version,
            sort_key=f"{number:09d}", how="online", lineage="L", generation=1, k=number, actor=ACTOR,
        ),
        run_started(ref, version=version, line="1", number=number, how="online"),
        stage_started(ref, stage="unit", attempt=attempt, facts={"kind": "test"}),
        artifact_packaged(
            ref, name="wheel", purl="pkg:generic/x@1", sha256=DIGEST, size=1, version=version,
            revision="c", repository="", stage="unit", attempt=attempt, file_name="f", media_type="",
            locations=[],
        ),
        suite_started(ref, stage="unit", attempt=attempt, suite="u", environment="", trigger="pipeline"),
        suite_finished(
            ref, stage="unit", attempt=attempt, suite="u", environment="", outcome=outcome,
            facts={"total": 3, "failed": 1}, event_id="",
        ),
        stage_finished(
            ref, stage="unit", attempt=attempt, outcome=outcome, reason="1 of 3", facts={"seconds": 1}
        ),
        run_finished(
            ref, outcome=outcome, reason="1 of 3", version=version, seconds=1.0, stopped_before=""
        ),
        promotion_decided(
            deliverable="shop", run=run, name="TESTED", title="T", decision="denied", version=version,
            number=number, digests={"wheel": DIGEST}, automatic=False, actor=ACTOR, reason="no",
            evidence=[], data_age_seconds=None, event_id=f"decision-of-{run}",
        ),
        run_reverified(ref, proof={}, agrees=False),
        service_deployed(
            ref, kind="deployed", event_id=f"deployment-of-{run}", service="web",
            environment="production", instance="production", version=version, number=number,
            artifact={"name": "wheel", "purl": "pkg:generic/x@1", "sha256": DIGEST}, version_run=run,
            replaces=[], uri="", stage_run=f"{run}/unit/1", actor=ACTOR, reason="", details={},
        ),
    ]  # fmt: skip


class Ticking:
    def __init__(self) -> None:
        self.ms = 1_795_400_000_000

    def now_ms(self) -> int:
        self.ms += 1
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@pytest.fixture
def machine(tmp_path: Path) -> Any:
    """Opens the journal of a machine, new at every call."""
    opened: list[Journal] = []

    def make() -> Journal:
        path = tmp_path / str(len(opened)) / "journal.db"
        opened.append(Journal.open(path, clock=Ticking(), ids=SystemIds()))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


Machine = Callable[[], Journal]


def history(journal: Journal, *drafts: Draft) -> list[Event]:
    journal.append(*drafts)
    return [event for _, event in all_events(journal) if event.node == journal.node]


def linked(events: Sequence[Event], documents: Sequence[str]) -> list[Event]:
    """The same chain with other documents, every hash computed anew."""
    chain: list[Event] = []
    inside = NO_HASH
    for event, document in zip(events, documents, strict=True):
        previous = chain[-1].hash if chain else NO_HASH
        within = NO_HASH if event.deliverable is None else inside
        other = event._replace(document=document, previous=previous, previous_in_deliverable=within)
        chain.append(other._replace(hash=hash_of(other)))
        inside = inside if event.deliverable is None else chain[-1].hash
    return chain


def retold(events: Sequence[Event], *changes: tuple[str, str]) -> list[Event]:
    documents = [event.document for event in events]
    for old, new in changes:
        assert any(old in document for document in documents)
        documents = [document.replace(old, new) for document in documents]
    return linked(events, documents)


def told(journal: Journal, *histories: Sequence[Event], seed: int | None = None) -> Journal:
    """Give a journal histories one after another, or in any order that keeps each of them in its own."""
    order: list[Event] = []
    queues = [list(history) for history in histories]
    rng = random.Random(seed)
    while any(queues):
        full = [queue for queue in queues if queue]
        queue = full[0] if seed is None else rng.choice(full)
        order.append(queue.pop(0))
    for event in order:
        with journal.write() as transaction:
            take_event(transaction, event, None)
        if seed is None or rng.random() < 0.3:
            catch_up(journal)
    catch_up(journal)
    return journal


def tables(journal: Journal) -> dict[str, Any]:
    """All projected rows but what differs between machines by nature, and those of the reader itself."""
    found: dict[str, Any] = {}
    for table in TABLES:
        rows = journal.query(f"SELECT * FROM {table}")
        found[table] = sorted(
            repr({name: value for name, value in row.items() if name != "received_at"})
            for row in rows
            if row.get("node") != journal.node
        )
    return found


def disputed(journal: Journal) -> set[tuple[str, str]]:
    return {
        (row["what"], row["field"]) for row in journal.query("SELECT what, field FROM disputed")
    }


def flags(journal: Journal) -> list[str]:
    catch_up(journal)
    rows = journal.query("SELECT text FROM open_flags WHERE kind = 'two-histories'")
    return [row["text"] for row in rows]


REWRITTEN = {
    "outcome": ('"outcome":"failure"', '"outcome":"success"', ("run", "outcome")),
    "reason": ("1 of 3", "0 of 3", ("run", "outcome_reason")),
    "actor": ("ada@example.org", "bob@example.org", ("run", "actor")),
    "decision": ('"decision":"denied"', '"decision":"granted"', ("promotion", "decision")),
    "number": ('"number":1,', '"number":7,', ("version", "number")),
    "version": ('"version":"1.1"', '"version":"1.7"', ("deployment", "version")),
    "artifact": (DIGEST, "cd" * 32, ("artifact", "sha256")),
    "proof": ('"agrees":false', '"agrees":true', ("run", "reverified")),
    "counts": ('"failed":1', '"failed":0', ("report", "failed")),
    "machine": ('"platform":"', '"platform":"x', ("machine", "platform")),
}  # fmt: skip


@pytest.mark.parametrize("kind", REWRITTEN)
def test_what_was_rewritten_is_disputed_whichever_came_first(machine: Machine, kind: str) -> None:
    old, new, wanted = REWRITTEN[kind]
    first = history(machine(), *release("run-1", 1), *release("run-2", 2, Outcome.SUCCESS))
    second = retold(first, (old, new))
    one, other = told(machine(), first, second), told(machine(), second, first)
    assert tables(one) == tables(other)
    for journal in (one, other):
        assert wanted in disputed(journal)
        assert any("has two histories from position" in text for text in flags(journal))
        assert verify(journal).findings == []
        before = tables(journal)
        rebuild(journal)
        assert tables(journal) == before


@pytest.mark.parametrize("kind", ["outcome", "decision", "number", "artifact", "proof", "counts"])
def test_events_with_new_ids_are_compared_by_what_they_speak_of(
    machine: Machine, kind: str
) -> None:
    old, new, wanted = REWRITTEN[kind]
    first = history(machine(), *release("run-1", 1))
    documents = []
    for event in retold(first, (old, new)):
        document = event.parsed()
        document["context"]["id"] = f"again-{event.sequence}"
        documents.append(json.dumps(document))
    second = linked(first, documents)
    one, other = told(machine(), first, second), told(machine(), second, first)
    assert tables(one) == tables(other)
    assert wanted in disputed(one)
    if kind == "outcome":
        assert rows(one)["run"][0] == rows(one)["stage"][0] == "failure"


def test_a_deployment_that_was_rewritten_is_shown_both_ways(machine: Machine) -> None:
    first = history(machine(), *release("run-1", 1))
    journal = told(machine(), retold(first, ('"version":"1.1"', '"version":"1.7"')), first)
    live = journal.query("SELECT version, disputed FROM deployments_now ORDER BY version")
    assert live == [{"version": "1.1", "disputed": 1}, {"version": "1.7", "disputed": 1}]
    board = journal.query("SELECT DISTINCT state FROM release_board")
    assert board == [{"state": "disputed"}]


def rows(journal: Journal) -> dict[str, Any]:
    """What the tables say where it matters."""
    asked = {
        "run": "SELECT outcome, outcome_reason FROM run WHERE id = 'run-1'",
        "stage": "SELECT outcome FROM stage_run WHERE run = 'run-1'",
        "report": "SELECT outcome FROM report WHERE run = 'run-1'",
        "promotion": "SELECT decision FROM promotion WHERE run = 'run-1'",
        "proof": "SELECT reverified FROM run WHERE id = 'run-1'",
    }
    return {name: list((journal.one(sql) or {}).values()) for name, sql in asked.items()}


WORSE = {
    "run": ["failure", "1 of 3"], "stage": ["failure"], "report": ["failure"],
    "promotion": ["denied"], "proof": [0],
}  # fmt: skip
BETTER = {
    "run": ["success", "0 of 3"], "stage": ["success"], "report": ["success"],
    "promotion": ["granted"], "proof": [1],
}  # fmt: skip
CHANGES = (
    ('"outcome":"failure"', '"outcome":"success"'), ("1 of 3", "0 of 3"),
    ('"decision":"denied"', '"decision":"granted"'), ('"agrees":false', '"agrees":true'),
)  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep", [0, 1], ids=["the-first-is-kept", "the-second-is-kept"])
def test_the_worse_counts_until_a_person_names_one(machine: Machine, keep: int, seed: int) -> None:
    first = history(
        machine(), *release("run-1", 1), run_flagged(kind="note", subject="s", text="t")
    )
    second = retold(first, *CHANGES)
    reader = told(machine(), first, second, seed=seed)
    assert rows(reader) == WORSE
    (question,) = questions(reader)
    assert len(question.histories) == 2
    parts = [each.hash.hex()[:16] for each in (first, second)[keep]]
    (kept,) = [name for name in question.histories if name in parts]
    settle(reader, question.node[:8], kept, "the log of the server says so", ADA)
    assert rows(reader) == (WORSE, BETTER)[keep]
    assert disputed(reader) == set()
    assert flags(reader) == []
    word = [event for _, event in all_events(reader) if event.node == reader.node]
    # Wherever that word arrives before, between or after the histories, it comes to the same.
    for order in range(3):
        late = told(machine(), first, second, word, seed=10 * seed + order)
        assert rows(late) == rows(reader)
        assert flags(late) == []
        assert verify(late).findings == []
    said = reader.one("SELECT actor, reason FROM settlement") or {}
    assert said == {"actor": ADA.id, "reason": "the log of the server says so"}


def test_a_settled_history_that_goes_on_is_believed_from_there(machine: Machine) -> None:
    """The machine that was rewritten releases again, and takes the same run up again: that is no dispute."""
    first = history(machine(), *release("run-1", 1))
    second = retold(first, *CHANGES)
    reader = told(machine(), first, second)
    (question,) = questions(reader)
    (kept,) = [n for n in question.histories if n in {e.hash.hex()[:16] for e in first}]
    settle(reader, question.node, kept, "why", ADA)
    word = [event for _, event in all_events(reader) if event.node == reader.node]
    ref = RunRef("shop", "run-1", "shop", "urn:uuid:run-1")
    own = machine()
    later = history(
        own,
        run_finished(ref, outcome=Outcome.SUCCESS, reason="", version="1.1", seconds=1.0,
                     stopped_before="", turn=1),
    )  # fmt: skip
    goes_on = second[-1]._replace(
        document=later[-1].document, type=later[-1].type, sequence=second[-1].sequence + 1,
        deliverable_sequence=(second[-1].deliverable_sequence or 0) + 1, previous=second[-1].hash,
        previous_in_deliverable=second[-1].hash, clock=second[-1].clock + 1,
    )  # fmt: skip
    goes_on = goes_on._replace(hash=hash_of(goes_on))
    for order in range(4):
        journal = told(machine(), first, [*second, goes_on], word, seed=order)
        assert (journal.one("SELECT outcome FROM run WHERE id = 'run-1'") or {})[
            "outcome"
        ] == "success"
        assert flags(journal) == []
        assert rows(journal)["stage"] == ["failure"]


def test_copies_that_go_on_with_work_of_their_own_dispute_nothing(machine: Machine) -> None:
    """P9: nothing is to be settled, and so nothing is ever flagged."""
    origin = machine()
    before = history(origin, *release("run-0", 0, Outcome.SUCCESS))
    alone = [
        history(machine(), *release(f"run-{number}", number, outcome))[1:]
        for number, outcome in ((1, Outcome.SUCCESS), (2, Outcome.FAILURE))
    ]
    tails = []
    for events in alone:
        chain = [*before, *events]
        places = [
            event._replace(
                node=before[0].node, sequence=index,
                deliverable_sequence=None if event.deliverable is None else index - 1,
            )
            for index, event in enumerate(chain, 1)
        ]  # fmt: skip
        tails.append(linked(places, [event.document for event in chain]))
    one, other = told(machine(), *tails), told(machine(), *reversed(tails))
    assert tables(one) == tables(other)
    for journal in (one, other):
        assert flags(journal) == []
        assert disputed(journal) == set()
        assert questions(journal) == []
        outcomes = journal.query("SELECT id, outcome FROM run ORDER BY id")
        assert [row["outcome"] for row in outcomes] == ["success", "success", "failure"]


def test_a_history_that_stops_earlier_disputes_nothing(machine: Machine) -> None:
    """A backup that lacks the end of a run, and goes on with another one."""
    whole = history(machine(), *release("run-1", 1))
    aside = history(machine(), *release("run-2", 2))[1]
    cut = [*whole[:5], aside._replace(node=whole[0].node, sequence=6, deliverable_sequence=5)]
    cut = linked(cut, [event.document for event in cut])
    assert disputed(told(machine(), whole, cut)) == set()
    assert disputed(told(machine(), cut, whole)) == set()


@pytest.mark.parametrize("seed", range(3))
def test_three_histories_in_any_order(machine: Machine, seed: int) -> None:
    first = history(machine(), *release("run-1", 1), *release("run-2", 2))
    second = retold(first, *CHANGES)
    third = retold(first, ("a fix", "a feature"))
    straight = tables(told(machine(), first, second, third))
    orders = [first, second, third]
    random.Random(seed).shuffle(orders)
    assert tables(told(machine(), *orders, seed=seed)) == straight
    assert tables(told(machine(), *orders)) == straight


def test_own_events_of_a_disputed_run_are_judged_as_they_are_written(machine: Machine) -> None:
    """Nothing waits for a reader: the rows are the same as if they were made anew."""
    journal = machine()
    first = history(journal, *release("run-1", 1))
    told(journal, retold(first, *CHANGES))
    ref = RunRef("shop", "run-1", "shop", "urn:uuid:run-1")
    journal.append(
        run_finished(ref, outcome=Outcome.SUCCESS, reason="again", version="1.1", seconds=1.0,
                     stopped_before="", turn=1)
    )  # fmt: skip
    before = tables(journal)
    assert verify(journal).findings == []
    rebuild(journal)
    assert tables(journal) == before
