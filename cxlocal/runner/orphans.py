"""Runs whose process is gone: ended by kill -9, a power cut or a reboot.

Every run notes its process here in the commit of its first event. A later command on the same machine sees
that the process is dead, ends what it left running, records the outcome *error*, and pays what it
owes. A row of another machine (a home folder on a network disk) or of another container is left
alone: whether its process lives cannot be known from here.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.domain import Outcome, path_part
from cxlocal.errors import CxError
from cxlocal.events.runs import run_finished
from cxlocal.journal.home import CHECKOUTS
from cxlocal.journal.rebuild import catch_up
from cxlocal.journal.whereabouts import machine_id
from cxlocal.runner import leftovers
from cxlocal.text import clean_text, parse_utc
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal, Transaction
    from cxlocal.runner.record import RunRecord

GONE = "the process of the run ended without a word (kill -9, a crash, a power cut or a reboot)"


SCRATCH = "scratch"
"""In the folder of a run: those of its tools."""


class Orphan(NamedTuple):
    """A run that nobody carries out any more."""

    run: str
    command: str


def here() -> str:
    """This machine, this boot and this pid namespace, as kept with a run."""
    from cxlocal.processes.identity import boot

    return f"{sha256(machine_id().encode()).hexdigest()[:12]} {boot()}"


def run_folder(home: Path, run: str) -> Path:
    """The folder of a run: checkout, scratch folders, the processes of its stages."""
    return home / CHECKOUTS / path_part(run)


def register(transaction: Transaction, run: str, command: str, *, pieces: bool = False) -> None:
    """Note that this process carries out ``run``, in the commit of the event that says so."""
    from cxlocal.processes.identity import own_identity

    own = own_identity()
    transaction.connection.execute(
        "INSERT OR REPLACE INTO process (run, pid, started, boot, command, pieces)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (run, own.pid, own.start, here(), clean_text(command), int(pieces)),
    )


def finish_run(
    record: RunRecord, outcome: Outcome, reason: str, *, seconds: float, stopped_before: str = ""
) -> None:
    """The run has ended and nobody carries it out any more: one commit, so that a row that is
    left behind always means a run that was cut off."""
    with record.journal.write() as transaction:
        transaction.append(
            run_finished(
                record.ref,
                outcome=outcome,
                reason=reason,
                version=record.version,
                seconds=seconds,
                stopped_before=stopped_before,
                turn=record.turn,
            )
        )
        transaction.connection.execute("DELETE FROM process WHERE run = ?", (record.run,))


def end_own(journal: Journal, outcome: Outcome, reason: str) -> list[str]:
    """Record the end of runs this process was carrying out and did not end: a signal may come
    between any two of its steps. Which runs these were."""
    with suppress(CxError):
        return _end_own(journal, outcome, reason)
    # A journal that takes nothing any more keeps the row, and the next command does this.
    return []


def _end_own(journal: Journal, outcome: Outcome, reason: str) -> list[str]:
    from cxlocal.runner.record import RunRecord

    journal.abandon()
    rows = journal.query(
        "SELECT run FROM process WHERE pid = ? AND boot = ? AND pieces = 0", (os.getpid(), here())
    )
    for row in rows:
        folder = run_folder(journal.home, row["run"])
        leftovers.end_left(leftovers.of_run(folder), journal.clock)
        record = RunRecord.attach(journal, row["run"])
        now = journal.clock.now_ms()
        started = _end_stages(record, now, outcome, reason)
        keep_as_failed(folder)
        finish_run(record, outcome, reason, seconds=max(0, now - started) / 1000)
    return [row["run"] for row in rows]


def orphans(journal: Journal) -> list[Orphan]:
    """Runs of this machine whose process is dead."""
    rows = journal.query(
        "SELECT run, pid, started, boot, command FROM process WHERE pieces = 0 ORDER BY rowid"
    )
    return [Orphan(row["run"], row["command"]) for row in rows if _is_dead(row)] if rows else []


def is_carried_out(journal: Journal, run: str) -> int:
    """The pid of the process that carries out ``run`` on this machine now; 0 for none."""
    row = journal.one("SELECT pid, started, boot FROM process WHERE run = ? AND pieces = 0", (run,))
    return 0 if row is None or _is_dead(row) else int(row["pid"])


def is_of_pieces(journal: Journal, run: str) -> bool:
    """Whether single commands began ``run`` on this machine, and nothing has ended it."""
    return journal.one("SELECT 1 FROM process WHERE run = ? AND pieces = 1", (run,)) is not None


def _is_dead(row: dict[str, object]) -> bool:
    from cxlocal.processes.identity import alive

    machine, _, boot = str(row["boot"]).partition(" ")
    own_machine, _, own_boot = here().partition(" ")
    if machine != own_machine:
        return False
    if not machine_id() and boot != own_boot:
        # Machines without an id look alike: this may be another one at work, not a reboot.
        return False
    if boot.partition(" ")[0] != own_boot.partition(" ")[0]:
        return True
    if boot != own_boot:
        return False
    pid = int(str(row["pid"]))
    return pid != os.getpid() and not alive(pid, str(row["started"]))


def keep_as_failed(folder: Path) -> None:
    """The checkout of a failed run is kept for people to look into, and goes when its turn comes. What tools wrote down
    for themselves may hold their secrets, and goes at once. Raises OSError."""
    if folder.is_dir():
        shutil.rmtree(folder / SCRATCH, ignore_errors=True)
        (folder / "failed").touch()


def end_orphan(journal: Journal, orphan: Orphan) -> tuple[str, ...]:
    """End what it left running, and record that the stages and the run ended in error; in words what
    could not be ended. Debts are paid by the caller."""
    from cxlocal.runner.record import RunRecord

    folder = run_folder(journal.home, orphan.run)
    left = leftovers.end_left(leftovers.of_run(folder), journal.clock)
    catch_up(journal)
    record = RunRecord.attach(journal, orphan.run)
    keep_as_failed(folder)
    now = journal.clock.now_ms()
    started = _end_stages(record, now, Outcome.ERROR, GONE, cut_off=True)
    reason = f"{GONE}; still running: {', '.join(left)}" if left else GONE
    finish_run(record, Outcome.ERROR, reason, seconds=max(0, now - started) / 1000)
    return left


def _end_stages(
    record: RunRecord, now: int, outcome: Outcome, reason: str, *, cut_off: bool = False
) -> int:
    """Record the end of the stages that were running; when the run began."""
    rows = record.journal.query(
        "SELECT id, stage, attempt, started_at FROM stage_run"
        " WHERE run = ? AND outcome IS NULL AND started_at IS NOT NULL",
        (record.run,),
    )
    for row in rows:
        record.stage_finished(
            record.plan.stage(row["stage"]),
            row["attempt"],
            outcome,
            reason,
            started_ms=parse_utc(row["started_at"]),
            finished_ms=now,
            cut_off=cut_off,
            stage_run=row["id"],
        )
    began = record.journal.one(
        "SELECT coalesce(started_at, queued_at) AS at FROM run WHERE id = ?", (record.run,)
    )
    return parse_utc(began["at"]) if began and began["at"] else now
