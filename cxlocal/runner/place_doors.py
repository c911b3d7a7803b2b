"""The door of a lasting environment for commands that change it beside a deployment: the one that deployments pass.

Whatever takes something away there, or says what became of it, has the environment to itself meanwhile: on this
machine by its lock, and through a shared store by a turn. While the store is away it goes on and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cxlocal.errors import CxError, Refused
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.record import RunRecord
from cxlocal.runner.turns import Door, Turns, enter

RUNS_THERE = """
SELECT environment, run, deployed_at AS at FROM deployment WHERE deliverable = :d AND instance = :i
UNION ALL SELECT name, created_by_run, created_at FROM environment WHERE deliverable = :d AND instance = :i
UNION ALL SELECT environment, run, intended_at FROM resource WHERE deliverable = :d AND instance = :i
ORDER BY at DESC
"""
PER_RUN = """
SELECT 1 FROM environment WHERE deliverable = ? AND instance = ? AND lifetime = 'per-run'
"""


class PlaceDoors:
    """How one command comes into environments, one after another."""

    def __init__(
        self, journal: Journal, turns: Turns | None, who: str, warn: Callable[[str], None]
    ) -> None:
        """``turns``: None where no other machine can be asked. ``who`` is told to those who wait."""
        self._journal, self._turns, self._who, self._warn = journal, turns, who, warn

    @contextmanager
    def at(self, deliverable: str, place: str) -> Iterator[Door | None]:
        """Have an environment to ourselves; None for one of a run, which has no door, and where nothing is known of.
        Raises Refused where somebody else has it, or took the turn before the first question of ``check``."""
        record = self._record(deliverable, place)
        if record is None:
            yield None
            return
        door = enter(record, place, "", self._who, self._turns, self._warn)
        if isinstance(door, Refused):
            raise door
        try:
            yield door
        finally:
            door.leave()

    def _record(self, deliverable: str, place: str) -> RunRecord | None:
        """The newest run there whose plan is here: its story tells of the turn."""
        catch_up(self._journal)
        if self._journal.one(PER_RUN, (deliverable, place)):
            return None
        for _, run in runs_there(self._journal, deliverable, place):
            try:
                return RunRecord.attach(self._journal, run)
            except CxError:
                continue  # of a run that is not here, or of a newer cxlocal
        return None


def runs_there(journal: Journal, deliverable: str, instance: str) -> list[tuple[str, str]]:
    """Name of the environment and run of what was done there, newest first."""
    rows = journal.query(RUNS_THERE, {"d": deliverable, "i": instance})
    return [(row["environment"], row["run"]) for row in rows if row["run"]]
