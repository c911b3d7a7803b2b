"""How a stage, or a question, ended, judged from how its program ended (``cxlocal.domain.outcome_of``). Pure.

*cancel* is a person or a system that wanted it to stop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cxlocal.domain import NOT_RUN, Outcome, outcome_of
from cxlocal.errors import CxError, OutcomeFailure, Trouble
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.processes.child import End

REASON_CHARACTERS = 1000
"""Of a reason that becomes part of an event; the log has the rest."""


class Said(NamedTuple):
    """What came of a question."""

    why: str = ""
    """Why the answer is not yes; empty where it is."""
    outcome: Outcome = Outcome.SUCCESS
    """Failure where it is no, error where there was trouble around it."""


def judge(end: End) -> tuple[Outcome, str]:
    """Outcome and reason of a plain command; the reason of a success is empty."""
    if end.timed_out:
        return Outcome.ERROR, end.words
    if end.cancelled:
        return Outcome.CANCEL, end.words
    status = end.code if end.signal is None else -end.signal
    if status is None:
        return Outcome.ERROR, end.words
    outcome = outcome_of(status)
    return outcome, "" if outcome == Outcome.SUCCESS else NOT_RUN.get(status, end.words)


def worst(outcomes: Iterable[str]) -> Outcome:
    """The outcome of a run whose stages ended so: cancel before failure before error."""
    found = set(outcomes)
    for outcome in (Outcome.CANCEL, Outcome.FAILURE, Outcome.ERROR):
        if outcome in found:
            return outcome
    return Outcome.SUCCESS


def outcome_error(outcome: str, what: str, *, why: str, hint: str, run: str) -> CxError | None:
    """The error a command ends in when what it was to do ended so; None for a success."""
    if outcome == Outcome.SUCCESS:
        return None
    if outcome == Outcome.FAILURE:
        return OutcomeFailure(what, why=why, hint=hint, run=run)
    return Trouble(what, why=why, hint=hint, name="outcome-error", run=run)
