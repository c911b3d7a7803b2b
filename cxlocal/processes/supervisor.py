"""Several programs at once, watched by one loop: output, time limits, cancelling, the end.

No threads and no asyncio: one selector waits for output, for ends and for the next time limit.

- Every child leads its own session. At its limit it and all it has begun (``family``) get SIGTERM,
  after a grace SIGKILL; what even so does not go away is given up by name.
- Output is read in chunks and handed to a sink at once, so a child that prints gigabytes costs the
  same memory as one that prints nothing.
- A child has ended when *it* has ended. What it printed by then is still read; processes it left in
  the background may hold the output open, and are given a moment, not more.

How an end is noticed: by ``pidfd_open`` on Linux; elsewhere (macOS) by the end of the output and by
looking every few milliseconds. The tests run both.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from cxlocal.clock import Clock, Ids, SystemIds
from cxlocal.processes.adoption import Adoption
from cxlocal.processes.child import Child, End, Sink, expect_ends
from cxlocal.processes.family import KILL_SECONDS, MARK, marked
from cxlocal.processes.start import start_child

if TYPE_CHECKING:
    from cxlocal.processes.channel import Channel
    from cxlocal.processes.forker import Forked, Forkers, Script

GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL. A cancelled run must be recorded and synced within 10 s."""

LINGER_SECONDS = 0.25
"""How long output is awaited from processes that a child left behind (``cmd > >(tee log)``)."""

QUIET_SECONDS = 1.0
"""Of the grace, what is left of it to processes that neither hold the output nor have a parent left
to wait for: servers in the background."""

GIVE_UP_SECONDS = 10.0
"""How long a killed child may take to disappear; one that waits for a dead disk never does."""

_LOOK_SECONDS = (0.0002, 0.05)
"""Where ends are not announced: the first and the longest pause between two looks."""

_FAMILY_LOOK_SECONDS = 0.1
"""Between two looks at all processes, which take some milliseconds, while some are awaited."""

_TIDY_SECONDS = 5.0
"""Between two times that ended orphans are let go of while stages run."""

_CHUNK_BYTES = 65536

_LAST_MESSAGES = 128
"""Reads of a channel after the end: 8 MiB, more than a pipe and the longest message hold."""

_CLOSE_SECONDS = 5.0


