"""One sink asked until nothing is left or its time is up; how far it is, is kept after each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from cxlocal.exchange.state import store_state
from cxlocal.exchange.sync import pending
from cxlocal.hooks.sink import Later, MetricRecord, NotTaken, Sink
from cxlocal.sinks.chosen import Target
from cxlocal.sinks.cursor import Cursor, Position, load_cursor, nodes_of, note_given, save_cursor
from cxlocal.sinks.expand import Expander, Item
from cxlocal.sinks.records import series_of
from cxlocal.sinks.words import Words
from cxlocal.text import parse_utc, utc_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

BATCH_RECORDS = 500
BATCH_BYTES = 512 * 1024
"""Receivers take more; what is cut off is sent again as a whole."""
_OVERHEAD_BYTES = 200

Ask = Callable[[Sequence[Any]], tuple[int, str, str]]


class Told(NamedTuple):
    """How the delivery to one sink went."""

    sent: int = 0
    refused: int = 0
    why: str = ""
    """Why something is left; empty when nothing is."""


def push(
    journal: Journal, target: Target, sink: Sink, *, deadline: float, since_ms: int,
    words: Words,
) -> Told:  # fmt: skip
    """Deliver until ``deadline`` (monotonic seconds). ``words``: what the sink says, as it may be shown
    and kept. Raises Trouble where the journal cannot be written; what the sink does wrong is in the answer."""
    told = Told()

    def ask(records: Sequence[Any]) -> tuple[int, str, str]:
        taken, refusal, later = _ask(sink, records)
        return taken, words(refusal), words(later)

    expander = Expander(journal, target.kind, target.deliverable)
    for node in nodes_of(journal, target):
        told = _push_chain(journal, target, ask, expander, node, deadline, since_ms, told)
        if told.why:
            return told
    if target.kind == "metrics":
        return _push_state(journal, target, ask, told)
    return told


def _push_chain(
    journal: Journal, target: Target, ask: Ask, expander: Expander, node: str,
    deadline: float, since_ms: int, told: Told,
) -> Told:  # fmt: skip
    cursor = load_cursor(journal, target, node, since_ms)
    items = expander.items(node, cursor.position)
    while batch := _batch(items, cursor):
        records = [item.record for item in batch if item.record is not None]
        if records and journal.clock.monotonic() >= deadline:
            return told._replace(why="the time for it was used up")
        if records and target.kind == "logs":
            note_given(journal, target, node, _event_of(batch[-1]))
        taken, refusal, later = ask(records)
        passed = _passed(batch, taken + bool(refusal))
        if passed:
            now = utc_text(journal.clock.now_ms())
            cursor = _moved(cursor, passed, taken, refusal, now)
            save_cursor(journal, target, node, cursor)
        told = told._replace(sent=told.sent + taken, refused=told.refused + bool(refusal))
        if later:
            return told._replace(why=later)
        if len(passed) < len(batch):
            items = expander.items(node, cursor.position)
    return told


def _batch(items: Iterator[Item], cursor: Cursor) -> list[Item]:
    """The next items, with totals put in. It ends with an event where it can."""
    batch: list[Item] = []
    size = count = 0
    totals = dict(cursor.totals)
    for item in items:
        record = item.record
        if isinstance(record, MetricRecord) and record.counts:
            if _event_of(item) > cursor.counted:
                series = series_of(record)
                totals[series] = totals.get(series, 0) + 1
            item = item._replace(
                record=msgspec.structs.replace(record, value=totals.get(series_of(record), 1))
            )
        batch.append(item)
        if record is not None:
            count += 1
            size += _OVERHEAD_BYTES + len(getattr(record, "text", getattr(record, "document", "")))
        if count >= BATCH_RECORDS or size >= BATCH_BYTES or len(batch) >= 4 * BATCH_RECORDS:
            break
    # What only says that an event is over goes with the event.
    return batch + list(islice(items, 1)) if batch and batch[-1].record is not None else batch


def _event_of(item: Item) -> int:
    """The event of a record: the one after the last that is taken whole."""
    return item.after.sequence + 1


def _ask(sink: Sink, records: Sequence[Any]) -> tuple[int, str, str]:
    """How many were taken, why the one behind them is refused for good, why the rest must wait."""
    if not records:
        return 0, "", ""
    try:
        taken = sink.deliver(records)
    except Later as problem:
        return 0, "", str(problem) or "it takes nothing just now"
    except NotTaken as problem:
        return 0, str(problem) or "it gave no reason", ""
    except OSError as problem:
        return 0, "", f"{problem.strerror or problem}"
    except Exception as problem:  # noqa: BLE001  (whatever a plugin does is told, not raised)
        return 0, "", f"{type(problem).__name__}: {problem}"
    if type(taken) is not int or not 0 <= taken <= len(records):
        return 0, "", f"it said that it took {taken!r} of {len(records)} records"
    return taken, "", "" if taken else "it took nothing"


def _passed(batch: Sequence[Item], taken: int) -> list[Item]:
    """The items up to the last record that is done with, and what stands behind it without a record."""
    done = 0
    for index, item in enumerate(batch):
        if item.record is not None:
            if done == taken:
                return list(batch[:index])
            done += 1
    return list(batch)


def _moved(cursor: Cursor, passed: Sequence[Item], taken: int, refusal: str, now: str) -> Cursor:
    after: Position = passed[-1].after
    totals, counted = dict(cursor.totals), cursor.counted
    for item in passed:
        record = item.record
        if isinstance(record, MetricRecord) and record.counts and _event_of(item) > counted:
            totals[series_of(record)] = record.value
            counted = _event_of(item)
    return cursor._replace(
        position=after, totals=totals, counted=counted,
        sent=cursor.sent + taken, refused=cursor.refused + bool(refusal),
        why=refusal or cursor.why, at=now if taken else cursor.at,
    )  # fmt: skip


def _push_state(journal: Journal, target: Target, ask: Ask, told: Told) -> Told:
    """The figures of how this machine stands now: they have no place in its history."""
    taken, refusal, later = ask(state_records(journal, target.deliverable))
    return told._replace(
        sent=told.sent + taken, refused=told.refused + bool(refusal), why=later or told.why
    )


_RESERVES = """
SELECT deliverable, line, hi - next + 1 AS left FROM reserve
WHERE :deliverable IN ('', deliverable) AND next <= hi ORDER BY deliverable, line
"""
_MET = "SELECT max(at) AS at FROM ack_step WHERE node = ? AND generation = ?"


def state_records(journal: Journal, deliverable: str) -> list[MetricRecord]:
    """What this machine holds and what waits on it, as of now."""
    now = journal.clock.now_ms()
    node = journal.node
    row = journal.one("SELECT host FROM machine WHERE node = ?", (node,)) or {}
    machine = f"{row.get('host') or 'unknown'}-{node[:8]}"

    def one(name: str, unit: str, value: float, **labels: str) -> MetricRecord:
        return MetricRecord(
            id=f"{machine}/{name}/{now}", at_ms=now, name=name, unit=unit, value=value,
            labels=labels, machine=machine,
        )  # fmt: skip

    found = [one("cxlocal.events.unsynced", "{event}", pending(journal))]
    for held in journal.query(_RESERVES, {"deliverable": deliverable}):
        labels = {"deliverable": held["deliverable"], "line": held["line"]}
        found.append(one("cxlocal.reserve.left", "{number}", held["left"], **labels))
    generation = store_state(journal.connection).generation
    met = journal.one(_MET, (node, generation)) or {}
    if met.get("at"):
        age = max(0, now - parse_utc(met["at"])) / 1000
        found.append(one("cxlocal.store.contact_age", "s", age))
    return found
