"""Real children that misbehave in every way we have thought of, watched in both ways."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cxlocal.clock import SystemClock
from cxlocal.errors import Trouble
from cxlocal.processes.child import Child, End
from cxlocal.processes.identity import alive
from cxlocal.processes.start import shell
from cxlocal.processes.supervisor import LINGER_SECONDS, Supervisor

ENV = {"PATH": os.environ["PATH"]}


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.largest = 0

    def write(self, chunk: bytes) -> None:
        self.content += chunk
        self.largest = max(self.largest, len(chunk))


class Counted:
    """A sink that counts."""

    size = 0
    largest = 0

    def write(self, chunk: bytes) -> None:
        self.size += len(chunk)
        self.largest = max(self.largest, len(chunk))


@pytest.fixture(params=["announced", "looked at"])
def supervisor(request: pytest.FixtureRequest) -> Iterator[Supervisor]:
    """Both ways to notice an end; the second is what macOS uses."""
    with Supervisor(SystemClock(), announced=request.param == "announced") as watched:
        yield watched


def start(
    supervisor: Supervisor,
    command: str | list[str],
    *,
    sink: Kept | Counted | None = None,
    timeout: float | None = 20,
    grace: float = 5,
    cwd: Path | str = "/",
) -> Child:
    """Start a shell line or an argument list."""
    return supervisor.start(
        shell(command) if isinstance(command, str) else command,
        cwd=cwd,
        env=ENV,
        sink=sink or Kept(),
        timeout_seconds=timeout,
        grace_seconds=grace,
    )


def finish(supervisor: Supervisor, limit: float = 25) -> End:
    """The end of the only child."""
    ends = supervisor.wait(limit)
    assert len(ends) == 1
    return ends[0]


def gone(pid: int) -> bool:
    """Whether a pid has ended; orphans may stay zombies for a while."""
    from cxlocal.processes.identity import identity

    until = time.monotonic() + 5
    while identity(pid) is not None and time.monotonic() < until:
        time.sleep(0.02)
    return identity(pid) is None


def test_both_streams_in_order_and_the_exit_code(supervisor: Supervisor) -> None:
    sink = Kept()
    child = start(supervisor, "echo one; echo two >&2; echo three; sleep 0.3; exit 7", sink=sink)
    assert child.identity is not None and alive(*child.identity)
    end = finish(supervisor)
    assert bytes(sink.content) == b"one\ntwo\nthree\n"
    assert (end.code, end.signal, end.ok, end.words) == (7, None, False, "exit code 7")
    assert end.child is child and end.finished_ms >= end.started_ms > 0


@pytest.mark.parametrize("command", ["true", "sleep 0.1", "sleep 0.1; exit 3"])
def test_an_end_is_noted_as_it_comes_whatever_keeps_us_busy(command: str) -> None:
    before, clock = signal.getsignal(signal.SIGCHLD), SystemClock()
    with Supervisor(clock) as supervisor:
        child = start(supervisor, command, timeout=1.4)
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            pass  # as a reader of reports that hangs
        over, over_ms = clock.monotonic(), clock.now_ms()
        while clock.monotonic() < over + 1.5:
            pass
        supervisor.stop(child, "SIGINT")
        (end,) = supervisor.wait(20)
    assert not end.cancelled and not end.timed_out
    assert end.finished_ms <= over_ms + 500 and end.seconds < over + 0.5 - child._started
    assert signal.getsignal(signal.SIGCHLD) is before


def test_success_and_a_signal(supervisor: Supervisor) -> None:
    start(supervisor, "true")
    assert finish(supervisor).ok
    start(supervisor, "kill -SEGV $$")
    end = finish(supervisor)
    assert (end.code, end.signal, end.words) == (None, signal.SIGSEGV, "ended by SIGSEGV")


def test_undefined_variable_and_failing_line_end_a_shell_stage(supervisor: Supervisor) -> None:
    sink = Kept()
    start(supervisor, "false; echo reached", sink=sink)
    assert finish(supervisor).code == 1
    start(supervisor, "echo $NOT_THERE; echo reached", sink=sink)
    assert finish(supervisor).code not in (0, None)
    assert b"reached" not in sink.content


def test_gigabytes_cost_no_memory(supervisor: Supervisor) -> None:
    sink = Counted()
    size = 200 * 1024 * 1024
    start(supervisor, f"yes | head -c {size}", sink=sink)
    end = finish(supervisor)
    assert end.ok and sink.size == size
    assert sink.largest <= 65536


def test_binary_output(supervisor: Supervisor) -> None:
    sink = Kept()
    everything = bytes(range(256)) * 300
    program = f"import os; os.write(1, bytes(range(256)) * {300})"
    start(supervisor, [sys.executable, "-I", "-S", "-c", program], sink=sink)
    assert finish(supervisor).ok and bytes(sink.content) == everything


def test_time_limit_ends_the_whole_group(supervisor: Supervisor) -> None:
    sink = Kept()
    start(supervisor, "sleep 100 & echo $!; wait", sink=sink, timeout=0.4)
    end = finish(supervisor)
    assert end.timed_out and end.seconds < 3
    assert end.words == "time limit of 0.4 s reached"
    assert gone(int(sink.content))


def test_hanging_silently_with_output_closed(supervisor: Supervisor) -> None:
    start(supervisor, "exec >&- 2>&-; sleep 100", timeout=0.4)
    end = finish(supervisor)
    assert end.timed_out and 0.3 < end.seconds < 3


def test_closing_the_output_is_not_the_end(supervisor: Supervisor) -> None:
    start(supervisor, "exec >&- 2>&-; sleep 0.3; exit 5")
    end = finish(supervisor)
    assert end.code == 5 and end.seconds >= 0.3


def test_ignoring_sigterm_is_answered_with_sigkill(supervisor: Supervisor) -> None:
    sink = Kept()
    start(
        supervisor,
        "trap '' TERM; echo ready; while :; do sleep 0.1; done",
        sink=sink,
        timeout=0.4,
        grace=0.4,
    )
    end = finish(supervisor)
    assert b"ready" in sink.content
    assert end.timed_out and end.signal == signal.SIGKILL and 0.7 < end.seconds < 4


def test_cleaning_up_within_the_grace(supervisor: Supervisor) -> None:
    sink = Kept()
    command = (
        "trap 'sleep 0.3; echo cleaned; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    )
    child = start(supervisor, command, sink=sink)
    while b"ready" not in sink.content:
        assert supervisor.wait(0.05) == []
    supervisor.stop(child, "SIGINT")
    end = finish(supervisor)
    assert b"cleaned" in sink.content
    assert (end.code, end.cancelled, end.words) == (3, "SIGINT", "cancelled: SIGINT")


def test_members_of_the_group_get_the_same_grace(supervisor: Supervisor) -> None:
    """The shell dies at once, its child is still tidying up."""
    sink = Kept()
    inner = "trap 'sleep 0.4; echo tidy; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    child = start(supervisor, f'sh -c "{inner}"; echo not reached', sink=sink)
    while b"ready" not in sink.content:
        supervisor.wait(0.05)
    supervisor.stop(child, "enough")
    end = finish(supervisor)
    assert b"tidy" in sink.content and end.seconds < 4


def test_a_stubborn_member_is_killed_after_the_grace(supervisor: Supervisor) -> None:
    sink = Kept()
    inner = "trap '' TERM; echo $$; while :; do sleep 0.05; done"
    start(
        supervisor,
        f"sh -c '{inner.replace(chr(39), chr(34))}'; :",
        sink=sink,
        timeout=0.4,
        grace=0.4,
    )
    end = finish(supervisor)
    assert end.timed_out and end.seconds < 4
    assert gone(int(sink.content.split()[0]))


def test_a_silent_member_that_ignores_sigterm_goes_with_its_leader(supervisor: Supervisor) -> None:
    """Its output has ended, so nothing is waited for; it must not be forgotten."""
    sink = Kept()
    inner = "trap '' TERM; echo $$; exec >&- 2>&-; while :; do sleep 0.05; done"
    child = start(
        supervisor, f'sh -c "{inner.replace("$", chr(92) + "$")}" & exec >&- 2>&-; wait', sink=sink
    )
    while not sink.content:
        supervisor.wait(0.05)
    supervisor.stop(child, "enough")
    assert finish(supervisor).seconds < 3
    assert gone(int(sink.content))


def test_a_suspended_child_can_be_ended(supervisor: Supervisor) -> None:
    child = start(supervisor, "sleep 100")
    os.kill(child.pid, signal.SIGSTOP)
    assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
    supervisor.stop(child, "enough")
    assert finish(supervisor).seconds < 3


def test_a_process_left_behind_does_not_hold_up_the_stage(supervisor: Supervisor) -> None:
    sink = Kept()
    start(supervisor, "echo said; sleep 30 & echo $!", sink=sink)
    end = finish(supervisor)
    said, pid = sink.content.split()
    assert said == b"said" and end.ok and end.held_open
    assert end.seconds < LINGER_SECONDS + 2
    os.kill(int(pid), signal.SIGKILL)


def test_a_leftover_in_a_session_of_its_own_that_never_stops_talking(
    supervisor: Supervisor,
) -> None:
    sink = Counted()
    pid_file = Path(os.environ.get("TMPDIR", "/tmp")) / f"chatter-{os.getpid()}-{id(sink)}"
    start(supervisor, f"setsid sh -c 'echo $$ > {pid_file}; exec yes' & sleep 0.2", sink=sink)
    end = finish(supervisor)
    assert end.ok and end.held_open and end.seconds < 3
    assert gone(int(pid_file.read_text()))  # SIGPIPE, once nobody reads
    pid_file.unlink()


def test_last_words_of_a_leftover_are_heard(supervisor: Supervisor) -> None:
    sink = Kept()
    start(supervisor, "(sleep 0.05; echo late) &", sink=sink)
    end = finish(supervisor)
    assert end.ok and not end.held_open and bytes(sink.content) == b"late\n"


def test_everything_printed_before_the_end_is_read(supervisor: Supervisor) -> None:
    sink = Counted()
    start(supervisor, "sleep 5 & head -c 60000 /dev/zero", sink=sink)
    assert finish(supervisor).held_open
    assert sink.size == 60000


def test_several_at_once(supervisor: Supervisor) -> None:
    began = time.monotonic()
    sinks = [Kept() for _ in range(4)]
    for index, sink in enumerate(sinks):
        start(supervisor, f"sleep 0.3; echo {index}; exit {index}", sink=sink)
    ends: list[End] = []
    while supervisor.children:
        ends += supervisor.wait(10)
    assert sorted(end.code or 0 for end in ends) == [0, 1, 2, 3]
    assert [bytes(sink.content) for sink in sinks] == [b"0\n", b"1\n", b"2\n", b"3\n"]
    assert time.monotonic() - began < 1.1


def test_cancel_all_and_a_second_call_that_shortens_the_grace(supervisor: Supervisor) -> None:
    sinks = [Kept(), Kept()]
    for sink in sinks:
        start(supervisor, "trap '' TERM; echo r; while :; do sleep 0.05; done", sink=sink)
    while not all(sink.content for sink in sinks):
        supervisor.wait(0.05)
    supervisor.cancel_all("SIGINT", grace_seconds=60)
    assert supervisor.wait(0.3) == []
    supervisor.cancel_all("SIGINT again", grace_seconds=0)
    ends: list[End] = []
    while supervisor.children:
        ends += supervisor.wait(5)
    assert {end.cancelled for end in ends} == {"SIGINT"}
    assert {end.signal for end in ends} == {signal.SIGKILL}


def test_wait_without_children_and_waking(supervisor: Supervisor) -> None:
    assert supervisor.wait(None) == []
    began = time.monotonic()
    assert supervisor.wait(0.2) == []
    assert time.monotonic() - began >= 0.19
    previous = signal.signal(signal.SIGUSR1, lambda *_: supervisor.wake())
    try:
        child = start(supervisor, f"sleep 0.2; kill -USR1 {os.getpid()}; sleep 100")
        assert supervisor.wait(20) == []
        assert time.monotonic() - began < 10
        supervisor.stop(child, "woken", grace_seconds=0)
        assert finish(supervisor).cancelled == "woken"
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_leaving_kills_what_is_left() -> None:
    with Supervisor(SystemClock()) as supervisor:
        child = start(supervisor, "trap '' TERM; while :; do sleep 0.05; done", timeout=None)
    assert gone(child.pid)


def test_an_end_somebody_else_collected_is_never_success(supervisor: Supervisor) -> None:
    child = start(supervisor, "exit 0")
    os.waitpid(child.pid, 0)
    end = finish(supervisor)
    assert not end.ok and end.code is None and "not seen" in end.words


def test_an_ignored_sigchld_does_not_hide_ends() -> None:
    previous = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with Supervisor(SystemClock()) as supervisor:
            start(supervisor, "exit 4")
            assert finish(supervisor).code == 4
    finally:
        signal.signal(signal.SIGCHLD, previous)


def test_input_is_handed_on(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"given\n")
    sink = Kept()
    with (tmp_path / "in").open("rb") as file:
        supervisor.start(
            ["cat"], cwd="/", env=ENV, sink=sink, timeout_seconds=5, stdin=file.fileno()
        )
        assert finish(supervisor).ok
    start(supervisor, "cat; echo end", sink=sink)
    assert finish(supervisor).ok and bytes(sink.content) == b"given\nend\n"


def test_what_cannot_be_started_is_named(supervisor: Supervisor, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("true\n")
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x00\x01\x02")
    garbage.chmod(0o755)
    orphan = tmp_path / "orphan"
    orphan.write_text("#!/no/such/interpreter\n")
    orphan.chmod(0o755)
    cases: list[tuple[list[str], Path, str, str]] = [
        (["no-such-tool-anywhere"], tmp_path, "program-missing", "on PATH"),
        (["./not-here"], tmp_path, "program-missing", "no such file"),
        ([str(orphan)], tmp_path, "program-missing", "interpreter"),
        ([str(plain)], tmp_path, "program-not-executable", "not executable"),
        ([str(garbage)], tmp_path, "program-not-executable", "neither"),
        (["true"], tmp_path / "nowhere", "bad-folder", "no such folder"),
        (["true", "a\0b"], tmp_path, "not-started", "null byte"),
        (["true", "x" * 20_000_000], tmp_path, "not-started", "too long"),
        ([], tmp_path, "not-started", ""),
    ]
    for argv, cwd, name, words in cases:
        with pytest.raises(Trouble) as caught:
            start(supervisor, argv, cwd=cwd)
        assert caught.value.name == name, argv
        assert words in caught.value.why
    assert supervisor.children == ()


def test_no_descriptors_leak(supervisor: Supervisor) -> None:
    def count() -> int:
        return len(os.listdir("/dev/fd"))

    before = count()
    for _ in range(4):
        start(supervisor, "sleep 2 & :")
        finish(supervisor)
        with pytest.raises(Trouble):
            start(supervisor, ["no-such-tool-anywhere"])
    assert count() == before
