"""A person's answer for a run that was out of the ordinary."""

from __future__ import annotations

from cxlocal.domain import Actor
from cxlocal.errors import UsageError
from cxlocal.events.runs import run_reviewed
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.runner.record import RunRecord


def answer_for(journal: Journal, run: str, actor: Actor, words: str) -> None:
    """Record that ``actor`` looked at a run and found ``words``.

    Raises UsageError where the run is not known or nothing is said, Refused where nobody is named or
    the store does not let this machine push what it is about.
    """
    if not words.strip():
        raise UsageError(
            "a review says what was found",
            why="the words are empty",
            hint="cxlocal review RUN -m 'what you found'",
            name="no-words",
        )
    actor.require_named("a review")
    record = spoken_of(journal, run)
    record.record(run_reviewed(record.ref, actor=actor._asdict(), words=words))


def spoken_of(journal: Journal, run: str) -> RunRecord:
    """A run that somebody has words for. Raises UsageError where its beginning is not here, Refused where the
    store does not let this machine push what it is about."""
    record = RunRecord.find(journal, run)
    if record is None:
        raise UsageError(
            f"the beginning of run {run[:8]} is not here",
            why="the journal of this machine holds only parts of it",
            hint="cxlocal sync   fetches it, where the store has it",
            name="no-such-run",
        )
    require(journal, record.ref.deliverable, "push")
    return record
