"""Reports read in a worker process, seen from the parent, which believes it nothing.

A reader may hang, crash, flood, stop itself or lie: it harms the report that it reads, and nobody waits for it
but the stage that wrote the report. The worker is one of those of tools (``worker``), and is told no secret.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cxlocal.hooks.messages import dump, load, module_path
from cxlocal.hooks.reading import READ_SECONDS, checked, failed
from cxlocal.hooks.registered import FoundReader
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.tool_worker import WORKER
from cxlocal.processes.channel import Channel
from cxlocal.processes.child import Child, End, Sink
from cxlocal.processes.forker import Script
from cxlocal.processes.supervisor import Supervisor
from cxlocal.values import NamedTuple

GRACE_SECONDS = 0.5
"""Between SIGTERM and SIGKILL: a reader has nothing to tidy up."""
ANSWER_BYTES = 256 << 20
"""Of the names and messages of one report, as they lie in our memory; those of the shipped reader take a third."""
CASES_MAX = 250_000
"""Of one report. Shipped readers keep fewer."""


class Wanted(NamedTuple):
    """One report to be read."""

    path: Path
    suite: str


class ReportWorker:
    """Reads reports of one form, one after the other, in a process of its own."""

    def __init__(self, form: str, found: FoundReader, wanted: Sequence[Wanted]) -> None:
        self.reports: list[Report] = []
        """Those that were read, in the order in which they were wanted."""
        self._form = form
        self._found = found
        self._wanted = wanted
        self._channel: Channel | None = None
        self._child: Child | None = None
        self._forget()

    def start(
        self, cwd: Path, env: Mapping[str, str], sink: Sink, supervisor: Supervisor, tag: object
    ) -> Child:
        """Start the worker; what the reader prints goes to ``sink``. Raises Trouble."""
        clock = supervisor.clock

        def hear(line: bytes) -> None:
            count = len(self.reports)
            self._hear(line)
            if len(self.reports) > count and self._child is not None:
                self._child.begin_anew(clock)

        channel = self._channel = Channel(hear)
        channel.send(
            dump(
                {
                    "path": module_path(),
                    "form": self._form,
                    "plugin": list(self._found.place),
                    "reports": [[str(one.path), one.suite] for one in self._wanted],
                }
            )
        )
        ours = (self._found.place.target,) if self._found.shipped else ()
        self._child = supervisor.start_worker(
            Script(WORKER, ("cxlocal.hooks.reading", *ours)),
            cwd=cwd,
            env=env,
            sink=sink,
            timeout_seconds=READ_SECONDS,
            control=channel,
            tag=tag,
            grace_seconds=GRACE_SECONDS,
        )
        return self._child

    def ended(self, end: End) -> str:
        """Take note of the end: whichever report was being read then has a problem. Why it was not read, in words,
        where somebody cancelled that; else empty."""
        assert self._channel is not None
        if len(self.reports) == len(self._wanted):
            return ""
        if end.timed_out:
            words = f"no answer within {READ_SECONDS:.0f} s"
        elif self._channel.problem:
            words = self._channel.problem
        elif end.cancelled:
            return end.words
        else:
            words = self._error or f"it ended without an answer: {end.words}"
        suite = self._wanted[len(self.reports)].suite
        self.reports.append(failed(self._form, suite, words, tuple(self._cases)))
        return ""

    def _forget(self) -> None:
        self._cases: list[Case] = []
        self._problem = self._error = ""
        self._bytes = 0

    def _hear(self, line: bytes) -> None:
        """Take one message of the worker."""
        assert self._channel is not None
        if (self._child is not None and self._child.stopping) or self._channel.problem:
            return
        try:
            ((kind, content),) = load(line).items()
            if kind == "cases":
                self._take([Case(*row) for row in content])
            elif kind == "problem":
                self._over(content)
            elif kind == "error":
                self._error = str(content["reason"])
            elif kind != "result":
                raise ValueError(kind)
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
            self._channel.problem = "it sent something that is no message"

    def _take(self, cases: Sequence[Case]) -> None:
        assert self._channel is not None
        sound = checked(Report(self._form, "", tuple(cases)), self._form, "")
        self._problem = self._problem or sound.problem
        self._cases += sound.cases
        self._bytes += sum(
            sys.getsizeof(text)
            for one in sound.cases
            for text in (one.suite, one.name, one.message)
        )
        if self._bytes > ANSWER_BYTES or len(self._cases) > CASES_MAX:
            self._channel.problem = f"it gave more than {CASES_MAX} cases, or more than {ANSWER_BYTES >> 20} MiB of them"

    def _over(self, problem: Any) -> None:
        if len(self.reports) == len(self._wanted):
            raise ValueError("nothing more was wanted")
        suite = self._wanted[len(self.reports)].suite
        said = checked(Report(self._form, suite, (), problem), self._form, suite).problem
        words = "; ".join(filter(None, [said, self._problem]))
        self.reports.append(Report(self._form, suite, tuple(self._cases), words))
        self._forget()
