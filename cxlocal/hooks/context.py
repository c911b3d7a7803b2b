"""The ``ctx`` of a verb, inside the worker process.

Everything a tool does to the outside passes here: processes are started in the worker's own
session, their output goes to the stage's log, and an intent is durable in the journal before
``intend`` returns.
"""

from __future__ import annotations

import os
import selectors
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.clock import Clock, SystemClock, SystemIds
from cxlocal.errors import Trouble
from cxlocal.files import fresh_folder
from cxlocal.hooks.messages import HANDLE_BYTES, Fields, dump, load, plain
from cxlocal.hooks.tool import Completed, Tool
from cxlocal.processes.family import MARK, Family, Sought, marked
from cxlocal.processes.identity import identity
from cxlocal.processes.mask import Masker
from cxlocal.processes.start import kill_group, start_child, start_daemon
from cxlocal.text import duration_text
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.hooks.tool_worker import ToolOutcome
    from cxlocal.processes.child import Child, End
    from cxlocal.processes.supervisor import Supervisor

OUTPUT_BYTES = 64 * 1024
"""How much of a process's output ``exec`` gives back: the last part."""

_QUIET_SECONDS = 0.25
"""How long output is awaited after the end of a process that left others behind."""

_GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL for a process that exceeds its own limit."""


_KILL_SECONDS = 1.0
"""How long what was killed is waited for."""

_KILL_LOOK_SECONDS = 0.01


class Link:
    """The two pipes to the parent."""

    def __init__(self, reads: int, writes: int) -> None:
        self._down = os.fdopen(reads, "rb")
        self._up = writes

    def send(self, **message: object) -> None:
        """Send one message; blocks until the parent has taken it."""
        view = memoryview(dump(message) + b"\n")
        while view:
            view = view[os.write(self._up, view) :]

    def receive(self) -> Any:
        """The next message. Raises Trouble when the parent is gone."""
        line = self._down.readline()
        if not line.endswith(b"\n"):
            raise Trouble(
                "cxlocal itself has ended",
                why="nobody is left to record what happens",
                hint="run the command again; it settles what this stage had begun",
            )
        return load(line)


class WorkerContext:
    """A ``Context`` (``cxlocal.hooks.tool``) whose parent keeps the journal."""

    def __init__(
        self,
        fields: Fields,
        options: Any,
        secrets: Mapping[str, str],
        timeout_seconds: float | None,
        link: Link,
        clock: Clock | None = None,
    ) -> None:
        self.version = fields.version
        self.run = fields.run
        self.revision = fields.revision
        self.stage = fields.stage
        self.deliverable = fields.deliverable
        self.checkout = fields.checkout
        self.scratch = fields.scratch
        self.environment = fields.environment
        self.artifacts: Mapping[str, Any] = fields.artifacts
        self.handle = fields.handle
        self.resource = fields.resource
        self.turn = fields.turn
        self.component = fields.component
        self.behind = fields.behind
        self.host = fields.host
        self.back = fields.back
        self.ahead = fields.ahead
        self.artifact = fields.artifact
        self.variables: Mapping[str, str] = fields.variables
        self.secret_variables = fields.secret_variables
        self.wanted: Mapping[str, int] = fields.wanted
        self.addresses: Mapping[str, str] = fields.addresses
        self.components: Mapping[str, Mapping[str, str]] = fields.components
        self.put = fields.put
        self.notes: Mapping[str, str] = fields.notes
        self.options = options
        self.secrets = secrets
        self._link = link
        self._masker = Masker(secrets.values())
        self._clock = clock or SystemClock()
        self._ids = SystemIds()
        limit = float("inf") if timeout_seconds is None else timeout_seconds
        self._deadline = self._clock.monotonic() + limit

    @property
    def timeout(self) -> float:
        """Seconds left for this verb."""
        return max(0.0, self._deadline - self._clock.monotonic())

    def exec(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> Completed:
        """Run a process to its end. Raises TimeoutError; with ``check`` ToolFailure where it says no, Trouble where it
        was killed or could not be run."""
        argv = [os.fspath(part) for part in command]
        mark = self._ids.token()
        process = start_child(
            argv,
            cwd=cwd or self.checkout,
            env={**os.environ, **(env or {}), MARK: marked(os.environ, mark)},
            own_session=False,
        )
        try:
            kept = self._follow(process, timeout)
            if kept is None:
                raise TimeoutError(
                    f"{_shown(argv)} did not end within {duration_text(timeout or 0)}"
                )
        finally:
            self._end(process, mark)
        completed = Completed(
            code=process.returncode, output=self._masker.whole(kept).decode("utf-8", "replace")
        )
        if check:
            completed.require(_shown(argv))
        return completed

    def daemon(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path
    ) -> int:
        """Start a process that outlives this stage. Raises Trouble. Its pid."""
        argv = [os.fspath(part) for part in command]
        pid = start_daemon(argv, cwd=cwd, env=env, log=log)
        found = identity(pid)
        self._link.send(daemon=[pid, found.start if found else ""])
        return pid

    def progress(self, text: str) -> None:
        """A line for people."""
        self._link.send(progress=str(text))

    def intend(self, handle: Any) -> None:
        """Return once the handle is durable. Raises TypeError, ValueError, Trouble."""
        size = len(dump(plain(handle)))
        if size > HANDLE_BYTES:
            raise ValueError(f"a handle of {size} bytes is too large, {HANDLE_BYTES} at most")
        self._link.send(intend=plain(handle))
        answer = self._link.receive()
        if "refused" in answer:
            raise Trouble(
                "the intent could not be recorded",
                why=str(answer["refused"]),
                hint="nothing was done; see the reason above, then run the stage again",
            )

    def _follow(self, process: subprocess.Popen[bytes], timeout: float | None) -> bytes | None:
        """Hand output on until the process has ended; its last part. None: time is up."""
        assert process.stdout is not None
        output = process.stdout.fileno()
        limit = float("inf") if timeout is None else self._clock.monotonic() + timeout
        last = float("inf")
        kept = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while (now := self._clock.monotonic()) < min(limit, last):
                ready = selector.select(min(_QUIET_SECONDS, limit - now, last - now))
                if ready and (chunk := os.read(output, OUTPUT_BYTES)):
                    _print(chunk)
                    kept += chunk
                    del kept[:-OUTPUT_BYTES]
                elif ready:
                    return bytes(kept) if _ends(process, limit - now) else None
                if process.poll() is not None:
                    # What it left behind may hold the output, and even go on talking.
                    last = min(last, now + _QUIET_SECONDS)
        return None if last == float("inf") else bytes(kept)

    def _end(self, process: subprocess.Popen[bytes], mark: str) -> None:
        """Make sure that a process has ended; if that takes force, with all that it began."""
        assert process.stdout is not None
        process.stdout.close()
        if process.poll() is not None:
            return
        known = identity(process.pid)
        leaders = frozenset([(known.pid, known.start)] if known else [])
        begun = Family(Sought(frozenset([mark]), leaders))
        begun.end(self._clock, grace_seconds=_GRACE_SECONDS, seconds=_KILL_SECONDS)
        process.kill()
        process.wait()


def _print(chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(1, view) :]


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for a process that has closed its output; whether it ended in time."""
    try:
        process.wait(None if seconds == float("inf") else seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _shown(argv: list[str]) -> str:
    """A command in a message: the program and its first words; the log has the rest."""
    return " ".join(argv[:4]) + (" ..." if len(argv) > 4 else "")


class Ran(NamedTuple):
    """What ``run_tool_here`` saw."""

    outcome: ToolOutcome
    log: bytes
    """The stage's log, secrets masked."""
    intents: tuple[Any, ...]
    """What ``intend`` made durable, in order."""
    progress: tuple[str, ...]


def run_tool_here(
    tool: type[Tool],
    verb: str,
    fields: Fields,
    *,
    with_table: Mapping[str, Any] | None = None,
    secrets: Mapping[str, str] | None = None,
    timeout_seconds: float = 30.0,
    env: Mapping[str, str] | None = None,
    on_intend: Callable[[Any], None] | None = None,
    kill_after_seconds: float | None = None,
    mask_log: bool = True,
) -> Ran:
    """Run one verb in a real worker and wait for it: for tests of tools.

    Options are checked as a plan's are (ConfigError). ``on_intend`` may raise, to see what a tool
    does when the journal refuses. With ``kill_after_seconds`` the worker is killed by SIGKILL so
    long after its first intent became durable; with 0 before it learns that it did. ``publish``, and a verb of a
    component other than ``provision``, have no intent of their own: there the time runs from the start.
    Without ``mask_log`` the log shows secrets, for those who look whether a tool says any.
    """
    from cxlocal.hooks.options import check_options, check_verb
    from cxlocal.hooks.tool_worker import ToolRequest, ToolWorker
    from cxlocal.processes.environment import stage_environment
    from cxlocal.processes.log import StageLog
    from cxlocal.processes.supervisor import Supervisor

    check_verb(tool, verb)
    check_options(tool, with_table or {})
    intents: list[Any] = []
    said: list[str] = []

    def keep(handle: Any) -> None:
        if on_intend is not None:
            on_intend(handle)
        intents.append(handle)
        if kill_after_seconds == 0:
            kill_group(child.pid)

    worker = ToolWorker(
        ToolRequest(tool, verb, with_table or {}, fields, dict(secrets or {})),
        on_intend=keep,
        on_progress=said.append,
    )
    with fresh_folder() as folder, Supervisor(SystemClock()) as supervisor:
        masker = Masker((secrets or {}).values() if mask_log else ())
        log = StageLog.create(folder, fields.stage or verb, masker=masker)
        child = worker.start(
            supervisor,
            env=stage_environment(os.environ, extra=env),
            sink=log,
            timeout_seconds=timeout_seconds,
        )
        told = verb == "publish" or (bool(fields.component) and verb != "provision")
        end = _wait(supervisor, child, kill_after_seconds, lambda: told or bool(intents))
        entry = log.close()
        outcome = worker.outcome(end)
        return Ran(outcome, entry.path.read_bytes(), tuple(intents), tuple(said))


def _wait(
    supervisor: Supervisor, child: Child, kill_after_seconds: float | None,
    announced: Callable[[], bool],
) -> End:  # fmt: skip
    """Wait for a worker to end; kill it when its time has come."""
    if not kill_after_seconds:
        (end,) = supervisor.wait(None)
        return end
    clock, due = SystemClock(), float("inf")
    while not (ends := supervisor.wait(_KILL_LOOK_SECONDS)):
        if announced() and due == float("inf"):
            due = clock.monotonic() + kill_after_seconds
        if clock.monotonic() >= due:
            kill_group(child.pid)
    return ends[0]
