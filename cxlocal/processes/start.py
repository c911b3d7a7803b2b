"""Start a program, take its whole output, and be done with it after a fixed time.

The form for short questions (``git rev-parse``, ``tool --version``): the answer is kept in memory up
to a limit, nothing is shown, and the program cannot outlive its time. Programs whose output people
watch go through the streaming form beside this module.

A program is never started through a shell. It gets its own session, so that its whole group can be
killed at once and so that it has no terminal to ask a person for a password on.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from cxlocal.clock import Clock, SystemClock
from cxlocal.errors import Trouble

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
) -> Captured:
    """Run ``argv`` in ``cwd`` with the environment ``env`` (ours if None) and wait for its end.

    Standard input is ``input`` and then its end, or nothing at all. At ``timeout_seconds`` the
    whole process group is killed. Each stream is kept up to ``output_limit`` bytes.

    Raises Trouble, name ``program-missing``, when there is no such program, and ``not-started``
    when the system refuses to start it.
    """
    watch = clock or SystemClock()
    process = _start(argv, cwd, env, wants_input=bool(input))
    exchange = _Exchange(process, input, output_limit)
    try:
        timed_out = _attend(exchange, watch, watch.monotonic() + timeout_seconds)
    except BaseException:
        # A signal handler raised in here (Ctrl-C): the program must not outlive the question.
        if process.returncode is None:
            kill_group(process.pid)
            process.wait()
        raise
    finally:
        exchange.close()
    return Captured(
        process.wait(),
        bytes(exchange.kept["stdout"]),
        bytes(exchange.kept["stderr"]),
        timed_out,
        exchange.truncated,
    )


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
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if wants_input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if not os.path.isdir(cwd):
            raise Trouble(
                f"{argv[0]} cannot be started in {cwd}",
                why="there is no such folder",
                name="not-started",
            ) from error
        raise Trouble(
            f"{argv[0]} cannot be started",
            why="there is no such program on PATH",
            hint=f"install {argv[0]}, or add it to PATH",
            name="program-missing",
        ) from error
    except (OSError, ValueError) as error:
        raise Trouble(f"{argv[0]} cannot be started", why=str(error), name="not-started") from error


class _Exchange:
    """The pipes of one running program and what came through them so far."""

    def __init__(self, process: subprocess.Popen[bytes], input: bytes, limit: int) -> None:
        self.process = process
        self.unsent = memoryview(input)
        self.limit = limit
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
        for key in list(self.selector.get_map().values()):
            self._drop(key.data)
        self.selector.close()


def _attend(exchange: _Exchange, watch: Clock, deadline: float) -> bool:
    """Serve the pipes until the program has ended; True when it had to be killed at its limit."""
    timed_out = False
    last = float("inf")
    while True:
        now = watch.monotonic()
        if now >= deadline and not timed_out and exchange.process.poll() is None:
            kill_group(exchange.process.pid)
            timed_out, last = True, now + _LEFTOVER_SECONDS
        if now >= last:
            return timed_out
        wait = _LOOK_SECONDS if timed_out else max(0.0, min(_LOOK_SECONDS, deadline - now))
        if not exchange.pump(wait):
            return timed_out or _await_end(exchange.process, watch, deadline)
        if last == float("inf") and exchange.process.poll() is not None:
            last = watch.monotonic() + _LEFTOVER_SECONDS


def _await_end(process: subprocess.Popen[bytes], watch: Clock, deadline: float) -> bool:
    """Wait for a program that has closed its output; True when it had to be killed."""
    try:
        process.wait(max(0.0, deadline - watch.monotonic()))
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        return True
    return False
