"""How a stage ended, judged from how its program ended. Pure.

*failure* is the work saying no; *error* is trouble around it, worth a retry; *cancel* is a person
or a system that wanted it to stop. A program that crashes by itself (a segmentation fault, an
abort) failed; one that was killed from outside (out of memory, a stray ``kill``) met trouble.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cxlocal.domain import Outcome
from cxlocal.errors import CxError, OutcomeFailure, Trouble

if TYPE_CHECKING:
    from cxlocal.processes.child import End

REASON_CHARACTERS = 1000
"""Of a reason that becomes part of an event; the log has the rest."""

FROM_OUTSIDE = frozenset({9, 15, 1, 2})
"""Signals a program does not send itself: SIGKILL, SIGTERM, SIGHUP and SIGINT. These have the same
numbers everywhere (kill(1), POSIX), and reporting commands are spared the module that names them."""

NOT_RUN = {
    126: "exit code 126: a program was found and could not be run",
    127: "exit code 127: a program was not found",
}
"""What POSIX shells say when the work could not even begin (sh(1), EXIT STATUS)."""


def judge(end: End) -> tuple[Outcome, str]:
    """Outcome and reason of a plain command; the reason of a success is empty."""
    if end.timed_out:
        return Outcome.ERROR, end.words
    if end.cancelled:
        return Outcome.CANCEL, end.words
    if end.signal is not None:
        outside = end.signal in FROM_OUTSIDE
        return (Outcome.ERROR if outside else Outcome.FAILURE), end.words
    if end.code is None:
        return Outcome.ERROR, end.words
    if end.code in NOT_RUN:
        return Outcome.ERROR, NOT_RUN[end.code]
    return (Outcome.FAILURE, end.words) if end.code else (Outcome.SUCCESS, "")


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
