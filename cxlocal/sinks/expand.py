"""What comes next for a sink: the events of a chain, in order, as records with the place behind each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Event
from cxlocal.journal.file import Journal
from cxlocal.journal.logs import blob_here, log_here
from cxlocal.journal.read import node_events
from cxlocal.processes.log_times import read_times, times_path
from cxlocal.sinks.cursor import Position, chains_of_this_machine, head_of
from cxlocal.sinks.lines import Spot, lines_of
from cxlocal.sinks.records import (
    RunFacts,
    StageFacts,
    event_record,
    left_out,
    line_record,
    metric_records,
    ms_of,
    span_record,
    time_of,
)
from cxlocal.values import NamedTuple

PAGE_EVENTS = 100
CHUNK_BYTES = 65536
HANDED_MS = 10 * 60 * 1000
"""How long after its stage a log that is not at the store may still come."""
ODD = (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError)
"""What an event raises that no cxlocal wrote: its fields are others than its type says."""
LOGGED = (types.TASK_FINISHED, types.RUN_REPEATED)
"""Events that tell of a log."""

_RUN = """
SELECT r.*, (SELECT iif(count(*) = r.changes_total, min(c.committed_at), NULL) FROM run_change c
  WHERE c.run = r.id) AS oldest_at FROM run r WHERE r.id = ?