class Supervisor:
    """Starts children and tells which have ended. A context manager; leaving it kills the rest."""

    def __init__(
        self,
        clock: Clock,
        ids: Ids | None = None,
        *,
        announced: bool = hasattr(os, "pidfd_open"),
    ) -> None:
        """``announced``: the system tells when a child ends (Linux). False: we look."""
        self.clock = clock
        self._ids = ids or SystemIds()
        self._adoption = Adoption()
        self._tidy_at = clock.monotonic() + _TIDY_SECONDS
        self._announced = announced
        self._selector = selectors.DefaultSelector()
        self._children: list[Child] = []
        self._ended: list[End] = []
        self._woken = False
        self._forkers: Forkers | None = None
        expect_ends()
        self._before = self._hear_ends() if announced else None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, (self._hear_wake, None))

    @property
    def children(self) -> tuple[Child, ...]:
        """Those that are running."""
        return tuple(self._children)

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        sink: Sink,
        timeout_seconds: float | None,
        stdin: int | None = None,
        control: Channel | None = None,
        tag: object = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> Child:
        """Start a program. ``timeout_seconds`` None: no limit. ``stdin`` None: nothing to read.
        Its environment gets a mark of its own beside those that ``env`` holds.

        Raises Trouble: ``program-missing``, ``program-not-executable``, ``bad-folder``,
        ``not-started``.
        """
        passed = control.passed if control else ()

        def begin(marked: Mapping[str, str]) -> subprocess.Popen[bytes]:
            return start_child(argv, cwd=Path(cwd), env=marked, stdin=stdin, passed=passed)

        return self._begin(
            begin, env, control, sink=sink, timeout_seconds=timeout_seconds, tag=tag,
            grace_seconds=grace_seconds,
        )  # fmt: skip

    def start_worker(
        self,
        script: Script,
        *,
        cwd: Path | str,
        env: Mapping[str, str],
        sink: Sink,
        timeout_seconds: float | None,
        control: Channel,
        tag: object = None,
        grace_seconds: float = GRACE_SECONDS,
    ) -> Child:
        """Start a worker of ``script``, which is told by ``control`` what to do; else as ``start``.

        Raises Trouble: ``bad-folder``, ``not-started``.
        """
        from cxlocal.processes.forker import Forkers

        forkers = self._forkers = self._forkers or Forkers(self.clock, self._wake_read)

        def begin(marked: Mapping[str, str]) -> Forked:
            return forkers.start(script, cwd=Path(cwd), env=marked, channel=control)

        return self._begin(
            begin, env, control, sink=sink, timeout_seconds=timeout_seconds, tag=tag,
            grace_seconds=grace_seconds,
        )  # fmt: skip

    def _begin(
        self,
        begin: Callable[[Mapping[str, str]], subprocess.Popen[bytes] | Forked],
        env: Mapping[str, str],
        control: Channel | None,
        **rest: Any,
    ) -> Child:
        started_ms, started = self.clock.now_ms(), self.clock.monotonic()
        mark = self._ids.token()
        try:
            process = begin({**env, MARK: marked(env, mark)})
        except BaseException:
            if control:
                control.close()
            raise
        child = Child(
            process,
            channel=control,
            mark=mark,
            claim=partial(self._adoption.claim, mark),
            started_ms=started_ms,
            started=started,
            **rest,
        )
        self._children.append(child)
        if self._adoption.active:
            self._adoption.begin(mark, child.identity)
        os.set_blocking(child._output, False)
        self._watch(child._output, self._hear_output, child)
        if self._announced:
            self._watch_exit(child)
        if control:
            control.release()
            self._watch(control.incoming, self._hear_channel, child)
            self._flush(child)
        return child

    def wait(self, timeout_seconds: float | None) -> list[End]:
        """Serve the children until at least one has ended; all that have.

        Empty at the timeout, after ``wake``, and at once when nothing runs and there is no timeout.
        """
        now = self.clock.monotonic()
        until = float("inf") if timeout_seconds is None else now + timeout_seconds
        while True:
            if now >= self._tidy_at:
                self._adoption.tidy()
                self._tidy_at = now + _TIDY_SECONDS
            for child in self._children[:]:
                self._settle(child, now)
            if self._ended or self._woken or now >= until:
                break
            if not self._children and timeout_seconds is None:
                break
            for key, _ in self._selector.select(self._pause(now, until)):
                hear, child = key.data
                hear(child)
            now = self.clock.monotonic()
        ended, self._ended, self._woken = self._ended, [], False
        return ended

    def wake(self) -> None:
        """Make ``wait`` return. May be called from a signal handler."""
        try:
            os.write(self._wake_write, b"w")
        except BlockingIOError:
            return  # The pipe is full of earlier calls: it will wake up.

    def stop(self, child: Child, reason: str, *, grace_seconds: float | None = None) -> None:
        """Ask a child and all it began to end, and kill them after the grace. Returns at once."""
        if child not in self._children or (child._over is not None and not child.stopping):
            return  # It came to its end by itself; that is only not collected yet.
        if not child.stopping:
            child.cancelled = reason or "stopped"
        self._terminate(child, child.grace_seconds if grace_seconds is None else grace_seconds)

    def cancel_all(self, reason: str, *, grace_seconds: float | None = None) -> None:
        """``stop`` for every child. A second call may shorten the grace."""
        for child in self._children:
            self.stop(child, reason, grace_seconds=grace_seconds)

    def close(self) -> None:
        """Kill what still runs and let go of everything."""
        self.cancel_all("the supervisor was closed", grace_seconds=0)
        until = self.clock.monotonic() + _CLOSE_SECONDS
        while self._children and self.clock.monotonic() < until:
            self.wait(0.1)
        if self._forkers is not None:
            self._forkers.close()
        self._adoption.close()
        if self._before is not None:
            signal.signal(signal.SIGCHLD, self._before)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # what the selector hears

    def _watch(self, fd: int, hear: Callable[[Child], object], child: Child) -> None:
        self._selector.register(fd, selectors.EVENT_READ, (hear, child))

    def _watch_exit(self, child: Child) -> None:
        try:
            child._exit_fd = os.pidfd_open(child.pid)
        except OSError:
            return  # An old kernel or a sandbox: this child is looked at instead.
        self._watch(child._exit_fd, self._hear_exit, child)
        child.note_end(self.clock)

    def _hear_ends(self) -> Any:
        """Note ends as they come, whatever keeps us from waiting (a hook of a plugin); the handler before."""

        def note(number: int, frame: object) -> None:
            for child in self._children:
                child.note_end(self.clock)

        try:
            return signal.signal(signal.SIGCHLD, note)
        except ValueError:
            return None  # Not the main thread.

    def _hear_wake(self, _: None) -> None:
        os.read(self._wake_read, 4096)
        self._woken = True

    def _hear_output(self, child: Child) -> bool:
        """Read one chunk; whether there may be more."""
        try:
            chunk = os.read(child._output, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if chunk:
            child._sink.write(chunk)
            return True
        self._close_output(child)
        child._look_at = child._look_pause = 0.0
        return False

    def _hear_channel(self, child: Child) -> bool:
        channel = child._channel
        assert channel is not None
        try:
            chunk = os.read(channel.incoming, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            self._selector.unregister(channel.incoming)
            os.close(channel.incoming)
            channel.incoming = -1
            return False
        channel.receive(chunk)
        self._flush(child)
        if channel.problem and not child.stopping:
            self.stop(child, channel.problem)
        return True

    def _hear_exit(self, child: Child) -> None:
        self._selector.unregister(child._exit_fd)
        os.close(child._exit_fd)
        child._exit_fd = -1
        child._exited = True

    def _flush(self, child: Child) -> None:
        """Write to the channel what it takes, and listen for more room while something is left."""
        channel = child._channel
        assert channel is not None
        left = channel.flush()
        if left and not child._writing:
            event = selectors.EVENT_WRITE
            self._selector.register(channel.outgoing, event, (self._flush, child))
        elif child._writing and not left:
            self._selector.unregister(channel.outgoing)
        child._writing = left

    # what time brings

    def _pause(self, now: float, until: float) -> float | None:
        """Seconds until something is due; None for never."""
        due = min(until, self._tidy_at) if self._children else until
        for child in self._children:
            if child._exited:
                due = min(due, now if child._linger_until is None else child._linger_until)
                continue
            limit = child._deadline if not child.stopping else child._kill_at
            due = min(due, child._give_up_at if child._killed else limit)
            if child._exit_fd < 0:
                due = min(due, child._look_at)
        return None if due == float("inf") else max(0.0, due - now)

    def _settle(self, child: Child, now: float) -> None:
        """Do what is due for this child."""
        if child._over is not None and child._exit_fd >= 0:
            self._hear_exit(child)  # before its limit is looked at, which may be over by now
        if not child._exited and child._exit_fd < 0:
            self._look(child, now)
        if child._exited:
            self._settle_exited(child, now)
            return
        if now >= child._deadline and not child.stopping:
            child.timed_out = True
            self._terminate(child, child.grace_seconds)
        if now >= child._kill_at and not child._killed:
            self._kill(child, now)
        if now >= child._give_up_at:
            self._finish(child)

    def _settle_exited(self, child: Child, now: float) -> None:
        if child.stopping and not child._killed and not self._outlived(child, now):
            return
        if child._linger_until is None:
            child._linger_until = now + LINGER_SECONDS
        if child._output < 0 or now >= child._linger_until:
            self._finish(child)

    def _outlived(self, child: Child, now: float) -> bool:
        """Whether what it began is over, too: it has the rest of the grace, and not much of that
        if nobody can see what it still does."""
        if child._output < 0:
            child._kill_at = min(child._kill_at, now + QUIET_SECONDS)
        if now >= child._kill_at:
            self._kill(child, now)
        elif now >= child._look_at:
            child._look_at = now + _FAMILY_LOOK_SECONDS
            child._killed = not child.family.living()
        child._linger_until = None if child._killed else min(child._kill_at, child._look_at)
        return child._killed

    def _look(self, child: Child, now: float) -> None:
        """See whether a child has ended, where nothing announces it.

        Looking reaps, and a reaped pid may be given away: a group that is still to be killed is
        therefore not looked at before it was killed, unless its output has ended.
        """
        if now < child._look_at:
            return
        if child.stopping and child._output >= 0 and now < child._kill_at:
            child._look_at = child._kill_at
            return
        if self._reap(child):
            child._exited = True
        first, longest = _LOOK_SECONDS
        child._look_pause = min(longest, max(first, child._look_pause * 2))
        child._look_at = now + child._look_pause

    # ending

    def _terminate(self, child: Child, grace_seconds: float) -> None:
        kill_at = self.clock.monotonic() + grace_seconds
        if child._kill_at == float("inf"):
            child.family.ask()
            child._linger_until = None
        child._kill_at = min(child._kill_at, kill_at)

    def _kill(self, child: Child, now: float) -> None:
        child.family.kill(self.clock, 0)
        child._killed = True
        child._give_up_at = now + GIVE_UP_SECONDS
        child._look_at = child._look_pause = 0.0

    def _reap(self, child: Child) -> bool:
        """Collect the exit status, if there is one yet."""
        if child._status is not None:
            return True
        try:
            pid, status = child.collect()
        except ChildProcessError:
            child._status = -1  # Somebody else collected it; nobody knows how it ended.
            return True
        if pid:
            child._status = status
            child.family.forget_sessions()  # The number may be somebody else's from now on.
        return bool(pid)

    def _finish(self, child: Child) -> None:
        left = self._end_rest(child) if child.stopping else ()
        self._adoption.over(child.mark)
        self._reap(child)
        held_open = child._output >= 0
        self._close_output(child)
        if child._exit_fd >= 0:
            self._hear_exit(child)
        if child._channel is not None:
            self._close_channel(child)
        self._children.remove(child)
        known = child._status is not None and child._status >= 0
        value = os.waitstatus_to_exitcode(child._status or 0) if known else None
        finished_ms, finished = child.ended_at(self.clock)
        child._process.returncode = 0  # Popen must not wait for it again.
        self._ended.append(
            End(
                child,
                value if value is not None and value >= 0 else None,
                -value if value is not None and value < 0 else None,
                child.timed_out,
                child.cancelled,
                child.started_ms,
                finished_ms,
                finished - child._started,
                held_open,
                left,
            )
        )

    def _end_rest(self, child: Child) -> tuple[str, ...]:
        """Kill what took no notice of SIGTERM; what is left even so, in words."""
        # A child that was given up is waited for no longer; its own end is told apart.
        seconds = KILL_SECONDS if child._exited else 0.0
        left = [one for one in child.family.kill(self.clock, seconds) if one.pid != child.pid]
        unclear = self._adoption.unclear.get(child.mark, [])
        return (
            *(one.words for one in left),
            *(f"{one.words}, if it is its own" for one in unclear),
        )

    def _close_output(self, child: Child) -> None:
        if child._output >= 0:
            self._selector.unregister(child._output)
            child._output = -1
            assert child._process.stdout is not None
            child._process.stdout.close()

    def _close_channel(self, child: Child) -> None:
        channel = child._channel
        assert channel is not None
        for _ in range(_LAST_MESSAGES):
            if channel.incoming < 0 or not self._hear_channel(child):
                break
        if channel.incoming >= 0:
            self._selector.unregister(channel.incoming)
        if child._writing:
            self._selector.unregister(channel.outgoing)
        channel.close()
