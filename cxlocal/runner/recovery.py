"""What a command does first: end runs whose process is gone, and take away what they left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cxlocal.config.load import read
from cxlocal.errors import CxError, Refused, Trouble
from cxlocal.hooks.manager import Manager, load
from cxlocal.journal.file import Journal
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import leftovers, orphans
from cxlocal.runner.driver import drive
from cxlocal.runner.record import RunRecord
from cxlocal.runner.resources import Made, is_own, standing, standing_in
from cxlocal.runner.source import Machine
from cxlocal.text import quoted

if TYPE_CHECKING:
    from cxlocal.runner.place_doors import PlaceDoors
    from cxlocal.runner.turns import Door

DUE_SECONDS = 60.0
"""For destroying one thing a dead run left behind."""

PER_RUN = "what is due of runs"
"""In the place of an environment: whoever takes away what runs left is alone with all of one deliverable."""
TAKES, REAPS = "takes away", "env reap"
"""What is done there, in words, and by whom."""

STANDING = """
SELECT run.id AS run, run.deliverable, environment.name, environment.instance FROM environment
JOIN run ON run.id = environment.created_by_run
LEFT JOIN process ON process.run = run.id
WHERE environment.lifetime = 'per-run' AND environment.deleted_at IS NULL
  AND environment.created_at IS NOT NULL AND run.finished_at IS NOT NULL AND process.run IS NULL
  AND run.node = ?
