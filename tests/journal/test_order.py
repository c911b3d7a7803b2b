"""Order does not matter: any interleaving of the same events gives equal tables."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxlocal.clock import SystemIds
from cxlocal.domain import Outcome
from cxlocal.events import types
from cxlocal.events.document import Draft, Event, hash_of
from cxlocal.events.machines import version_reserved, version_skipped, version_used
from cxlocal.events.outputs import artifact_packaged, suite_finished, suite_started
from cxlocal.events.places import (
    Attempt,
    deployment_failed,
    deployment_refused,
    deployment_started,
    environment_created,
    environment_deleted,
    promotion_decided,
    service_deployed,
    service_removed,
)
from cxlocal.events.runs import (
    RunRef,
    run_finished,
    run_queued,
    run_reverified,
    run_started,
    stage_finished,
    stage_started,
)
from cxlocal.exchange.receive import take_event
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.rebuild import catch_up, rebuild
from cxlocal.journal.verify import verify
from cxlocal.projection.tables import TABLES

RUNS = ["run-a", "run-b", "run-c"]
ACTOR = {"id": "someone", "how": "test"}


class Ticking:
    """Each look is a millisecond later."""

    def __init__(self, start: int) -> None:
        self.ms = start

    def now_ms(self) -> int:
        self.ms += 1
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


def draft_of(choice: int, run: str, deliverable: str, extra: int) -> Draft:
    """One of every kind of event, over few keys so that they meet."""
    ref = RunRef(deliverable, run, deliverable, f"urn:uuid:{run}")
    environment = ["test", "production"][extra % 2]
    artifact = {"name": "wheel", "sha256": f"{extra:064d}", "purl": "pkg:generic/x@1"}
    tried = Attempt(
        deployment=f"d{extra}", kind="deploy", service=deliverable, environment=environment,
        instance=environment, version=f"1.{extra}", stage="s", stage_run=f"{run}/s/{extra % 2}",
        actor=ACTOR, reason=run, watched=bool(extra % 2),
    )  # fmt: skip
    made: list[Draft] = [
        run_queued(
            ref,
            {
                "kind": "release",
                "actor": ACTOR,
                "plan": f'{{"n":{extra}}}',
                "plan_sha256": sha256(f'{{"n":{extra}}}'.encode()).hexdigest(),
                "changes": {"total": 1, "listed": [{"commit": f"c{extra}", "subject": "s"}]},
            },
        ),
        run_started(ref, version=f"1.{extra}", line="1", number=extra, how="online"),
        run_finished(
            ref,
            outcome=list(Outcome)[extra % 4],
            reason=f"why {extra}",
            version="1",
            seconds=extra,
            stopped_before="",
            turn=extra % 3,
        ),
        run_reverified(ref, proof={}, agrees=bool(extra % 2)),
        stage_started(
            ref, stage="s", attempt=extra % 2, facts={"kind": "task", "host": str(extra)}
        ),
        stage_finished(
            ref,
            stage="s",
            attempt=extra % 2,
            outcome=Outcome.SUCCESS,
            reason="",
            facts={"seconds": extra},
        ),
        suite_started(ref, stage="s", attempt=0, suite="u", environment="", trigger="pipeline"),
        suite_finished(
            ref,
            stage="s",
            attempt=0,
            suite="u",
            environment="",
            outcome=Outcome.FAILURE,
            facts={"total": extra, "cases": [{"name": f"t{extra}", "outcome": "failed"}]},
            event_id="",
        ),
        artifact_packaged(
            ref,
            name="wheel",
            purl="pkg:generic/x@1",
            sha256=artifact["sha256"],
            size=extra,
            version="1",
            revision="c",
            repository="",
            stage="s",
            attempt=1,
            file_name="f",
            media_type="",
            locations=[f"/{extra}"],
        ),
        environment_created(
            ref,
            name=environment,
            instance=environment,
            lifetime="per-run" if run == "run-c" else "lasting",
            title=f"T{extra}",
            protected=True,
            uri="",
            spec_sha256="",
            tool="t",
            stage="s",
            turn=extra % 3,
        ),
        environment_deleted(
            ref,
            name=environment,
            instance=environment,
            tool="t",
            reason=str(extra),
            turn=extra % 2,
            replaces=[f"d{extra}"],
        ),
        deployment_started(ref, tried, replaces=[f"d{extra - 1}"]),
        deployment_failed(
            ref,
            deployment=f"d{extra}",
            outcome=list(Outcome)[extra % 4],
            cut_off=extra == 3,
            reason=run,
        ),
        deployment_refused(ref, tried, newer="2", why=run),
        service_deployed(
            ref,
            kind="deployed",
            event_id=f"d{extra}",
            service=deliverable,
            environment=environment,
            instance=environment,
            artifact=artifact,
            version=f"1.{run}",
            number=extra or None,
            version_run=RUNS[extra % 3],
            replaces=[f"d{extra - 1}"],
            uri="",
            stage_run="",
            actor=ACTOR,
            reason=str(run),
            details={},
        ),
        service_removed(
            ref,
            service=deliverable,
            environment=environment,
            instance=environment,
            deployments=[f"d{extra}"],
        ),
        promotion_decided(
            deliverable=deliverable,
            run=run,
            name="P",
            title="P",
            decision="granted",
            version="1",
            number=extra,
            digests={"wheel": str(extra)},
            automatic=True,
            actor=ACTOR,
            reason="",
            evidence=[],
            data_age_seconds=None,
            event_id=f"p{extra}",
        ),
        version_used(
            deliverable=deliverable,
            run=run,
            line="1",
            number=extra,
            scheme="semver",
            text=f"1.{extra}",
            sort_key=str(extra),
            how="online",
            lineage="L",
            generation=1,
            k=extra,
            actor=ACTOR,
        ),
        version_reserved(
            deliverable=deliverable,
            line="1",
            lo=extra,
            hi=extra + 2,
            lineage="L",
            generation=1,
            k=1,
        ),
        version_skipped(deliverable=deliverable, line="1", lo=extra, hi=extra, why=f"w{run}"),
        Draft("dev.cdevents.ticket.created.0.2.0", "t", {"summary": "x"}, {}, deliverable, run),
        Draft("dev.cdeventsx.cxlocal-future.thing.9.9.9", "t", {}, {"a": [1]}, None, None),
        Draft(types.TASK_STARTED, "broken", {}, {"stage": 5}, deliverable, run),
    ]
    return made[choice % len(made)]


steps = st.lists(
    st.tuples(
        st.integers(0, 22),
        st.sampled_from(RUNS),
        st.sampled_from(["shop", "Ünï/cö<d>e"]),
        st.integers(0, 4),
    ),
    min_size=1,
    max_size=14,
)


def _make_quick(journal: Journal) -> None:
    """Order is tried here, not power cuts: a busy disk must not decide how long it takes."""
    journal.connection.execute("PRAGMA synchronous=OFF")


def history(folder: Path, name: str, work: list[tuple[int, str, str, int]]) -> list[Event]:
    """What one machine records for the given steps."""
    journal = Journal.open(
        folder / name / "journal.db", clock=Ticking(1_795_400_000_000), ids=SystemIds()
    )
    with journal:
        _make_quick(journal)
        with journal.write() as transaction:
            for choice, run, deliverable, extra in work:
                transaction.append(draft_of(choice, run, deliverable, extra))
        return [event for _, event in all_events(journal)]


def forked(events: list[Event]) -> list[Event]:
    """A second history of the same node from the middle on, as a copied journal writes one."""
    middle = len(events) // 2
    again: list[Event] = []
    previous = events[middle - 1].hash
    for event in events[middle:]:
        document = event.document.replace('"timestamp":"2026', '"timestamp":"2025', 1)
        other = event._replace(
            document=document,
            previous=previous,
            deliverable=None,
            deliverable_sequence=None,
            previous_in_deliverable=bytes(32),
        )
        other = other._replace(hash=hash_of(other))
        again.append(other)
        previous = other.hash
    return again


def tables_after(folder: Path, name: str, batches: list[list[Event]]) -> dict[str, Any]:
    journal = Journal.open(
        folder / name / "journal.db", clock=Ticking(1_795_500_000_000), ids=SystemIds()
    )
    with journal:
        _make_quick(journal)
        for batch in batches:
            with journal.write() as transaction:
                for event in batch:
                    take_event(transaction, event, 1)
            catch_up(journal)
        found = {
            table: without_receipt(dump(journal.connection, table), journal, table)
            for table in TABLES
        }
        assert stored_places(journal) == places(journal)
        assert rebuild(journal) == journal.one("SELECT count(*) AS n FROM event")["n"]  # type: ignore[index]
        again = {
            table: without_receipt(dump(journal.connection, table), journal, table)
            for table in TABLES
        }
        assert again == found, "rebuild changes nothing"
        assert [f for f in verify(journal).findings if f.kind == "projection"] == []
    return found


def stored_places(journal: Journal) -> set[tuple[Any, ...]]:
    """The rows of the table of live places."""
    return {tuple(row.values()) for row in journal.query("SELECT * FROM live_place")}


def places(journal: Journal) -> set[tuple[Any, ...]]:
    """The same, found from all that was deployed and tried."""
    lifetimes = {
        (row["deliverable"], row["instance"]): row["lifetime"]
        for row in journal.query("SELECT * FROM environment")
    }
    disputed = journal.query("SELECT * FROM disputed WHERE what = 'deployment'")
    live: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in journal.query("SELECT * FROM deployment"):
        if row["deployed_at"] and not row["replaced"] and row["removed_at"] is None:
            live.setdefault(place_of(row), []).append(row)
    tried: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in journal.query("SELECT * FROM deployment_attempt"):
        if row["tried_at"] and not row["settled"] and row["outcome"] != "refused":
            tried.setdefault(place_of(row), []).append(row)
    found = set()
    # Where a part of the place is unknown, nothing is said to stand there.
    for place in {place for place in (*live, *tried) if None not in place}:
        lasting = int((lifetimes.get(place[:2]) or "lasting") == "lasting")
        for row in live.get(place, []):
            about = [one for one in disputed if one["subject"] == f'["{row["id"]}"]']
            other = {
                one[value]
                for one in about
                if one["field"] == "version"
                for value in ("one_value", "other_value")
            }
            for version in {row["version"], *other}:
                number = row["number"] if version == row["version"] else None
                found.add((*place, row["id"], version, row["version_run"], number, lasting, int(bool(about))))  # fmt: skip
        if place in tried:
            found.add((*place, "", "", "", None, lasting, 0))
    return found


def place_of(row: dict[str, Any]) -> tuple[str, ...]:
    return row["deliverable"], row["instance"], row["service"]


def dump(connection: sqlite3.Connection, table: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """All rows of a projected table by natural key; equal dumps mean equal tables."""
    keys = TABLES[table].key
    cursor = connection.execute(f"SELECT * FROM {table}")
    names = [column[0] for column in cursor.description]
    places = [names.index(key) for key in keys]
    return {tuple(row[place] for place in places): row for row in cursor.fetchall()}


def without_receipt(rows: dict[Any, Any], journal: Journal, table: str) -> dict[Any, Any]:
    """Rows without the time *this* journal got them, which differs between machines by nature."""
    names = [row["name"] for row in journal.query(f"SELECT name FROM pragma_table_info('{table}')")]
    return {
        key: tuple(v for v, name in zip(row, names, strict=True) if "received_at" not in name)
        for key, row in rows.items()
    }


@settings(max_examples=40, deadline=None)
@example(
    first=[(0, "run-a", "shop", 0), (11, "run-a", "shop", 0), (0, "run-a", "shop", 0)],
    second=[],
    seed=0,
    fork=True,
)
@given(first=steps, second=steps, seed=st.integers(0, 2**32), fork=st.booleans())
def test_any_interleaving_with_duplicates_and_branches_gives_equal_tables(
    first: list[Any], second: list[Any], seed: int, fork: bool
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chains = [history(folder, "one", first), history(folder, "two", second)]
        if fork and len(chains[0]) > 2:
            chains.append(forked(chains[0]))
        straight = tables_after(folder, "straight", chains)
        rng = random.Random(seed)
        mixed: list[list[Event]] = []
        # The fork can only connect once its root is there; everything else interleaves freely.
        queues = [list(chain) for chain in chains[:2]]
        while any(queues):
            queue = rng.choice([q for q in queues if q])
            mixed.append([queue.pop(0)])
            if rng.random() < 0.3:
                mixed.append(list(mixed[rng.randrange(len(mixed))]))
        for chain in chains[2:]:
            at = mixed.index([chains[0][len(chains[0]) // 2 - 1]]) + 1
            mixed[at:at] = [[event] for event in chain]
        assert tables_after(folder, "mixed", mixed) == straight
