"""Start a program: the only module that does.

Four forms. ``run_captured`` for short questions (``git rev-parse``, ``tool --version``): the answer
is kept in memory up to a limit, nothing is shown, and the program cannot outlive its time.
``start_child`` for work that people watch: the supervisor beside this module reads its output while
it runs. ``start_daemon`` for services that outlive us. ``run_attached`` for a program that shares our
terminal, as if it had been typed.

A program is never started through a shell of ours. It gets its own session, so that its whole group can be
killed at once and so that it has no terminal to ask a person for a password on.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import subprocess
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from cxlocal.clock import Clock, SystemClock
from cxlocal.errors import Trouble
from cxlocal.values import NamedTuple

OUTPUT_LIMIT_BYTES = 8 * 1024 * 1024
"""Kept of each stream. A repository with 100,000 refs lists them in about 6 MiB."""

_CHUNK_BYTES = 65536
"""One pipe buffer on Linux."""

_LOOK_SECONDS = 0.1
"""How often we look whether a program has ended while something it left behind holds its pipes."""

_LEFTOVER_SECONDS = 0.5
"""How long output is still awaited after the program itself has ended or was killed."""


class Captured(NamedTuple):
    """What a program answered."""

    code: int
    """The exit status; negative is the signal that ended it."""
    stdout: bytes
    stderr: bytes
    timed_out: bool
    """It was killed at its time limit."""
    truncated: bool = False
    """It wrote more than the limit; the rest was read and thrown away."""


def run_captured(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout_seconds: float,
    input: bytes = b"",
    output_limit: int = OUTPUT_LIMIT_BYTES,
    clock: Clock | None = None,
    kill: Callable[[int], None] | None = None,
) -> Captured:
    """Run ``argv`` in ``cwd`` with the environment ``env`` (ours if None) and wait for its end.

    Standard input is ``input`` and then its end, or nothing at all. At ``timeout_seconds`` ``kill``
    is called with its pid, before that was waited for; by default its process group is killed, which
    is enough for programs that start no others. Each stream is kept up to ``output_limit`` bytes.

    Raises Trouble, name ``program-missing``, when there is no such program, and ``not-started``
    when the system refuses to start it.
    """
    asked = ProgramRequest(argv, cwd=cwd, env=env, wants_input=bool(input), kill=kill)
    return asked.answer(timeout_seconds, input=input, output_limit=output_limit, clock=clock)


class ProgramRequest:
    """A question to a program that is at work on it; the answer is waited for later."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        wants_input: bool = False,
        kill: Callable[[int], None] | None = None,
    ) -> None:
        """Start the program. Raises Trouble as ``run_captured`` does."""
        self.wants_input = wants_input
        self._process = _start(argv, cwd, env, wants_input=wants_input)
        self._exchange = _Exchange(self._process, kill or kill_group)

    def answer(
        self,
        timeout_seconds: float,
        *,
        input: bytes = b"",
        output_limit: int = OUTPUT_LIMIT_BYTES,
        clock: Clock | None = None,
    ) -> Captured:
        """Wait for the end of the program, from now at most so long; then it is killed.

        ``input`` is only for one that ``wants_input``.
        """
        watch = clock or SystemClock()
        exchange = self._exchange
        exchange.unsent, exchange.limit = memoryview(input), output_limit
        try:
            timed_out = _attend(exchange, watch, watch.monotonic() + timeout_seconds)
        except BaseException:
            # A signal handler raised in here (Ctrl-C): the program must not outlive the question.
            self.drop()
            raise
        finally:
            exchange.close()
        return Captured(
            self._process.wait(),
            bytes(exchange.kept["stdout"]),
            bytes(exchange.kept["stderr"]),
            timed_out,
            exchange.truncated,
        )

    def drop(self) -> None:
        """Kill the program: nobody wants its answer any more."""
        if self._process.returncode is None:
            self._exchange.kill(self._process.pid)
            self._process.wait()
        self._exchange.close()


def run_attached(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: int | None = None
) -> int:
    """Run a program that shares our terminal and our signals, as a shell would; its exit status.

    ``stdout`` is a descriptor for its standard output; None is ours. Raises Trouble (names as in
    ``cannot_start``).
    """
    process = _open(argv, cwd, env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=None,
                    own_session=False)  # fmt: skip
    return process.wait()


