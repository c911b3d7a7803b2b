"""Workers at the price of a fork: a process that has loaded what they need stands ready, and divides.

Starting Python and loading msgspec and our own modules costs sixty times what a fork does, and a deployment asks its
tools a dozen times. What stands ready has never run code of others and is told no secret (``forking``), so a worker is as
much alone as a program that was started for it. Whoever asks it waits for an answer, one question at a time.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.clock import Clock
from cxlocal.errors import Trouble
from cxlocal.processes.family import MARK
from cxlocal.processes.start import cannot_start, kill_group, start_child
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.processes.channel import Channel

ANSWER_SECONDS = 30.0
"""For the first answer Python starts and loads what workers need; on a machine that swaps this takes long."""
READY_SECONDS = 5.0
"""For a later one. Whoever asks looks after other programs as well: what stands still is replaced."""
COLLECT_SECONDS = 1.0
"""For how a worker ended; of one that is given to us the system knows it as well."""
WOKEN_SECONDS = 1.0
"""What is left to an answer once somebody wants something else of us: a signal."""
TOLD = ("CXLOCAL_", "TRACEPARENT", "TRACESTATE")
"""How variables begin that no interpreter and no library reads as it starts: each worker is told its own."""
READY_AT_ONCE = 4
"""Processes that stand ready, one for each environment that workers are given."""
_MARK_ROOM = 4096
_SAID_BYTES = 2000


class Script(NamedTuple):
    """What workers are divided from: a script of ours that calls ``forking.serve``."""

    path: Path
    modules: tuple[str, ...] = ()
    """Modules of ours, and of ours only, that this worker needs: they are loaded once for all."""


class Forked:
    """A worker, in the form in which the supervisor has its programs."""

    def __init__(self, forker: Forker, pid: int, output: int) -> None:
        self.pid = pid
        self.stdout = os.fdopen(output, "rb", buffering=0)
        self.returncode: int | None = None
        self._forker = forker

    def collect(self) -> tuple[int, int]:
        """As ``os.waitpid`` with WNOHANG. Raises ChildProcessError."""
        return self._forker.collect(self.pid)


class Forker:
    """One process that stands ready. ``environ``: what its workers are given beside our own variables."""

    def __init__(self, script: Path, environ: Mapping[str, str], clock: Clock) -> None:
        """Raises Trouble when it cannot be started."""
        self._link, theirs = socket.socketpair()
        self._clock = clock
        self._answered = False
        self.workers: set[int] = set()
        """Those whose end was not collected yet."""
        self.lost = False
        """It does not answer any more."""
        with theirs:
            argv = [sys.executable, "-P", "-E", "-u", str(script), str(theirs.fileno())]
            env = {**environ, MARK: ":" * _MARK_ROOM}
            try:
                self._process = start_child(argv, cwd=Path("/"), env=env, passed=(theirs.fileno(),))
            except BaseException:
                self._link.close()
                raise

    def fork(self, modules: Sequence[str], passed: Sequence[int], wake: int) -> int:
        """The pid of a new worker that has ``passed``; ``wake`` can be read where somebody wants something else of
        us. Raises ConnectionError when nothing stands ready any more, OSError when the system has no room for another
        process."""
        seconds = READY_SECONDS if self._answered else ANSWER_SECONDS
        answer = self._ask({"modules": list(modules)}, seconds, passed, wake)
        self._answered = True
        if "problem" in answer:
            raise OSError(errno.EAGAIN, answer["problem"])
        self.workers.add(answer["pid"])
        return int(answer["pid"])

    def collect(self, pid: int) -> tuple[int, int]:
        """See ``Forked.collect``."""
        try:
            answer = None if self.lost else self._ask({"ended": pid}, COLLECT_SECONDS)["status"]
        except ConnectionError:
            answer = None
        if self.lost:
            # Its workers are given to us, where the system does that.
            found, status = os.waitpid(pid, os.WNOHANG)
        else:
            found, status = (0, 0) if answer is None else (pid, int(answer))
        if found:
            self.workers.discard(pid)
        return found, status

    def close(self) -> None:
        """End it. Its workers are others' to end."""
        self._end()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _end(self) -> None:
        if self.lost:
            return
        self.lost = True
        self._link.close()
        kill_group(self._process.pid)
        self._process.wait()

    def said(self) -> str:
        """What it printed, which it does only when it cannot begin."""
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        try:
            said = self._process.stdout.read(_SAID_BYTES) or b""
        except (OSError, ValueError):
            said = b""
        return said.decode("utf-8", "replace").strip().rpartition("\n")[2]

    def _ask(
        self, wish: Mapping[str, Any], seconds: float, passed: Sequence[int] = (), wake: int = -1
    ) -> dict[str, Any]:
        try:
            self._link.settimeout(seconds)
            socket.send_fds(self._link, [json.dumps(wish).encode("ascii") + b"\n"], passed)
            answer = self._answer(seconds, wake)
        except BaseException as error:
            # A signal, a limit: an answer that comes later would be taken for that to the next question.
            self._end()
            if isinstance(error, OSError):
                raise ConnectionError(str(error)) from error
            raise
        found: dict[str, Any] = json.loads(answer)
        return found

    def _answer(self, seconds: float, wake: int) -> bytes:
        answer, until = b"", self._clock.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._link, selectors.EVENT_READ)
            if wake >= 0:
                selector.register(wake, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                ready = {
                    key.fd for key, _ in selector.select(max(0, until - self._clock.monotonic()))
                }
                if not ready:
                    raise ConnectionError("it does not answer")
                if self._link.fileno() in ready:
                    chunk = self._link.recv(4096)
                    if not chunk:
                        raise ConnectionError("it has ended")
                    answer += chunk
                else:
                    selector.unregister(wake)  # whoever is asked next reads it
                    until = min(until, self._clock.monotonic() + WOKEN_SECONDS)
        return answer


class Forkers:
    """Those of one supervisor: one for each script and environment. ``wake``: see ``Forker.fork``."""

    def __init__(self, clock: Clock, wake: int) -> None:
        self._clock, self._wake = clock, wake
        self._ready: dict[tuple[Path, frozenset[tuple[str, str]]], Forker] = {}

    def start(
        self, script: Script, *, cwd: Path, env: Mapping[str, str], channel: Channel
    ) -> Forked:
        """A worker that works in ``cwd`` and gets ``channel``. Raises Trouble: ``bad-folder``, ``not-started``."""
        argv = [sys.executable, str(script.path)]
        if not cwd.is_dir():
            raise cannot_start(FileNotFoundError(errno.ENOENT, "no such folder"), argv, cwd, env)
        variables = {name: value for name, value in env.items() if name.startswith(TOLD)}
        channel.preface(
            json.dumps({"cwd": os.path.abspath(cwd), "variables": variables}).encode("ascii")
        )
        base = {name: value for name, value in env.items() if name not in variables}
        reads, writes = os.pipe()
        try:
            forker, pid = self._fork(script, base, (*channel.passed, writes))
        except BaseException as error:
            os.close(reads)
            if isinstance(error, OSError):
                raise cannot_start(error, argv, cwd, env) from error
            raise
        finally:
            os.close(writes)
        return Forked(forker, pid, reads)

    def _fork(
        self, script: Script, environ: Mapping[str, str], passed: Sequence[int]
    ) -> tuple[Forker, int]:
        for last in (False, True):
            forker = self._forker(script.path, environ)
            try:
                return forker, forker.fork(script.modules, passed, self._wake)
            except ConnectionError as error:
                # A worker may have killed what it came from: another takes its place.
                if last:
                    raise Trouble(
                        "no worker can be started",
                        why=forker.said() or str(error),
                        hint="see whether Python starts, and whether cxlocal is whole: cxlocal doctor",
                        name="not-started",
                    ) from error
        raise AssertionError("the last try returns or raises")

    def _forker(self, script: Path, environ: Mapping[str, str]) -> Forker:
        key = (script, frozenset(environ.items()))
        found = self._ready.pop(key, None)
        if found is None or found.lost:
            if found is not None:
                found.close()
            self._make_room()
            found = Forker(script, environ, self._clock)
        self._ready[key] = found  # the last one used stands last
        return found

    def _make_room(self) -> None:
        idle = [key for key, one in self._ready.items() if not one.workers]
        for key in idle[: max(0, len(self._ready) - READY_AT_ONCE + 1)]:
            self._ready.pop(key).close()

    def close(self) -> None:
        """End what stands ready."""
        for one in self._ready.values():
            one.close()
        self._ready.clear()
