"""What a sink is: a class that takes records to where a team keeps its logs, figures and events.

A sink author writes one class with ``name``, the ``schemes`` of its addresses, what it ``takes``, and
``deliver``, and registers it with the hook ``cxlocal_register_sinks``. The journal and the log files
are the spool: a sink is asked in order, at least once, in a process that is killed at its limit, and
how far it is stands in the journal. It keeps nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from cxlocal.errors import Trouble
from cxlocal.extras import how_to_install
from cxlocal.hooks.with_table import Options
from cxlocal.processes.start import run_captured

API = 1
"""The version of this interface. A sink that names another one is refused by name."""


class Later(Exception):
    """Raised by ``deliver``: nothing (more) is taken just now; the words say why. It is tried again."""


class NotTaken(Exception):
    """Raised by ``deliver``: the first record is refused for good; the words say why. It is left out."""


def without_library(extra: str) -> Later:
    """What is raised where a library is missing that ``cxlocal[EXTRA]`` brings."""
    return Later(f"a library is missing; {how_to_install(extra)}")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What every record has."""

    id: str
    """The same however often, and from whatever machine, it is sent."""
    at_ms: int
    """When it happened: milliseconds since 1970, UTC."""


class EventRecord(Record, frozen=True, kw_only=True):
    """An event: the CDEvents document as it is stored."""

    type: str
    """The CDEvents type."""
    source: str
    """Of the event's context: with ``id`` it tells a receiver what it has."""
    subject: str
    """Id of what it is about."""
    document: str
    """JSON."""


class LineRecord(Record, frozen=True, kw_only=True):
    """A line of a log, secrets masked, without colours and control characters."""

    text: str
    """Without its line end."""
    deliverable: str
    """The product."""
    version: str
    """Of the run."""
    run: str
    """Id of the run."""
    stage: str
    """Name of the stage."""
    part: str
    """Part of the stage (of a matrix, a shard); empty for the only one."""
    attempt: int
    """1 for the first try."""
    environment: str
    """Where the stage worked; empty for none."""
    host: str
    """The machine it ran on."""
    line: int
    """From 1 on; 0 for what stands for lines that are not there any more."""
    piece: int
    """Of a line above 8 KiB: which piece, from 1 on. 0: the whole line."""
    exact: bool
    """False: only when the stage began is known, not when the line was written."""
    trace: str = ""
    """32 hexadecimal digits: the run as a trace."""
    span: str = ""
    """16 hexadecimal digits: the stage in it."""


class MetricRecord(Record, frozen=True, kw_only=True):
    """One figure at one time."""

    name: str
    """As in the table of ``docs/sinks.md``: ``cxlocal.stage.duration``."""
    unit: str
    """As UCUM writes it: ``s``, ``{run}``."""
    value: float
    """The figure; of what counts, the total."""
    counts: bool = False
    """A total that only rises, counted since the machine began."""
    labels: dict[str, str] = {}
    """What it is about."""
    run: str = ""
    """The run it is of, where it is of one."""
    machine: str = ""
    """Host and the start of its chain: two machines never count in one series."""


class SpanRecord(Record, frozen=True, kw_only=True):
    """A run, or a stage of one, as a stretch of time. ``id`` is its span id, ``at_ms`` its end."""

    trace: str
    """32 hexadecimal digits: the run's."""
    parent: str
    """Span id of the run; empty for the run itself."""
    name: str
    """What it is called where traces are shown."""
    began_ms: int
    """When it began: milliseconds since 1970, UTC."""
    outcome: str
    """success, failure, cancel or error."""
    attributes: dict[str, str | int | float | bool]
    """By the CI/CD conventions of OpenTelemetry."""
    linked: str = ""
    """The ``traceparent`` of whoever started the run."""


class Sink:
    """Derive from it. Made once for each delivery, then asked until nothing is left or its time is."""

    name: ClassVar[str]
    """A word: ``syslog``."""
    api: ClassVar[int] = API
    """The version of the interface it is made for."""
    schemes: ClassVar[tuple[str, ...]]
    """What its addresses begin with: ``("syslog+tcp", "syslog+tls")``."""
    takes: ClassVar[frozenset[str]]
    """Of events, logs, metrics, spans."""
    asked_at: ClassVar[tuple[str, ...]] = ()
    """What addresses begin with at which its receiver can be asked for logs (``find``)."""

    class Options(Options, frozen=True):
        """What may stand in ``with``."""

    def __init__(
        self, to: str, options: Any, *, token: str = "", timeout_seconds: float = 10.0
    ) -> None:
        """``to``: the address as written. ``token``: the credential, empty for none. Nothing is
        reached yet. Raises ValueError for an address it cannot use."""
        self.to = to
        self.options = options
        self.token = token
        self.timeout_seconds = timeout_seconds
        """How long one answer may take."""

    def deliver(self, batch: Sequence[Any]) -> int:
        """How many records, from the first on, the receiver surely has. Raises ``Later``,
        ``NotTaken``, OSError (which means later)."""
        raise Later(f"{self.name} delivers nothing")

    def find(self, run: str, stage: str, stage_run: str) -> Iterator[tuple[str, str]]:
        """The lines of one attempt of a stage that the receiver has: id and text of each, in any order,
        an id as often as it likes. Ids begin with ``stage_run`` and a slash. ``to`` is then an address
        of ``asked_at``. Raises ``Later``, OSError."""
        raise Later(f"{self.name} cannot be asked")

    def run(self, words: Sequence[str], content: bytes) -> None:
        """Run a program to its end with ``content`` on its standard input; the only way to start one.
        Raises ``Later`` unless it says 0."""
        try:
            ran = run_captured(
                words, cwd=Path("/"), timeout_seconds=self.timeout_seconds, input=content
            )
        except Trouble as problem:
            raise Later(problem.what) from problem
        if ran.timed_out:
            raise Later(f"{words[0]} did not end in time")
        if ran.code != 0:
            said = ran.stderr.decode("utf-8", "replace").strip().splitlines()
            raise Later(f"{words[0]} ended with {ran.code}: {said[-1] if said else 'no words'}")

    def close(self) -> None:
        """Let go of the connection."""
