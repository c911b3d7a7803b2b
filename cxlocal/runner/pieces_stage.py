"""A command wrapped as a stage of a run: its output through and logged, its own end told.

Whatever goes wrong with recording, the command is run all the same and its own exit code is given
back. It is not run on artifacts with other bytes than were made.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.domain import Outcome, path_part
from cxlocal.errors import Conflict, CxError, Trouble
from cxlocal.processes.echo import Echo
from cxlocal.processes.family import MARK, marked
from cxlocal.processes.log import StageLog
from cxlocal.processes.stdout import data
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.driver import drive
from cxlocal.runner.leftovers import Notes
from cxlocal.runner.outcomes import judge
from cxlocal.runner.pieces_attempt import PieceAttempt, Surroundings, Troubles
from cxlocal.runner.signals import Signals
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.clock import Clock
    from cxlocal.plan.free import AnyStage
    from cxlocal.processes.child import Child, End, Sink
    from cxlocal.runner.pieces import PieceRecord, Reporter
    from cxlocal.runner.work import Launch

TIMED_OUT = 124
"""What timeout(1) says when it had to end the command."""
NOT_FOUND = 127
NOT_EXECUTABLE = 126
"""What shells say (POSIX, 2.8.2)."""
NOT_STARTED = {"program-missing": NOT_FOUND, "program-not-executable": NOT_EXECUTABLE}


class Through(Echo):
    """Hands output on as it is, all of it: the reader may be a program."""

    def __init__(self) -> None:
        super().__init__(data().buffer, raw=True)
        self._left = sys.maxsize


class Ran(NamedTuple):
    """How a command ended."""

    outcome: Outcome
    reason: str
    code: int
    """What to end in, as a shell would tell it."""
    exit_code: int | None
    """The exit status, where there was one."""
    started_ms: int
    seconds: float
    signal: int = 0
    """The signal that we were sent meanwhile."""


def run_command(
    argv: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    sink: Sink,
    timeout_seconds: float | None,
    clock: Clock,
    notes: Notes | None = None,
) -> Ran:
    """Run a command to its end. Signals sent to us end it, and are told in the result. ``notes``
    tell whoever comes after a kill -9 what was begun."""
    started_ms = clock.now_ms()

    def launch(supervisor: Supervisor, tag: object) -> Child:
        return supervisor.start(
            argv, cwd=cwd, env=env, sink=sink, timeout_seconds=timeout_seconds, tag=tag,
            stdin=None if sys.stdin is None else 0,
        )  # fmt: skip

    with Supervisor(clock) as supervisor, Signals(stays=True) as signals:
        try:
            end = drive(_alone(launch), supervisor, signals, grace_seconds=None, notes=notes)
        except Trouble as problem:
            code = NOT_STARTED.get(problem.name, NOT_EXECUTABLE)
            return Ran(Outcome.ERROR, problem.what, code, None, started_ms, 0.0)
    if end.cancelled:
        number = signals.number
        return Ran(
            Outcome.CANCEL, end.words, 128 + number, end.code, started_ms, end.seconds, number
        )
    outcome, reason = judge(end)
    return Ran(outcome, reason, _shell_code(end), end.code, started_ms, end.seconds)


def _alone(launch: Launch) -> Generator[Launch, End, End]:
    return (yield launch)


def _shell_code(end: End) -> int:
    if end.timed_out:
        return TIMED_OUT
    if end.code is not None:
        return end.code
    return 128 + end.signal if end.signal else NOT_EXECUTABLE


class Wrapped(PieceAttempt):
    """A stage whose commands are run here, their output logged."""

    def __init__(
        self,
        record: PieceRecord | None,
        stage: AnyStage,
        troubles: Troubles,
        around: Surroundings,
        clock: Clock,
        by: Reporter | None = None,
    ) -> None:
        super().__init__(record, stage, troubles, around, clock, by)
        self._variables: dict[str, str] = {}

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Ran:
        """Run a command; its output goes to standard output and into the log of the stage. ``env``
        is added to our own environment and to what every stage is told."""
        if self.log is None:
            try:
                self._variables = self.variables()
            except Conflict as problem:
                words = f"{problem.what}: {problem.why}"
                return Ran(Outcome.ERROR, words, NOT_EXECUTABLE, None, self.clock.now_ms(), 0.0)
            self.log = self._open_log()
        environ = {**self.around.environ, **self._variables, **(env or {})}
        notes, word = self._note()
        return run_command(
            argv,
            cwd=cwd,
            env={**environ, MARK: marked(environ, word)} if word else environ,
            sink=self.log,
            timeout_seconds=timeout_seconds or self.stage.timeout_seconds or None,
            clock=self.clock,
            notes=notes,
        )

    def _note(self) -> tuple[Notes | None, str]:
        """Where the next program is noted, and the word in its mark; without a record nowhere."""
        record = self.record
        path = None if record is None else record.notes_of(self.stage.name, self.attempt)
        if record is None or path is None:
            return None, ""
        word = record.journal.ids.token()
        try:
            return Notes(path, word), word
        except OSError as problem:
            self.troubles.take(problem, "after a kill -9 nobody will know what it left: ")
            return None, ""

    def _open_log(self) -> StageLog:
        echo = Through()
        if self.record is not None:
            folder = self.record.journal.home / "logs" / path_part(self.record.run)
            try:
                log = StageLog.create(
                    folder, self.stage.name, masker=self.masker, echo=echo,
                    now_ms=self.clock.now_ms,
                )  # fmt: skip
            except CxError as problem:
                self.troubles.take(problem)
            else:
                self.logged = True
                return log
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        return StageLog(Path(os.devnull), nowhere, self.masker, echo, sys.maxsize)
