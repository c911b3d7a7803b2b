"""Whatever a program begins, and however it hides it, ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.clock import SystemClock
from cxlocal.processes import family
from cxlocal.processes.child import End
from cxlocal.processes.family import MARK, Family, Process, Sought, marked, members
from cxlocal.processes.identity import identity
from cxlocal.processes.start import shell
from cxlocal.processes.supervisor import Supervisor

ENV = {"PATH": os.environ["PATH"]}

PYTHON_DAEMON = (
    "import os, signal, sys\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "middle = os.getpid()\n"
    "if os.fork(): os._exit(0)\n"
    "while os.getppid() == middle: pass\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "os.closerange(0, 3)\n"
    "open(sys.argv[1] + '.new', 'w').write(f'{os.getpid()}\\n')\n"
    "os.rename(sys.argv[1] + '.new', sys.argv[1])\n"
    "while True: signal.pause()\n"
)
"""As books tell it, and deaf; it says its number once it is an orphan."""

SLEEP = "sh -c 'echo $$ > PID.new; mv PID.new PID; exec sleep 100'"
QUIET = "</dev/null >/dev/null 2>&1"
WAYS = {
    "in the foreground": SLEEP,
    "in the background": f"{SLEEP} &",
    "a group of its own (timeout)": f"timeout 90 {SLEEP}",
    "job control": f"set -m; {SLEEP} & wait",
    "nohup": f"nohup {SLEEP} {QUIET} &",
    "a session of its own": f"setsid {SLEEP} {QUIET} &",
    "a session, its parent gone": f"setsid -f {SLEEP} {QUIET}",
    "an empty environment": f"env -i PATH=$PATH {SLEEP} &",
    "an empty environment in a session": f"env -i PATH=$PATH setsid {SLEEP} {QUIET} &",
    "an empty environment in a session, its parent gone": (
        f"env -i PATH=$PATH setsid -f {SLEEP} {QUIET}"
    ),
    "two forks, deaf": 'python -I -S -c "$DAEMON" PID',
    "two forks, deaf, an empty environment": 'env -i python -I -S -c "$DAEMON" PID',
    "deaf": "trap '' TERM; echo $$ > PID.new; mv PID.new PID; while :; do sleep 0.1; done",
    "a deaf grandchild in a group of its own": (
        'timeout 90 sh -c \'trap "" TERM; echo $$ > PID.new; mv PID.new PID;'
        " while :; do sleep 0.1; done'"
    ),
    "a leader that is gone": f"({SLEEP} &) ; exec sleep 100",
}
UNCLEAR = {
    "an empty environment in a session, its parent gone",
    "two forks, deaf, an empty environment",
}
"""Where two programs run, either may have begun it."""


class Nothing:
    """A sink."""

    def write(self, chunk: bytes) -> None:
        """Take it."""


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Supervisor(SystemClock()) as watched:
        yield watched


def begin(supervisor: Supervisor, command: str, pid: Path, **limits: float) -> None:
    """Start a shell line in which PID stands for a file."""
    text = command.replace("PID", str(pid)).replace("python", sys.executable)
    supervisor.start(
        shell(f"{text}\n:"), cwd="/", env={**ENV, "DAEMON": PYTHON_DAEMON}, sink=Nothing(),
        timeout_seconds=limits.get("timeout", 30), grace_seconds=limits.get("grace", 0.3),
        tag=str(pid),
    )  # fmt: skip


def await_pid(supervisor: Supervisor, pid: Path) -> tuple[int, list[End]]:
    """What the line has written, and what has ended meanwhile."""
    ends: list[End] = []
    until = time.monotonic() + 20
    # A shell makes the file before it writes the number.
    while not (pid.exists() and pid.read_text().endswith("\n")) and time.monotonic() < until:
        ends += supervisor.wait(0.02)
    return int(pid.read_text()), ends


def gone(pid: int) -> bool:
    """Whether a process has ended, or does within a moment."""
    until = time.monotonic() + 3
    while identity(pid) is not None and time.monotonic() < until:
        time.sleep(0.01)
    return identity(pid) is None


@pytest.mark.parametrize("way", WAYS)
def test_it_ends_with_what_began_it(supervisor: Supervisor, tmp_path: Path, way: str) -> None:
    file = tmp_path / "pid"
    # The line itself goes on: what it began is told by more than by its standing there alone.
    begin(supervisor, f"{WAYS[way]}\nsleep 100", file)
    pid, ends = await_pid(supervisor, file)
    assert not ends and identity(pid) is not None
    supervisor.cancel_all("enough")
    (end,) = supervisor.wait(20)
    assert gone(pid)
    assert end.words == "cancelled: enough"


@pytest.mark.parametrize("way", [way for way in WAYS if way not in UNCLEAR])
def test_at_the_limit_too_and_beside_another_that_goes_on(
    supervisor: Supervisor, tmp_path: Path, way: str
) -> None:
    other = tmp_path / "other"
    begin(supervisor, SLEEP, other)
    other_pid, _ = await_pid(supervisor, other)
    file = tmp_path / "pid"
    begin(supervisor, f"{WAYS[way]}\nsleep 100", file, timeout=1.5, grace=0.2)
    pid, _ = await_pid(supervisor, file)
    (end,) = supervisor.wait(20)
    assert end.timed_out and end.child.tag == str(file)
    assert gone(pid) and identity(other_pid) is not None


def test_an_orphan_that_may_be_anothers_is_left_and_said(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    other, file = tmp_path / "other", tmp_path / "pid"
    begin(supervisor, SLEEP, other)
    await_pid(supervisor, other)
    way = WAYS["an empty environment in a session, its parent gone"]
    begin(supervisor, f"{way}\nsleep 100", file)
    pid, _ = await_pid(supervisor, file)
    child = next(one for one in supervisor.children if one.tag == str(file))
    supervisor.stop(child, "enough")
    (end,) = supervisor.wait(20)
    assert end.words == f"cancelled: enough; still running: {pid} (sleep), if it is its own"
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("way", [way for way in WAYS if "its parent gone" in way or "forks" in way])
def test_after_a_success_nothing_is_ended(supervisor: Supervisor, tmp_path: Path, way: str) -> None:
    file = tmp_path / "pid"
    begin(supervisor, WAYS[way], file)
    pid, ends = await_pid(supervisor, file)
    (end,) = ends or supervisor.wait(20)
    assert end.ok and identity(pid) is not None
    # Nor when the next one is ended.
    begin(supervisor, "sleep 100", tmp_path / "next")
    supervisor.cancel_all("enough")
    supervisor.wait(20)
    assert identity(pid) is not None
    os.kill(pid, signal.SIGKILL)


def test_what_is_tidying_up_in_the_background_has_a_moment(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    file, done = tmp_path / "pid", tmp_path / "done"
    server = (
        f'trap "sleep 0.2; touch {done}; exit" TERM; echo $$ > PID; while :; do sleep 0.02; done'
    )
    begin(supervisor, f"setsid -f sh -c '{server}' {QUIET}\nsleep 100", file, grace=5)
    await_pid(supervisor, file)
    began = time.monotonic()
    supervisor.cancel_all("enough")
    supervisor.wait(20)
    assert done.exists() and time.monotonic() - began < 3


def test_orphans_that_ended_keep_no_number(tmp_path: Path) -> None:
    with Supervisor(SystemClock()) as supervisor:
        file = tmp_path / "pid"
        begin(supervisor, f"setsid -f sh -c 'echo $$ > PID' {QUIET}", file)
        pid, ends = await_pid(supervisor, file)
        if not ends:
            supervisor.wait(20)
        assert gone(pid)
        for _ in range(2):
            supervisor._adoption.tidy()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("by_ps", [False, True], ids=["proc", "ps"])
def test_both_ways_to_look_see_the_same(by_ps: bool) -> None:
    token = "ab" * 16
    child = subprocess.Popen(["sleep", "60"], env={**ENV, MARK: f"{'0' * 32}:{token}"},
                             start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while Path(f"/proc/{child.pid}/comm").read_text() != "sleep\n":
            assert time.monotonic() < deadline, "it does not become the program"
        (found,) = [one for one in family.snapshot(by_ps=by_ps) if token in one.marks]
        assert (found.pid, found.parent, found.group) == (child.pid, os.getpid(), child.pid)
        assert (found.session, found.name) == (child.pid, "sleep")
        assert found.marks == {"0" * 32, token}
        assert found.words == f"{child.pid} (sleep)"
    finally:
        child.kill()
        child.wait()


def test_a_mark_is_added_to_those_of_the_stage_we_run_in() -> None:
    assert marked({}, "aa", "", "bb") == "aa:bb"
    assert marked({MARK: "aa"}, "bb") == "aa:bb"
    assert family.word("0123456789abcdef" * 2) and not family.word("12; rm")


def test_we_are_never_of_the_family() -> None:
    """A command started by what an earlier run left behind has that run's mark itself."""
    token = "cd" * 16
    code = (
        "import sys; from cxlocal.clock import SystemClock as C;"
        " from cxlocal.processes.family import Family, Sought;"
        f" Family(Sought(frozenset(['{token}']))).kill(C(), 1); print('alive')"
    )
    line = f'sleep 60 & {sys.executable} -c "{code}"; kill $! 2>/dev/null || echo ended'
    done = subprocess.run(["sh", "-c", line], env={**ENV, MARK: token}, capture_output=True,
                          text=True, timeout=30, check=False)  # fmt: skip
    assert done.stdout == "alive\nended\n"