def kill_group(pid: int) -> None:
    """Kill the session that ``pid`` leads; nothing happens when it is gone.

    Call it only before ``pid`` was waited for: until then the number cannot belong to another.
    """
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # macOS answers EPERM for a group of zombies.
        return


def _start(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None, *, wants_input: bool
) -> subprocess.Popen[bytes]:
    stdin = subprocess.PIPE if wants_input else subprocess.DEVNULL
    return _open(argv, cwd, env, stdin=stdin, stderr=subprocess.PIPE)


def shell(command: str) -> list[str]:
    """How a command written as one string is run: an unset variable or a failing line ends it."""
    return ["/bin/sh", "-eu", "-c", command]


def start_child(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    stdin: int | None = None,
    passed: tuple[int, ...] = (),
    own_session: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a program whose output, both streams in one pipe, is read while it runs.

    ``stdin`` is a descriptor to hand on; None is nothing to read. ``passed`` descriptors keep their
    numbers in the child. ``own_session`` is False only for what the worker of a tool starts, which
    belongs to its session. Raises Trouble (names as in ``cannot_start``).
    """
    return _open(
        argv,
        cwd,
        env,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stderr=subprocess.STDOUT,
        passed=passed,
        own_session=own_session,
    )


def start_daemon(argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path) -> int:
    """Start a program that outlives us, in a session of its own, writing to ``log``. Its pid.

    Raises Trouble when it cannot be started or the log cannot be opened.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Trouble(
            f"{argv[0]} cannot be started",
            why=f"its log {log} cannot be opened: {error.strerror}",
            hint="see who may write there, and whether the disk has room",
            name="log-not-writable",
        ) from error
    try:
        stdin = subprocess.DEVNULL
        process = _open(argv, cwd, env, stdin=stdin, stdout=output, stderr=subprocess.STDOUT)
    finally:
        os.close(output)
    # It is not ours to wait for: whoever adopts it reaps it. Popen would warn otherwise.
    process.returncode = 0
    return process.pid


def _open(
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str] | None,
    *,
    stdin: int,
    stderr: int | None,
    stdout: int | None = subprocess.PIPE,
    passed: tuple[int, ...] = (),
    own_session: bool = True,
) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            bufsize=0,
            start_new_session=own_session,
            pass_fds=passed,
        )
    except (OSError, ValueError, IndexError) as error:
        raise cannot_start(error, argv, cwd, env) from error
    _STARTED.add(process)
    return process


_STARTED: weakref.WeakSet[subprocess.Popen[bytes]] = weakref.WeakSet()


def own_pids() -> frozenset[int]:
    """Programs this module has started and whose end somebody here waits for."""
    return frozenset(one.pid for one in _STARTED if one.returncode is None)


def cannot_start(
    error: Exception, argv: Sequence[str], cwd: Path, env: Mapping[str, str] | None
) -> Trouble:
    """What to tell a person when the system refuses to start a program.

    Names: ``program-missing``, ``program-not-executable``, ``bad-folder``, ``not-started``.
    """
    program = argv[0] if argv else "an empty command"
    what = f"{program} cannot be started"
    if argv and isinstance(error, OSError):
        if not os.path.isdir(cwd):
            return Trouble(
                f"{what} in {cwd}",
                why="there is no such folder",
                hint="name a folder that the commit holds or an earlier stage makes",
                name="bad-folder",
            )
        if isinstance(error, FileNotFoundError):
            return _missing(what, program, cwd, env)
        if isinstance(error, PermissionError):
            return Trouble(
                what,
                why="the file is not executable, or the folder may not be entered",
                hint=f"chmod +x {program}, and check that the commit keeps the mode",
                name="program-not-executable",
            )
        if error.errno == errno.ENOEXEC:
            return Trouble(
                what,
                why="it is neither a program for this machine nor a script with a first line '#!'",
                hint="add '#!/bin/sh' or the like as its first line",
                name="program-not-executable",
            )
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Trouble(
        what,
        why=why or type(error).__name__,
        hint="see whether it can be started by hand, in the same folder",
        name="not-started",
    )


