"""What is asked of a run, and what came of it."""

from __future__ import annotations

from typing import Any

from cxlocal.errors import CxError, UsageError
from cxlocal.patterns import compile_late
from cxlocal.projection.truth import VERSION
from cxlocal.runner.workspace import FREE_BYTES
from cxlocal.values import NamedTuple

_VERSION = compile_late(VERSION)


def repaired(text: str) -> str:
    """The version that a run says it repairs, as it was typed. Raises UsageError for what is none.

    Whether there is such a version is not asked: in an emergency its history may not be here.
    """
    if text and not _VERSION.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} cannot be a version",
            why="--fixes names the version that this run repairs",
            hint="write it as 'cxlocal log' shows it: --fixes 2.7.106",
            name="no-version",
        )
    return text


class Request(NamedTuple):
    """What was asked for."""

    to: str | None = None
    revision: str = "HEAD"
    offline: bool = False
    jobs: int | None = None
    resume: str = ""
    """The id of the run to go on with."""
    run_named: bool = False
    """The person named it by its id, not by its version."""
    reason: str = ""
    planned: bool = True
    fixes: str = ""
    """The version that it repairs."""
    moved: str = ""
    """The reason given with ``--journal-was-moved``."""
    allow_older: bool = False
    """Deploy also where something newer is live."""
    final_of: str = ""
    """The id of the run whose pre-release becomes final."""
    rehearsal: bool = False
    drill: bool = False
    """A rehearsal of an outage; ``rehearsal`` is set, too."""
    anyway: bool = False
    """Release also a commit that brings nothing since the last release."""
    pieces: bool = False
    """No process carries the run out: single commands report what happens."""
    least_free_bytes: int = FREE_BYTES

    @property
    def kind(self) -> str:
        """release, rehearsal or drill."""
        if self.drill:
            return "drill"
        return "rehearsal" if self.rehearsal else "release"


class NothingToRelease(Exception):
    """What was asked for brings nothing but what cxlocal itself wrote after a release: no error."""

    def __init__(self, commit: str, version: str) -> None:
        super().__init__(f"nothing to release at {commit[:12]}")
        self.commit = commit
        self.version = version
        """That it was released as; empty where that is not known here."""


class Summary(NamedTuple):
    """How a run went, for people and for ``--json``."""

    run: str
    deliverable: str
    kind: str
    version: str
    number: int | None
    how: str
    revision: str
    proof: str
    outcome: str
    reason: str
    stages: dict[str, str]
    skipped: tuple[str, ...]
    promotions: dict[str, str]
    stopped_before: str
    next: str
    """The command that goes on; empty when nothing remains."""
    seconds: float
    pending: int
    """Events the store still lacks."""
    journal: str
    kept: bool
    """False on a passing machine."""
    look: str = ""
    """The command that shows what came of a success."""
    refused: CxError | None = None
    unpublished: CxError | None = None
    """What it ends in for what is not at its targets, where that counts first."""
    bundle: str = ""
    """Where a passing machine left what the store lacks; empty where there is nothing."""
    bytes_here_alone: int = 0
    """Bytes that wait for somebody to go on with, and are known to be nowhere else."""
    untested: bool = False
    """No stage of the plan tests anything."""
    undelivered: tuple[str, ...] = ()
    """What sinks still lack, a sentence each."""

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        found = self._asdict()
        for name in ("refused", "unpublished"):
            problem = found[name]
            found[name] = None if problem is None else problem.as_json()
        return found
