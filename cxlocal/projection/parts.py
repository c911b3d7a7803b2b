"""Which attempts of a stage count. Pure: the one rule about parts (``standing`` says what they make of it).

Jobs of a matrix are parts of one stage, not attempts of each other: the stage is as bad as its worst
part, and a retry replaces only its own part. What an attempt replaces of what was known when it began
is settled then (``replaceable``) and stands in its event. What was not known, as each job had a journal
of its own, is settled by the server's own numbers of attempts. No clock takes part, and no order of
arrival.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from cxlocal.domain import Outcome
from cxlocal.patterns import compile_late
from cxlocal.values import NamedTuple

_KINDS = {
    "gitlab": compile_late(r"(.+?)(?: \d+/\d+|: \[.*\])"),
    "semaphore": compile_late(r"(.+?) - \d+/\d+"),
    "gocd": compile_late(r"(.+?)-runInstance-\d+"),
    "buildkite": compile_late(r".*\((.+)\)"),
    "azure-pipelines": compile_late(r".*\((.+)\)"),
}
"""Servers that give each part of a job a name of its own, and what all of them share in it."""
_OWN_NAMES = ("azure-pipelines",)
"""Of these, those whose names may share nothing."""


class Attempt(NamedTuple):
    """One attempt of a stage."""

    id: str
    attempt: int
    outcome: str | None
    """None: it has begun and not ended."""
    part: str = ""
    """Empty: the only one, as far as it knew."""
    total: int = 0
    """How many parts the CI server said there are; 0: it did not say."""
    place: str = ""
    """Which CI server; empty outside of one."""
    job: str = ""
    job_id: str = ""
    run_attempt: int = 0
    job_attempt: int = 0
    """As the server counts them; 0: it does not."""
    replaces: tuple[str, ...] | None = None
    """Ids of the attempts that it is a retry of. None: the whole stage was carried out once more,
    which replaces whatever came before."""
    beside: tuple[str, ...] = ()
    """Ids of the attempts whose processes ran when it began: of those it is no retry, whatever the
    server counts."""
    other: str = ""
    """The commit that it was made from, where that is not the run's: then it counts for nothing."""

    @property
    def level(self) -> tuple[int, int]:
        """Compares with that of another attempt of the same job."""
        return self.run_attempt, self.job_attempt

    @property
    def execution(self) -> tuple[str, str, int, str]:
        """The same for all that one execution of a job reports, if its server gives it an id."""
        return self.place, self.job, self.run_attempt, self.job_id

    @property
    def kind(self) -> str:
        """What the jobs that a server splits into parts have in common of their names; empty where
        nothing tells."""
        form = _KINDS.get(self.place)
        found = None if form is None else form.fullmatch(self.job)
        if found is not None:
            return found[1]
        return "" if self.place in _OWN_NAMES else self.job

    @property
    def shown(self) -> str:
        """How it is called among the attempts of its stage."""
        return self.part or self.job or f"attempt {self.attempt}"


def replaceable(new: Attempt, known: Iterable[Attempt], *, retry: bool) -> tuple[str, ...]:
    """The ids of the known attempts that ``new``, which begins now, is a retry of.

    They have ended, are of the same part, and either both ran outside of a CI server, or both in one
    job of it, or somebody says ``retry``. An id tells one job from others of its name in one attempt of
    the server's run, no more: servers count jobs anew in each. What the server counts as a later attempt
    ``counting`` sees.
    """
    return tuple(
        sorted(
            old.id
            for old in known
            if old.outcome is not None
            and old.part == new.part
            and (
                retry
                or not (old.place or new.place)
                or (new.job_id and old.execution == new.execution)
            )
        )
    )


def counting(attempts: Collection[Attempt]) -> tuple[Attempt, ...]:
    """The attempts that no other replaces, as they began; none of another commit than the run's."""
    attempts = [one for one in attempts if not one.other]
    whole = max((one.attempt for one in attempts if one.replaces is None), default=0)
    replaced = {id for one in attempts for id in one.replaces or ()}
    left: dict[tuple[str, str, str], list[Attempt]] = defaultdict(list)
    for one in attempts:
        if one.id not in replaced and one.attempt >= whole:
            left[one.place, one.part, one.job if one.place else one.id].append(one)
    found = [one for group in left.values() for one in _after_retries(group)]
    return tuple(sorted(found, key=lambda one: (one.attempt, one.id)))


def _after_retries(group: Sequence[Attempt]) -> list[Attempt]:
    """What is left of attempts by one job of a CI server: each that the server counts as a later
    attempt replaces one of an earlier, those first that did not succeed. So a retry of one of two
    jobs that cannot be told apart does not speak for the other. Nor does it for one that ran when
    it began."""
    alive: list[Attempt] = []
    for level in sorted({one.level for one in group}):
        again = [one for one in group if one.level == level]
        ran = {id for one in again for id in one.beside}
        over = [one for one in alive if one.id not in ran]
        over.sort(key=lambda one: (one.outcome == Outcome.SUCCESS, one.id))
        alive = [one for one in alive if one.id in ran] + over[len(again) :] + again
    return alive