PIDS = st.integers(2, 12)
PROCESSES = st.lists(
    st.builds(
        Process, PIDS, PIDS, PIDS, PIDS, st.just("1"), st.just("x"),
        st.frozensets(st.sampled_from(["ours", "other"])),
    ),
    unique_by=lambda one: one.pid, max_size=10,
)  # fmt: skip


@given(PROCESSES, st.sets(PIDS, max_size=3))
def test_a_family_is_closed_and_spares_whom_it_must(seen: list[Process], spare: set[int]) -> None:
    sought = Sought(frozenset(["ours"]), spared=frozenset(["other"]))
    found = members(seen, sought, spare)
    pids = {one.pid for one in found}
    foreign = {one.session for one in seen if one.pid in spare}
    sessions = {one.session for one in found} - foreign
    assert not pids & spare and not any("other" in one.marks for one in found)
    for one in seen:
        belongs = "ours" in one.marks or one.parent in pids or one.session in sessions
        if belongs and one.pid not in spare and "other" not in one.marks:
            assert one.pid in pids


def test_end_waits_for_the_grace_and_says_who_is_left() -> None:
    token = "ef" * 16
    line = "trap '' TERM; echo r; while :; do sleep 0.05; done"
    child = subprocess.Popen(["sh", "-c", line], env={**ENV, MARK: token}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
    found = Family(Sought(frozenset([token])))
    began = time.monotonic()
    assert found.end(SystemClock(), grace_seconds=0.3, seconds=2) == []
    assert time.monotonic() - began >= 0.3
    assert child.wait(5) == -signal.SIGKILL