def _missing(what: str, program: str, cwd: Path, env: Mapping[str, str] | None) -> Trouble:
    if "/" in program:
        if not (Path(cwd) / program).exists():
            return Trouble(
                what,
                why=f"there is no such file in {cwd}",
                hint="name a file that the commit holds or an earlier stage makes",
                name="program-missing",
            )
        why = "the interpreter that its first line names does not exist"
        return Trouble(what, why=why, hint=f"correct '#!' in {program}", name="program-missing")
    path = (os.environ if env is None else env).get("PATH", os.defpath)
    return Trouble(
        what,
        why="there is no such program on PATH",
        hint=f"install {program}, or add it to PATH ({path})",
        name="program-missing",
    )


class _Exchange:
    """The pipes of one running program and what came through them so far."""

    def __init__(self, process: subprocess.Popen[bytes], kill: Callable[[int], None]) -> None:
        self.process = process
        self.kill = kill
        self.unsent = memoryview(b"")
        self.limit = OUTPUT_LIMIT_BYTES
        self.kept = {"stdout": bytearray(), "stderr": bytearray()}
        self.truncated = False
        self.selector = selectors.DefaultSelector()
        assert process.stdout is not None and process.stderr is not None
        self._watch(process.stdout, selectors.EVENT_READ, "stdout")
        self._watch(process.stderr, selectors.EVENT_READ, "stderr")
        if process.stdin is not None:
            self._watch(process.stdin, selectors.EVENT_WRITE, "stdin")

    def _watch(self, stream: IO[bytes], event: int, name: str) -> None:
        os.set_blocking(stream.fileno(), False)
        self.selector.register(stream, event, name)

    def pump(self, wait_seconds: float) -> bool:
        """Move what can be moved within ``wait_seconds``; False once all pipes are closed."""
        for key, _ in self.selector.select(wait_seconds):
            if key.data == "stdin":
                self._send(key.fd)
            else:
                self._receive(key.fd, key.data)
        return bool(self.selector.get_map())

    def _send(self, descriptor: int) -> None:
        try:
            self.unsent = self.unsent[os.write(descriptor, self.unsent[:_CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # It ended, or does not care to read; its exit status tells which.
            self.unsent = self.unsent[:0]
        if not self.unsent:
            self._drop("stdin")

    def _receive(self, descriptor: int, name: str) -> None:
        try:
            chunk = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._drop(name)
            return
        kept = self.kept[name]
        room = self.limit - len(kept)
        kept += chunk[:room]
        self.truncated = self.truncated or len(chunk) > room

    def _drop(self, name: str) -> None:
        stream = getattr(self.process, name)
        self.selector.unregister(stream)
        stream.close()

    def close(self) -> None:
        """Close every pipe that is still open."""
        for key in list((self.selector.get_map() or {}).values()):
            self._drop(key.data)
        self.selector.close()


def _attend(exchange: _Exchange, watch: Clock, deadline: float) -> bool:
    """Serve the pipes until the program has ended; True when it had to be killed at its limit."""
    timed_out = False
    last = float("inf")
    while True:
        now = watch.monotonic()
        if now >= deadline and not timed_out and exchange.process.poll() is None:
            exchange.kill(exchange.process.pid)
            timed_out, last = True, now + _LEFTOVER_SECONDS
        if now >= last:
            return timed_out
        wait = _LOOK_SECONDS if timed_out else max(0.0, min(_LOOK_SECONDS, deadline - now))
        if not exchange.pump(wait):
            return timed_out or _await_end(exchange, watch, deadline)
        if last == float("inf") and exchange.process.poll() is not None:
            last = watch.monotonic() + _LEFTOVER_SECONDS


def _await_end(exchange: _Exchange, watch: Clock, deadline: float) -> bool:
    """Wait for a program that has closed its output; True when it had to be killed."""
    try:
        exchange.process.wait(max(0.0, deadline - watch.monotonic()))
    except subprocess.TimeoutExpired:
        exchange.kill(exchange.process.pid)
        return True
    return False
