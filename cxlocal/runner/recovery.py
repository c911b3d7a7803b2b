"""What a command does first: end runs whose process is gone, and pay what is still owed."""

from __future__ import annotations

from cxlocal.config.load import read
from cxlocal.errors import CxError, Refused, Trouble
from cxlocal.hooks.manager import Manager, load
from cxlocal.journal.file import Journal
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import leftovers, orphans
from cxlocal.runner.debts import Debt, debts
from cxlocal.runner.driver import drive
from cxlocal.runner.record import RunRecord
from cxlocal.runner.source import Machine

DEBT_SECONDS = 60.0
"""For destroying one thing a dead run left behind."""

OWING = """
SELECT DISTINCT owed.run FROM owed LEFT JOIN process ON process.run = owed.run
WHERE owed.paid IS NULL AND owed.lifetime = 'per-run' AND process.run IS NULL
"""
STANDING = """
SELECT run.id AS run, environment.name, environment.instance FROM environment
JOIN run ON run.id = environment.created_by_run
LEFT JOIN process ON process.run = run.id
WHERE environment.lifetime = 'per-run' AND environment.deleted_at IS NULL
  AND environment.created_at IS NOT NULL AND run.finished_at IS NOT NULL AND process.run IS NULL
  AND run.node = ?
"""


def recover(journal: Journal, machine: Machine) -> list[str]:
    """End orphans and pay debts of runs that are over; the runs that were ended."""
    found = orphans.orphans(journal)
    for orphan in found:
        left = orphans.end_orphan(journal, orphan)
        machine.voice.warn(
            f"run {orphan.run[:8]} had been cut off ({orphan.command}); it is recorded as an error"
        )
        _tell_left(machine, left)
    left = leftovers.end_unlocked(journal.home, journal.clock)
    _tell_left(machine, left)
    if found or journal.one(OWING) is not None:
        pay_debts(journal, machine)
    return [orphan.run for orphan in found]


def _tell_left(machine: Machine, left: tuple[str, ...]) -> None:
    if left:
        machine.voice.warn(f"still running, and could not be ended: {', '.join(left)}")


def pay_debts(journal: Journal, machine: Machine) -> list[tuple[Debt, str]]:
    """Destroy what runs that are over left behind on this machine; what could not be, and why.

    Environments that had nothing to destroy are closed too.
    """
    unpaid: list[tuple[Debt, str]] = []
    for row in journal.query(OWING):
        unpaid += _pay_run(journal, machine, row["run"])
    still = {debt.instance for debt, _ in unpaid}
    for row in journal.query(STANDING, (journal.node,)):
        if row["instance"] not in still:
            _close_cut_off(machine, journal, row["run"], row["name"], row["instance"])
    return unpaid


def destroy_environment(
    journal: Journal, machine: Machine, deliverable: str, instance: str, reason: str
) -> list[tuple[Debt, str]]:
    """Take down a lasting environment on a person's word: everything tools made for it on this
    machine is destroyed, newest first. What could not be, and why; then it is not closed.

    Of what plain commands made there the processes on this machine are ended; the rest nobody can
    destroy: it is only recorded as gone. Raises Trouble for a process that cannot be ended, Refused
    where a tool made it on another machine, which alone has the handles.
    """
    owed = [
        debt
        for debt in debts(journal, lasting=True)
        if debt.deliverable == deliverable and debt.instance == instance
    ]
    unpaid: list[tuple[Debt, str]] = []
    for run in dict.fromkeys(debt.run for debt in owed):
        of_run = [debt for debt in owed if debt.run == run]
        unpaid += _pay_run(journal, machine, run, of_run, quietly=True)
    _tell_paid(machine, owed, unpaid)
    if unpaid:
        return unpaid
    if owed:
        _close(journal, owed[0].run, owed[0].environment, instance, reason)
    else:
        _close_unowed(journal, deliverable, instance, reason)
    return []


def _close_unowed(journal: Journal, deliverable: str, instance: str, reason: str) -> None:
    rows = journal.query(
        "SELECT d.environment, d.run, t.tool, t.host, d.deployed_at AS at FROM deployment d"
        " LEFT JOIN stage_run t ON t.id = d.stage_run WHERE d.deliverable = :d AND d.instance = :i"
        " UNION ALL SELECT name, created_by_run, tool, '', created_at FROM environment"
        " WHERE deliverable = :d AND instance = :i ORDER BY at DESC",
        {"d": deliverable, "i": instance},
    )
    elsewhere = [row for row in rows if row["tool"] not in (None, "", "command")]
    if elsewhere:
        tool, host = elsewhere[0]["tool"], elsewhere[0]["host"] or "another machine"
        raise Refused(
            f"{instance} was not made by this machine",
            why=f"{tool} made it on {host}, and only its journal has what it takes to destroy it",
            hint=f"cxlocal env destroy {instance}, on {host}",
            name="made-elsewhere",
        )
    if rows:
        _close(journal, rows[0]["run"], rows[0]["environment"], instance, reason)


def _close(journal: Journal, run: str, name: str, instance: str, reason: str) -> None:
    """Raises Trouble where something that runs there could not be ended."""
    from cxlocal.runner.environments import close_environment, still_running

    left = close_environment(RunRecord.attach(journal, run), name, instance, reason)
    if left:
        raise Trouble(
            f"{instance} could not be destroyed",
            why=still_running(left),
            hint=f"end that, then: cxlocal env destroy {instance}",
            name="not-destroyed",
        )


def _close_cut_off(machine: Machine, journal: Journal, run: str, name: str, instance: str) -> None:
    try:
        _close(journal, run, name, instance, "its run was cut off")
    except Trouble as problem:
        machine.voice.warn(f"{problem.what}: {problem.why}")


def _pay_run(
    journal: Journal,
    machine: Machine,
    run: str,
    owed: list[Debt] | None = None,
    *,
    quietly: bool = False,
) -> list[tuple[Debt, str]]:
    from cxlocal.runner.payer import Payer

    owed = debts(journal, run) if owed is None else owed
    try:
        record = RunRecord.attach(journal, run)
        manager = _manager(machine)
        payer = Payer(record, manager, machine.environ, {}, DEBT_SECONDS)
        with Supervisor(machine.clock) as supervisor:
            unpaid: list[tuple[Debt, str]] = drive(payer.pay(owed), supervisor)
    except CxError as problem:
        unpaid = [(debt, problem.what) for debt in owed]
    for debt, reason in unpaid:
        machine.voice.warn(
            f"{debt.instance}: {debt.tool} could not destroy what it created: {reason}"
        )
    if not quietly:
        _tell_paid(machine, owed, unpaid)
    return unpaid


def _tell_paid(machine: Machine, owed: list[Debt], unpaid: list[tuple[Debt, str]]) -> None:
    """Each deployment owes its deletion: four of them in one place are one thing to be told of."""
    left = [one for one, _ in unpaid]
    for instance, tool in dict.fromkeys((d.instance, d.tool) for d in owed if d not in left):
        machine.voice.note(f"destroyed what was left of {instance} ({tool})")


def _manager(machine: Machine) -> Manager:
    block = read(str(machine.root / "cx.toml")).plugins.block
    manager = load(machine.environ, block=block, no=machine.blocked, warn=machine.voice.warn)
    # The tool may be one of the project's own.
    manager.add_project(machine.root, machine.home)
    return manager
