"""Logs that somebody else is to deliver: at the store by their digest, before this machine goes away or
because one machine delivers for all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cxlocal.errors import CxError
from cxlocal.events.document import Draft
from cxlocal.events.machines import node_handed
from cxlocal.exchange.blobs import carry, is_stored
from cxlocal.journal.blobs import blob_path, keep_file
from cxlocal.journal.logs import blob_here, log_here
from cxlocal.journal.read import node_events
from cxlocal.processes.log_times import times_path
from cxlocal.sinks.chosen import BY_ANOTHER, Target
from cxlocal.sinks.cursor import handed_key, load_cursor, nodes_of
from cxlocal.sinks.expand import LOGGED, PAGE_EVENTS
from cxlocal.text import is_hexadecimal
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal

FETCHED = "sinks fetched"
"""Local value: the digests of logs of others that lie among the blobs here (JSON)."""
FETCHED_MAX = 200
"""Logs fetched for one delivery; the next one fetches the next."""


class Awaited(NamedTuple):
    """A log that a sink has not got all of."""

    run: str
    stage: str
    path: str
    sha256: str
    times_sha256: str
    size: int


class _Bytes(NamedTuple):
    sha256: str
    executable: bool = False


def awaited(journal: Journal, target: Target, since_ms: int, *, own: bool) -> Iterator[Awaited]:
    """The logs of releases that ``target`` lacks: of this machine's ``own`` chains, or of those of
    others. Call after ``catch_up``."""
    if target.kind != "logs":
        return
    ours = nodes_of(journal, target._replace(all_nodes=False))
    nodes = ours if own else [one for one in nodes_of(journal, target) if one not in ours]
    only = [target.deliverable] if target.deliverable else None
    for node in nodes:
        after = load_cursor(journal, target, node, since_ms).position.sequence
        while page := node_events(journal, node, after + 1, PAGE_EVENTS, 0, only, not only):
            after = page[-1].sequence
            for event in page:
                if event.type in LOGGED and _is_release(journal, event.run):
                    yield from _told(event.run or "", event.parsed())
            if len(page) < PAGE_EVENTS:
                break


def _is_release(journal: Journal, run: str | None) -> bool:
    row = journal.one("SELECT kind FROM run WHERE id = ?", (run,))
    return row is None or row["kind"] in (None, "release")


def _told(run: str, said: dict[str, Any]) -> Iterator[Awaited]:
    custom = (said.get("customData") or {}).get("cxlocal") or {}
    log = custom.get("log") or {}
    digest, times = str(log.get("sha256") or ""), str(log.get("times_sha256") or "")
    if is_hexadecimal(digest, 64) and log.get("size"):
        good = times if is_hexadecimal(times, 64) else ""
        stage, size = str(custom.get("stage") or ""), log["size"]
        yield Awaited(run, stage, str(log.get("path") or ""), digest, good, size)


def hand_over(
    journal: Journal, store: Store, targets: Sequence[Target], since_ms: int, seconds: float,
    *, leaving: bool,
) -> None:  # fmt: skip
    """Bring to the store what another machine is to deliver, for so many seconds. ``leaving``: this
    machine goes away, so that is all that no sink has."""
    deadline = journal.clock.monotonic() + seconds
    for one in left_behind(journal, targets, since_ms, leaving=leaving):
        left = deadline - journal.clock.monotonic()
        if left <= 0:
            break
        _send(journal, store, one, left)


def left_behind(
    journal: Journal, targets: Sequence[Target], since_ms: int, *, leaving: bool
) -> list[Awaited]:
    """The logs that another machine is to deliver and the store has not got."""
    wanted = {
        one.sha256: one
        for target in targets
        if target.idle == BY_ANOTHER or (leaving and not target.idle and not target.all_nodes)
        for one in awaited(journal, target, since_ms, own=True)
        if not is_stored(journal, one.sha256)
    }
    return list(wanted.values())


def _send(journal: Journal, store: Store, one: Awaited, seconds: float) -> None:
    """The log and its index. They lie among the blobs while they are sent, and where they lay after."""
    path = log_here(journal.home, one.path, one.sha256)
    if path is None:
        return
    for digest, source in ((one.times_sha256, times_path(path)), (one.sha256, path)):
        if not digest or not source.is_file():
            continue
        before = blob_here(journal.home, digest)
        try:
            if before is None and keep_file(journal.home, source, private=True)[0] != digest:
                continue  # it is not what was recorded
            carry(journal, store, [_Bytes(digest)], seconds, fetch=False)
        except CxError:
            continue  # a full disk here, a refusal there: said as what is left
        finally:
            if before is None:
                blob_path(journal.home, digest).unlink(missing_ok=True)


def fetch_logs(
    journal: Journal, store: Store, targets: Sequence[Target], since_ms: int, seconds: float
) -> None:
    """Have the logs of others that this machine delivers next, until ``drop_fetched``."""
    wanted: dict[str, _Bytes] = {}
    for target in targets:
        if not target.all_nodes or target.idle:
            continue
        for one in awaited(journal, target, since_ms, own=False):
            if len(wanted) >= FETCHED_MAX:
                break
            if log_here(journal.home, one.path, one.sha256) is None:
                lacking = [each for each in (one.sha256, one.times_sha256) if each]
                wanted |= {
                    each: _Bytes(each) for each in lacking if blob_here(journal.home, each) is None
                }
    if wanted:
        known = json.loads(journal.value(FETCHED) or "[]")
        with (
            journal.write() as transaction
        ):  # before it is done: nothing stays that nobody knows of
            transaction.set_value(FETCHED, json.dumps(sorted({*known, *wanted})))
        carry(journal, store, list(wanted.values()), seconds)


def drop_fetched(journal: Journal) -> None:
    """Let go of the logs of others that were fetched: they are where they belong."""
    known = json.loads(journal.value(FETCHED) or "[]")
    if known:
        for digest in known:
            blob_path(journal.home, digest).unlink(missing_ok=True)
        with journal.write() as transaction:
            transaction.set_value(FETCHED, "[]")


def handed_draft(journal: Journal, targets: Sequence[Target], since_ms: int) -> Draft:
    """How far a machine that goes away has delivered itself: whoever delivers for all goes on there."""
    told = []
    for target in targets:
        if target.idle or target.all_nodes:
            continue
        place = load_cursor(journal, target, journal.node, since_ms).position
        told.append(
            {
                "sink": handed_key(target), "kind": target.kind, "sequence": place.sequence,
                "line": place.spot.line, "piece": place.spot.piece, "offset": place.spot.offset,
            }
        )  # fmt: skip
    return node_handed(node=journal.node, sinks=told)


def words_of_logs(left: Sequence[Awaited]) -> str:
    """Which logs they are."""
    names = sorted({f"{one.stage} of run {one.run[:8]}" for one in left})
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
