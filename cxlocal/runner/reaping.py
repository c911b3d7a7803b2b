"""What runs that are over left behind: which runs are over, also those that nobody can end, and taking it away.

A run is over when it has ended, when a later attempt of the same CI run began, or when it is given up: by
a person, or because nothing was heard of it for as long as its environment may live.
"""

from __future__ import annotations

from collections.abc import Sequence

from cxlocal.domain import Actor
from cxlocal.errors import Refused, UsageError
from cxlocal.events.resources import run_given_up
from cxlocal.journal.file import Journal
from cxlocal.runner import orphans, recovery
from cxlocal.runner.payer import machine_of
from cxlocal.runner.place_doors import PlaceDoors
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import Made, record_gone, standing
from cxlocal.runner.source import Machine
from cxlocal.text import duration_text, quoted
from cxlocal.values import NamedTuple

LAST_HEARD = """
SELECT max(e.time) AS at FROM event e JOIN run_lookup r ON r.id = e.run WHERE r.name = ?
"""
LIVE = """
SELECT version FROM deployments_now WHERE deliverable = ? AND instance = ? ORDER BY since DESC LIMIT 1
"""
CARRIED_OUT = "SELECT 1 FROM process WHERE run = ?"


class Reaped(NamedTuple):
    """What was left behind, and what became of it."""

    cut_off: tuple[str, ...]
    """Runs of this machine whose process had gone."""
    owed: tuple[Made, ...]
    """What was to be taken away."""
    unpaid: tuple[tuple[Made, str], ...]
    """What could not be, and why."""
    in_use: tuple[Made, ...]
    """What was made for runs of other machines that are not over, as far as is known here."""


def reap(journal: Journal, machine: Machine, doors: PlaceDoors | None) -> Reaped:
    """Take away what runs that are over left behind, whatever machine made it; without ``doors`` of lasting
    environments only look. Call after ``catch_up``."""
    cut_off = [orphan.run for orphan in orphans.orphans(journal)]
    made = [one for one in standing(journal) if one.lifetime == "per-run" or one.due]
    lapsed = _lapsed(journal, made)
    over = {*cut_off, *lapsed}
    owed = tuple(one for one in made if one.due or one.run in over)
    in_use = tuple(one for one in made if one not in owed and not _is_here(journal, one.run))
    if doors is None:
        return Reaped(tuple(cut_off), owed, (), in_use)
    for run, seconds in lapsed.items():
        _record(journal, run, "expired", f"nothing was heard of it for {duration_text(seconds)}")
    recovery.recover(journal, machine)
    known = {one.id for one in owed}
    # What was cut off in a lasting environment is due since its run was ended just now.
    owed += tuple(one for one in standing(journal) if one.due and one.id not in known)
    unpaid = recovery.pay_due(journal, machine, doors=doors)
    left = {row["id"] for row in journal.query("SELECT id FROM resource WHERE gone_how = 'left'")}
    for one in owed:
        if one.id in left:
            machine.voice.warn(f"{one.words} stands: {one.tool} has no destroy")
    owed = tuple(one for one in owed if one.id not in left)
    return Reaped(tuple(cut_off), owed, tuple(unpaid), in_use)


def untold(journal: Journal, run: str, found: Reaped) -> str:
    """Where a run that was given up can be looked after, if it left nothing that is known here: a machine that keeps
    its journal tells of what it makes when the run ends. Empty for a run of this journal."""
    row = journal.one("SELECT node FROM run WHERE id = ?", (run,))
    if row is None or row["node"] == journal.node or any(one.run == run for one in found.owed):
        return ""
    return (
        f"Of run {run[:8]} nothing is left that is known here. It was carried out on {machine_of(journal, row['node'])}:"
        " what it made and had not told the store yet, 'cxlocal env reap' takes away there."
    )


def next_there(journal: Journal, unpaid: Sequence[tuple[Made, str]]) -> str:
    """The deployment that takes back what is left in a lasting environment, to be said after a hint."""
    for one, _ in unpaid:
        if one.lifetime == "lasting":
            [live, *_] = journal.query(LIVE, (one.deliverable, one.instance)) or [
                {"version": "VERSION"}
            ]
            return f", or deploy there: cxlocal deploy {quoted(live['version'])} --to {quoted(one.instance)}"
    return ""


def give_up(journal: Journal, run: str, why: str, actor: Actor) -> None:
    """Say that nobody will end a run any more. Raises Refused where this machine carries it out."""
    pid = orphans.is_carried_out(journal, run)
    if pid:
        raise Refused(
            f"run {run[:8]} is still being carried out",
            why=f"by process {pid} on this machine",
            hint="end it with Ctrl-C there; what it made is taken away then",
            name="still-running",
        )
    _record(journal, run, "asked", why, actor)


def find_made(journal: Journal, resource: str) -> Made:
    """What exists under an id, or its beginning. Raises UsageError where that is not known."""
    found = [one for one in standing(journal) if len(resource) >= 4 and one.id.startswith(resource)]
    if len(found) != 1:
        raise UsageError(
            f"{resource!r} is the id of {'several things' if found else 'nothing'} that exists",
            why="as far as the journal here knows",
            hint='cxlocal sql "select * from resources_now" lists what exists',
            name="no-such-resource",
        )
    return found[0]


def forget(journal: Journal, resource: str, why: str) -> Made:
    """Say that nobody will ever take something away. Raises UsageError where it is not known, Refused where
    it serves."""
    one = find_made(journal, resource)
    if one.serves:
        raise Refused(
            f"{one.id[:8]} serves {one.component} in {one.instance}",
            why="what serves is not forgotten",
            hint=f"deploy something else into {one.instance}, or take that down: cxlocal env destroy"
            f" {quoted(one.instance)}",
            name="serves",
        )
    record = RunRecord.attach(journal, one.run)
    record_gone(record, [one.id], how="given up", why=why)
    return one


def _record(journal: Journal, run: str, how: str, why: str, actor: Actor | None = None) -> None:
    record = RunRecord.attach(journal, run)
    record.record(run_given_up(record.ref, how=how, why=why, actor=actor and actor._asdict()))


def _lapsed(journal: Journal, made: Sequence[Made]) -> dict[str, int]:
    """Runs of which nothing was heard for longer than what they made may live, by the clock of this
    machine, and that time in seconds. What this machine carries out is never among them."""
    found: dict[str, int] = {}
    for one in made:
        if one.due or one.run in found or _is_here(journal, one.run):
            continue
        (heard,) = journal.query(LAST_HEARD, (one.run,))
        at = heard["at"]
        if at is not None and at + one.expires_seconds * 1000 < journal.clock.now_ms():
            found[one.run] = one.expires_seconds
    return found


def _is_here(journal: Journal, run: str) -> bool:
    """Whether this machine began it and has not seen its end."""
    return journal.one(CARRIED_OUT, (run,)) is not None