"""
IS_CLOSED = """
SELECT 1 FROM environment WHERE deliverable = ? AND instance = ? AND deleted_at IS NOT NULL
"""


def recover(journal: Journal, machine: Machine) -> list[str]:
    """End orphans and take away what runs of this machine that are over left; the runs that were ended."""
    found = orphans.orphans(journal)
    for orphan in found:
        left = orphans.end_orphan(journal, orphan)
        machine.voice.warn(
            f"run {orphan.run[:8]} had been cut off ({orphan.command}); it is recorded as an error"
        )
        _tell_left(machine, left)
    left = leftovers.end_unlocked(journal.home, journal.clock)
    _tell_left(machine, left)
    if found or any(is_own(journal, one) for one in due(journal) if one.lifetime == "per-run"):
        pay_due(journal, machine)
    return [orphan.run for orphan in found]


def _tell_left(machine: Machine, left: tuple[str, ...]) -> None:
    if left:
        machine.voice.warn(f"still running, and could not be ended: {', '.join(left)}")


def due(journal: Journal) -> list[Made]:
    """What was made for runs that are over, newest first: by whatever machine."""
    return [one for one in standing(journal) if one.due]


def pay_due(
    journal: Journal, machine: Machine, *, doors: PlaceDoors | None = None
) -> list[tuple[Made, str]]:
    """Take away what runs that are over left behind; what could not be, and why. With ``doors`` what
    other machines made, too, and what is due in lasting environments, to which they lead.

    Environments of this machine that had nothing to destroy are closed too.
    """
    unpaid: list[tuple[Made, str]] = []
    all_due = due(journal)
    owed = [
        one
        for one in all_due
        if one.lifetime == "per-run" and (doors is not None or is_own(journal, one))
    ]
    if doors is not None:
        lasting = [one for one in all_due if one.lifetime != "per-run"]
        for place in dict.fromkeys((one.deliverable, one.instance) for one in lasting):
            there = [one for one in lasting if (one.deliverable, one.instance) == place]
            unpaid += _pay_lasting(journal, machine, doors, there)
    for run in dict.fromkeys(one.run for one in owed):
        of_run = [one for one in owed if one.run == run]
        unpaid += _pay_of_run(journal, machine, of_run, quietly=doors is not None)
    still = {one.instance for one, _ in unpaid}
    # What other machines made keeps its environment open: they take it away, or 'env reap' does.
    tried = {one.id for one in owed}
    still |= {one.instance for one in all_due if one.id not in tried}
    others = [(one.run, one.deliverable, one.environment, one.instance) for one in owed]
    mine = [tuple(row.values()) for row in journal.query(STANDING, (journal.node,))]
    for run, deliverable, name, instance in dict.fromkeys([*mine, *others]):
        if instance not in still:
            _close_cut_off(machine, journal, run, deliverable, name, instance)
    return unpaid


def _pay_of_run(
    journal: Journal, machine: Machine, owed: list[Made], *, quietly: bool
) -> list[tuple[Made, str]]:
    """Take away what is still due of a run once nobody else is at it: another command may have taken it away since it
    was found to be due."""
    from cxlocal.runner import turns

    one = owed[0]
    try:
        with turns.alone_at(journal, one.deliverable, PER_RUN, REAPS, machine.voice.warn, TAKES):
            ids = {each.id for each in owed}
            still = [each for each in due(journal) if each.id in ids]
            return _pay_run(journal, machine, one.run, still, quietly=quietly)
    except Refused as busy:
        return _rest(busy, owed, due(journal))


def _pay_lasting(
    journal: Journal, machine: Machine, doors: PlaceDoors, there: list[Made]
) -> list[tuple[Made, str]]:
    """Take away what is still due of ``there``, things of one place, unless somebody changes the place: they may put it back. What gets
    traffic stays, as what was cut off before its cutover may have all of it; not so where the environment is gone."""
    from cxlocal.runner.placements import stands

    unpaid: list[tuple[Made, str]] = []
    name, place, ids = there[0].deliverable, there[0].instance, {one.id for one in there}
    try:
        with doors.at(name, place) as door:
            idle = stands(journal, name, place)
            for one in standing_in(journal, name, place):
                if one.due and one.id in ids:
                    unpaid += _pay_run(
                        journal, machine, one.run, [one], idle=idle, door=door, quietly=True
                    )
    except Refused as problem:
        unpaid += _rest(problem, there, due(journal), unpaid)
    return unpaid


def _rest(
    problem: CxError, asked: list[Made], there: list[Made], unpaid: Sequence[tuple[Made, str]] = ()
) -> list[tuple[Made, str]]:
    """What of ``asked`` is still ``there`` and has no reason of its own when a problem came between: that is its
    reason."""
    from cxlocal.runner.payer import words_of

    left = {one.id for one in there} - {one.id for one, _ in unpaid}
    return [(one, words_of(problem)) for one in asked if one.id in left]


def destroy_environment(
    journal: Journal,
    machine: Machine,
    deliverable: str,
    instance: str,
    reason: str,
    door: Door | None,
) -> list[tuple[Made, str]]:
    """Take down a lasting environment on a person's word, behind its ``door``: everything tools made for it, on
    whatever machine, is destroyed, newest first. What could not be, and why; then it is not closed.

    Of what plain commands made there the processes on this machine are ended; the rest nobody can
    destroy: then it is closed, and not destroyed. Raises Refused where somebody deploys there, Trouble for a
    process that cannot be ended.
    """
    owed = standing_in(journal, deliverable, instance)
    if unpaid := take_down(journal, machine, owed, door, whole=True):
        return unpaid
    if owed:
        _close(journal, owed[0].run, owed[0].environment, instance, reason)
    else:
        _close_unowed(journal, deliverable, instance, reason)
    return []


def take_down(
    journal: Journal, machine: Machine, owed: list[Made], door: Door | None, *, whole: bool = False
) -> list[tuple[Made, str]]:
    """Take some things away on a person's word, behind a ``door``; what could not be, and why. ``whole``: their
    environment goes with them. Raises Refused where somebody took the turn meanwhile."""
    unpaid: list[tuple[Made, str]] = []
    for run in dict.fromkeys(one.run for one in owed):
        of_run = [one for one in owed if one.run == run]
        unpaid += _pay_run(journal, machine, run, of_run, quietly=True, door=door, leaves=whole)
    _tell_paid(journal, machine, owed)
    return unpaid


def _close_unowed(journal: Journal, deliverable: str, instance: str, reason: str) -> None:
    from cxlocal.runner.place_doors import runs_there

    found = runs_there(journal, deliverable, instance)
    if found:
        name, run = found[0]
        _close(journal, run, name, instance, reason)


def _close(journal: Journal, run: str, name: str, instance: str, reason: str) -> None:
    """Raises Trouble where something that runs there could not be ended."""
    from cxlocal.runner.environments import close_environment, still_running

    left = close_environment(RunRecord.attach(journal, run), name, instance, reason)
    if left:
        raise Trouble(
            f"{instance} could not be destroyed",
            why=still_running(left),
            hint=f"end that, then: cxlocal env destroy {quoted(instance)}",
            name="not-destroyed",
        )


def _close_cut_off(
    machine: Machine, journal: Journal, run: str, deliverable: str, name: str, instance: str
) -> None:
    from cxlocal.runner import turns

    try:
        with turns.alone_at(journal, deliverable, PER_RUN, REAPS, machine.voice.warn):
            if journal.one(IS_CLOSED, (deliverable, instance)) is None:
                _close(journal, run, name, instance, "its run was cut off")
    except Refused:
        return  # Another command is at it.
    except Trouble as problem:
        machine.voice.warn(f"{problem.what}: {problem.why}")


def _pay_run(
    journal: Journal, machine: Machine, run: str, owed: list[Made], *, quietly: bool = False,
    idle: bool = False, door: Door | None = None, leaves: bool = False,
) -> list[tuple[Made, str]]:  # fmt: skip
    from cxlocal.runner.own_words import made_here

    own = [one for one in owed if made_here(journal, one)]
    unpaid = []
    for group in (own, [one for one in owed if one not in own]):
        if group:
            unpaid += _take_away(journal, machine, run, group, idle=idle, door=door, leaves=leaves)
    if not quietly:
        for one, reason in unpaid:
            machine.voice.warn(
                f"{one.instance}: {one.tool} could not destroy what it created: {reason}"
            )
        _tell_paid(journal, machine, owed)
    return unpaid


def _take_away(
    journal: Journal, machine: Machine, run: str, owed: list[Made], *, idle: bool,
    door: Door | None, leaves: bool,
) -> list[tuple[Made, str]]:  # fmt: skip
    from cxlocal.runner.lent_checkouts import LentCheckouts
    from cxlocal.runner.own_plan import require_plan_of_folder
    from cxlocal.runner.own_words import made_here
    from cxlocal.runner.payer import Payer, secrets_of, words_of

    try:
        record = RunRecord.attach(journal, run)
        if not made_here(journal, owed[0]):
            require_plan_of_folder(machine, record)
        manager = _manager(machine)
    except CxError as problem:
        return [(one, words_of(problem)) for one in owed]
    unpaid: list[tuple[Made, str]] = []
    try:
        with LentCheckouts(machine) as lent, Supervisor(machine.clock) as supervisor:
            payer = Payer(
                record, manager, machine.environ, partial(secrets_of, machine), DUE_SECONDS,
                checkout=lent.of, leaves=leaves or owed[0].lifetime == "per-run",
            )  # fmt: skip
            if door is not None:
                payer = payer._replace(turn=door.number, check=door.check)
            unpaid = drive(payer.pay(owed, idle=idle), supervisor)
    except Refused:
        raise
    except CxError as problem:
        rest = _rest(problem, owed, standing(journal), unpaid)
        if not rest:  # nothing has it for a reason
            machine.voice.warn(words_of(problem))
        unpaid += rest
    return unpaid


def _tell_paid(journal: Journal, machine: Machine, owed: list[Made]) -> None:
    """Each deployment owes its deletion: four of them in one place are one thing to be told of."""
    left = {one.id for one in standing(journal)}
    for instance, tool in dict.fromkeys((d.instance, d.tool) for d in owed if d.id not in left):
        machine.voice.note(f"destroyed what was left of {instance} ({tool})")


def _manager(machine: Machine) -> Manager:
    file = machine.root / "cx.toml"
    if not file.exists():
        return load(machine.environ, no=machine.blocked, warn=machine.voice.warn_once)
    block = read(str(file)).plugins.block
    manager = load(machine.environ, block=block, no=machine.blocked, warn=machine.voice.warn_once)
    # The tool may be one of the project's own.
    manager.add_project(machine.root, machine.home)
    return manager