"""
_QUEUED = """
SELECT e.document ->> '$.customData.cxlocal.trace.traceparent' AS traceparent FROM event e
JOIN run_lookup r ON r.id = e.run JOIN type_lookup t ON t.id = e.type
WHERE r.name = ? AND t.name = ? LIMIT 1
"""


class Item(NamedTuple):
    """One step on the way through a chain."""

    record: Any
    """None where an event has nothing for this kind."""
    after: Position


class Expander:
    """Turns events into records of one kind. Call after ``catch_up``."""

    def __init__(self, journal: Journal, kind: str, deliverable: str) -> None:
        """``deliverable``: whose records; empty for all."""
        self._journal = journal
        self._kind = kind
        self._only = [deliverable] if deliverable else None
        self._runs: dict[str, RunFacts] = {}
        self._machines: dict[str, str] = {}
        self._own = chains_of_this_machine(journal)

    def items(self, node: str, position: Position) -> Iterator[Item]:
        """From ``position`` to the end of the chain. Ends early at a log that may still come."""
        head = head_of(self._journal.connection, node)
        while True:
            page = node_events(
                self._journal, node, position.sequence + 1, PAGE_EVENTS, 0, self._only,
                not self._only,
            )  # fmt: skip
            for event in page:
                try:
                    for item in self._of_event(event, position):
                        if item is None:
                            return
                        yield item
                except ODD:
                    pass  # it is what it is; what follows it is not kept waiting
                position = Position(event.sequence)
                yield Item(None, position)
            if len(page) < PAGE_EVENTS:
                break
        if head > position.sequence:
            yield Item(None, Position(head))

    def _of_event(self, event: Event, position: Position) -> Iterator[Item | None]:
        run = self._run(event.run or "")
        if run.kind not in ("", "release"):
            return  # what is tried out leaves this machine with nobody
        said = event.parsed()
        if self._kind == "logs":
            if event.type in LOGGED:
                yield from self._lines(event, said, run, position)
            return
        for index, record in enumerate(self._records(event, said, run)):
            if index >= position.spot.line:
                yield Item(record, position._replace(spot=Spot(index + 1)))

    def _records(self, event: Event, said: dict[str, Any], run: RunFacts) -> Iterator[Any]:
        if self._kind == "events":
            yield event_record(event, said)
        elif self._kind == "metrics":
            made = self._run(str(_custom(said).get("version_run") or run.id))
            stage = self._stage(str(said["subject"]["id"]))
            yield from metric_records(event, said, made, stage, self._machine(event.node))
        elif span := span_record(event, said, run, self._stage(str(said["subject"]["id"]))):
            yield span

    def _lines(
        self, event: Event, said: dict[str, Any], run: RunFacts, position: Position
    ) -> Iterator[Item | None]:
        log = _custom(said).get("log") or {}
        stage = self._stage(str(said["subject"]["id"]))
        if event.type == types.RUN_REPEATED:
            again = f"{run.id}/{_custom(said).get('stage')}/again-{event.sequence}"
            stage = StageFacts(again, str(_custom(said).get("stage")), started_ms=time_of(said))
        # Where a log lies says who wrote it; of others' logs only the bytes count.
        own = log.get("path") if event.node in self._own else ""
        path = log_here(self._journal.home, own, log.get("sha256"))
        if path is None and self._may_come(event):
            yield None
        if path is not None:
            for item in self._of_file(path, log, run, stage, position):
                yield item
                position = item.after
        lines = log.get("lines")
        known = max(0, lines - position.spot.line) if isinstance(lines, int) else None
        short = path is None or path.stat().st_size < (log.get("size") or 0)
        if log and short and known != 0:
            yield Item(left_out(run, stage, known, time_of(said)), position)

    def _of_file(
        self, path: Path, log: dict[str, Any], run: RunFacts, stage: StageFacts, position: Position
    ) -> Iterator[Item]:
        """The lines of a log, as far as its event tells of them."""
        beside = times_path(path)
        index = (
            beside if beside.is_file() else blob_here(self._journal.home, log.get("times_sha256"))
        )
        times = read_times(index or beside, path.stat().st_size)
        end = log.get("size")
        chunks = _chunks(path, position.spot.offset, end if isinstance(end, int) else None)
        for line in lines_of(chunks, position.spot):
            record = line_record(run, stage, line, times.at(line.begins))
            yield Item(record, position._replace(spot=line.after))

    def _may_come(self, event: Event) -> bool:
        """Whether the log of another machine may still be handed over: before its run has ended, and
        shortly after."""
        if event.node == self._journal.node:
            return False
        if self._journal.clock.now_ms() - time_of(event.parsed()) < HANDED_MS:
            return True
        row = self._journal.one(
            "SELECT finished_at, given_up_at FROM run WHERE id = ?", (event.run,)
        )
        return row is not None and not row["finished_at"] and not row["given_up_at"]

    def _run(self, run: str) -> RunFacts:
        if run not in self._runs:
            row = self._journal.one(_RUN, (run,)) or {}
            queued = self._journal.one(_QUEUED, (run, types.PIPELINE_QUEUED)) or {}
            self._runs[run] = RunFacts(
                run, row.get("deliverable") or "", row.get("version") or "",
                row.get("kind") or "", row.get("revision") or "", row.get("place_url") or "",
                ms_of(row.get("queued_at")), ms_of(row.get("started_at")),
                ms_of(row.get("oldest_at") or row.get("revision_at")),
                str(queued.get("traceparent") or ""),
            )  # fmt: skip
        return self._runs[run]

    def _stage(self, stage_run: str) -> StageFacts:
        row = self._journal.one("SELECT * FROM stage_run WHERE id = ?", (stage_run,)) or {}
        return StageFacts(
            stage_run, row.get("stage") or "", row.get("part") or "", row.get("attempt") or 0,
            row.get("kind") or "", row.get("environment") or "", row.get("host") or "",
            row.get("waiting_seconds"), ms_of(row.get("started_at")),
        )  # fmt: skip

    def _machine(self, node: str) -> str:
        if node not in self._machines:
            row = self._journal.one("SELECT host FROM machine WHERE node = ?", (node,)) or {}
            self._machines[node] = f"{row.get('host') or 'unknown'}-{node[:8]}"
        return self._machines[node]


def _custom(said: dict[str, Any]) -> dict[str, Any]:
    found = (said.get("customData") or {}).get("cxlocal")
    return found if isinstance(found, dict) else {}


def _chunks(path: Path, offset: int, end: int | None) -> Iterator[bytes]:
    """The bytes from ``offset`` up to ``end``; None: all there are."""
    left = sys.maxsize if end is None else max(0, end - offset)
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(min(CHUNK_BYTES, left)):
            left -= len(chunk)
            yield chunk
