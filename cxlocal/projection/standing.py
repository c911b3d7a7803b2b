"""How a stage stands after its attempts, and what keeps it from having succeeded. Pure."""

from __future__ import annotations

from collections.abc import Collection

from cxlocal.domain import Outcome
from cxlocal.projection.parts import Attempt, counting
from cxlocal.values import NamedTuple


class Expected(NamedTuple):
    """The parts that a stage has."""

    names: tuple[str, ...] = ()
    total: int = 0
    """0: as many as begin, unless the CI server says how many there are."""


class Standing(NamedTuple):
    """How a stage stands."""

    outcome: Outcome | None
    """None: parts are missing, and none has gone wrong."""
    counting: tuple[Attempt, ...]
    failed: tuple[str, ...] = ()
    """Parts that count and did not succeed."""
    missing: tuple[str, ...] = ()
    """Parts that have not begun, or not ended."""
    complete: bool = False
    """All parts that are expected are here; False also where nobody said how many there are."""

    @property
    def succeeded(self) -> bool:
        """Every part has."""
        return self.outcome == Outcome.SUCCESS

    @property
    def beside(self) -> bool:
        """Several count, and nothing tells which part each is."""
        return sum(1 for one in self.counting if not one.part) > 1


def stand(attempts: Collection[Attempt], expected: Expected) -> Standing:
    """How a stage stands after its attempts: as bad as its worst part."""
    counted = counting(attempts)
    failed = tuple(
        f"{one.shown}: {one.outcome}" for one in counted if one.outcome not in (None, "success")
    )
    missing = [f"{one.shown} has not ended" for one in counted if one.outcome is None]
    missing += (
        []
        if counted
        else [f"{one.shown} was made from another commit, {one.other[:12]}" for one in attempts]
    )
    complete = bool(counted)
    if not any(one.replaces is None for one in counted):
        total = expected.total or max((one.total for one in attempts), default=0)
        here = {one.part for one in counted if not _is_beyond(one.part, total)}
        missing += [f"{name} is missing" for name in expected.names if name not in here]
        count = len(here - {""}) + sum(1 for one in counted if not one.part)
        if not expected.names and count < total:
            missing.append(f"{count} of {total} parts are here")
        complete = complete and bool(expected.names or total) and not missing
    outcome: Outcome | None = None
    if failed:
        outcome = next(
            one
            for one in (Outcome.CANCEL, Outcome.FAILURE, Outcome.ERROR)
            if any(attempt.outcome == one for attempt in counted)
        )
    elif counted and not missing:
        outcome = Outcome.SUCCESS
    return Standing(outcome, counted, failed, tuple(missing), complete)


def _is_beyond(part: str, total: int) -> bool:
    """Servers number parts from 0 or from 1: a greater number than there are parts is none of them."""
    digits = part.lstrip("0") or "0"
    plain = total and part.isascii() and part.isdecimal()
    return bool(plain) and (len(digits) > len(str(total)) or int(digits) > total)


def words_of(stage: str, standing: Standing | None) -> str:
    """What keeps a stage from having succeeded, and what helps where parts are not told apart."""
    if standing is None:
        return f"{stage} has not succeeded"
    details = [*standing.failed, *standing.missing]
    if len(standing.counting) == 1 and len(details) == 1 and not standing.counting[0].part:
        outcome = standing.counting[0].outcome
        if outcome is None:
            return f"{stage} began and did not end"
        if standing.failed:
            return f"{stage}: {outcome}"
    words = f"{stage} ({', '.join(details)})"
    if standing.beside:
        words += (
            ", which count side by side: --part NAME tells parts apart, --retry says that one is"
            " another try"
        )
    return words
