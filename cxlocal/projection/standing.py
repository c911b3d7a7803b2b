"""How a stage stands after its attempts, and what keeps it from having succeeded. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from cxlocal.domain import Outcome
from cxlocal.projection.parts import Attempt, counting
from cxlocal.projection.stages import COUNTED_DIGITS
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
        said = _said(attempts)
        if expected.names:
            here = {one.part for one in counted}
            missing += [f"{name} is missing" for name in expected.names if name not in here]
        else:
            missing += _holes(attempts, counted, said, expected.total)
        complete = complete and bool(expected.names or expected.total or said) and not missing
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


Kind = tuple[str, str]
"""Server and name of the jobs that it splits into parts."""


def _said(attempts: Iterable[Attempt]) -> dict[Kind, int]:
    """How many parts the server said there are of each kind of job: the most that it ever said."""
    said: dict[Kind, int] = {}
    for one in attempts:
        if one.total:
            said[one.place, one.kind] = max(said.get((one.place, one.kind), 0), one.total)
    return said


def _holes(
    attempts: Collection[Attempt], counted: Iterable[Attempt], said: Mapping[Kind, int], total: int
) -> list[str]:
    """What is missing where nobody named the parts; ``total``: how many ``cx.toml`` says there are.

    The parts of each kind of job that a server splits are complete by themselves. A number that
    somebody gave fills the hole of that number; what has no number fills no hole of what has.
    """
    kinds = _kinds(attempts)
    split: dict[Kind, list[int | str]] = {}
    by_hand: set[int] = set()
    others: set[str] = set()
    for one in counted:
        label = _number(one.part)
        known = [kind for kind in kinds[one.id] if kind in said]
        for kind in known:
            split.setdefault(kind, []).append(one.part or one.id if label is None else label)
        if not known and label is not None:
            by_hand.add(label)
        elif not known:
            others.add(one.part or one.id)
    missing, sum_here, spare = [], 0, set(by_hand)
    for kind, labels in sorted(split.items()):
        each = labels if not kind[1] else set(labels)
        here, wanted = _count(each, min(said[kind], total or said[kind]), spare)
        sum_here += here
        if here < wanted:
            whose = f"{kind[1]}: " if len(split) > 1 else ""
            missing.append(f"{whose}{here} of {wanted} parts are here")
    sum_here += _count(spare, total, set())[0] if by_hand else len(others)
    if sum_here < total and not missing:
        missing.append(f"{sum_here} of {total} parts are here")
    return missing


def _kinds(attempts: Iterable[Attempt]) -> dict[str, set[Kind]]:
    """The kinds of jobs that each attempt speaks for, by its id: its own and those of what it
    replaces."""
    kinds: dict[str, set[Kind]] = {}
    for one in sorted(attempts, key=lambda one: one.attempt):
        replaced = [kinds[id] for id in one.replaces or () if id in kinds]
        kinds[one.id] = {(one.place, one.kind)}.union(*replaced)
    return kinds


def _count(labels: Iterable[int | str], total: int, spare: set[int]) -> tuple[int, int]:
    """How many parts are here, and how many there should be. What fills a hole is taken out of ``spare``.

    Numbers count from 0 or from 1, and a greater one than there are parts is none of them. Where jobs
    cannot be told apart, each number is wanted as often as any of them is here.
    """
    here = Counter(label for label in labels if isinstance(label, int))
    if not here:
        return len(set(labels)), total
    numbers = range(total) if 0 in here or 0 in spare else range(1, total + 1)
    times = max((here[one] for one in here if one in numbers), default=1)
    for one in [one for one in spare if one in numbers and here[one] < times]:
        here[one] += 1
        spare.remove(one)
    return sum(here[one] for one in here if one in numbers), times * total


def _number(part: str) -> int | None:
    """The number that a part has for a name; None for another name. Greater ones than a server may
    count up to are cut, and remain greater."""
    if not (part.isascii() and part.isdecimal()):
        return None
    return int(part.lstrip("0")[: COUNTED_DIGITS + 1] or "0")


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
