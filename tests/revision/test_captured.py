"""Programs whose whole answer is taken at once."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cxlocal.errors import Trouble
from cxlocal.processes.family import traced
from cxlocal.processes.identity import identity
from cxlocal.processes.start import run_captured


def test_the_answer_of_a_program(tmp_path: Path) -> None:
    done = run_captured(
        ["/bin/sh", "-c", "pwd; echo $X; echo no >&2; exit 3"],
        cwd=tmp_path, env={"X": "y", "PATH": os.environ["PATH"]}, timeout_seconds=10,
    )  # fmt: skip
    assert done.code == 3
    assert done.stdout == f"{tmp_path}\ny\n".encode()
    assert (done.stderr, done.timed_out, done.truncated) == (b"no\n", False, False)


def test_input_and_its_end(tmp_path: Path) -> None:
    big = os.urandom(500_000)
    assert run_captured(["cat"], cwd=tmp_path, timeout_seconds=10, input=big).stdout == big
    assert run_captured(["cat"], cwd=tmp_path, timeout_seconds=10).stdout == b""
    assert run_captured(["true"], cwd=tmp_path, timeout_seconds=10, input=big).code == 0


def test_the_whole_group_ends_at_the_limit(tmp_path: Path) -> None:
    began = time.monotonic()
    script = f"(trap '' TERM; sleep 2; touch {tmp_path}/late) & wait"
    done = run_captured(["/bin/sh", "-c", script], cwd=tmp_path, timeout_seconds=0.3)
    assert (done.timed_out, done.code) == (True, -9)
    assert time.monotonic() - began < 1.5
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


def test_a_program_that_closes_its_output_and_stays(tmp_path: Path) -> None:
    done = run_captured(
        ["/bin/sh", "-c", "exec >&- 2>&-; exec sleep 30"], cwd=tmp_path, timeout_seconds=0.3
    )
    assert done.timed_out


def test_what_a_program_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    done = run_captured(["/bin/sh", "-c", "sleep 5 & echo hi"], cwd=tmp_path, timeout_seconds=30)
    assert (done.stdout, done.code) == (b"hi\n", 0)
    assert time.monotonic() - began < 3


def test_endless_output_is_bounded(tmp_path: Path) -> None:
    done = run_captured(["yes"], cwd=tmp_path, timeout_seconds=0.5, output_limit=1000)
    assert (len(done.stdout), done.truncated, done.timed_out) == (1000, True, True)


def test_no_shell_and_no_terminal(tmp_path: Path) -> None:
    assert run_captured(["echo", "$HOME;ls"], cwd=tmp_path, timeout_seconds=9).stdout == (
        b"$HOME;ls\n"
    )
    asked = run_captured(["/bin/sh", "-c", "read x </dev/tty"], cwd=tmp_path, timeout_seconds=9)
    assert asked.code != 0 and not asked.timed_out


def test_what_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(Trouble) as error:
        run_captured(["no-such-program-here"], cwd=tmp_path, timeout_seconds=1)
    assert error.value.name == "program-missing"
    with pytest.raises(Trouble) as error:
        run_captured(["true"], cwd=tmp_path / "gone", timeout_seconds=1)
    assert error.value.name != "program-missing"
    with pytest.raises(Trouble):
        run_captured(["tr\0ue"], cwd=tmp_path, timeout_seconds=1)


HIDING = {
    "a group": "sh -c '{work}' & wait",
    "a session": "setsid sh -c '{work}' & wait",
    "two forks": "(setsid sh -c '{work}' &) ; sleep 60",
    "nohup and no output": "nohup setsid sh -c '{work}' >/dev/null 2>&1 & exec >&- 2>&-; sleep 60",
    "another limit": "timeout 60 sh -c '{work}'",
}


@pytest.mark.parametrize("how", HIDING)
def test_what_is_traced_ends_with_all_it_began(tmp_path: Path, how: str) -> None:
    work = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    env, kill = traced(os.environ)
    script = HIDING[how].format(work=work)
    done = run_captured(
        ["/bin/sh", "-c", script], cwd=tmp_path, env=env, kill=kill, timeout_seconds=0.5
    )
    assert done.timed_out
    assert identity(int((tmp_path / "pid").read_text())) is None
