"""What a run, a deployment or an environment has begun ends with it, however it hides."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal
from cxlocal.processes.identity import identity
from cxlocal.runner.environments import close_environment
from cxlocal.runner.record import RunRecord

PROGRAM = "sh -c 'echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 300'"
QUIET = "</dev/null >/dev/null 2>&1"
WAYS = {
    "group": f"timeout 300 {PROGRAM}",
    "session": f"setsid -f {PROGRAM} {QUIET}; sleep 300",
    "cleared": f"env -i PATH=$PATH setsid -f {PROGRAM} {QUIET}; sleep 300",
}
SERVICE = f"setsid -f {PROGRAM} {QUIET}; while [ ! -e {{pid}} ]; do sleep 0.02; done"
STAGES = """
[stages]
a = {{ kind = "build", command = "echo $CXLOCAL_VERSION > app.txt", produces = {{ app = "app.txt" }} }}
[stages.live]
kind = "deploy"
command = '''
{command}
echo switched'''
needs = ["a"]
environment = "production"
{limit}
[environments]
production = {{ title = "Live" }}
"""


@pytest.fixture
def pid(tmp_path: Path) -> Iterator[Path]:
    """Where a program writes who it is. It is ended in any case."""
    path = tmp_path / "pid"
    yield path
    if path.exists() and identity(int(path.read_text())):
        os.kill(int(path.read_text()), signal.SIGKILL)


def awaited(condition: Callable[[], object], seconds: float = 20) -> bool:
    """Whether it comes about."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return bool(condition())


def running(pid: Path) -> bool:
    """Whether the program runs."""
    return identity(int(pid.read_text())) is not None


def ended(pid: Path) -> bool:
    """Whether the program has ended, or does within a moment."""
    return awaited(lambda: not running(pid), 2)


def write(shop: Any, way: str, pid: Path, limit: str = "") -> None:
    """A project that deploys so."""
    shop.write(STAGES.format(command=way.format(pid=pid), limit=limit))


def begun(shop: Any, pid: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A command whose program runs."""
    process: subprocess.Popen[bytes] = shop.start(*arguments)
    assert awaited(pid.exists), process.communicate(timeout=10)
    return process


@pytest.mark.parametrize("way", WAYS)
def test_at_a_time_limit(shop: Any, pid: Path, way: str) -> None:
    write(shop, WAYS[way], pid, 'timeout = "2s"')
    done = shop.run("--to", "production")
    assert done.code == 9 and "time limit of 2.0 s reached\n" in done.err
    assert ended(pid)


@pytest.mark.parametrize("way", WAYS)
def test_at_a_signal(shop: Any, pid: Path, way: str) -> None:
    write(shop, WAYS[way], pid)
    process = begun(shop, pid, "run", "--to", "production")
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert ended(pid) and shop.outcomes() == {"a": "success", "live": "cancel"}


def test_at_a_second_signal(shop: Any, pid: Path) -> None:
    deaf = "sh -c 'trap : TERM; echo $$ > {pid}.new; mv {pid}.new {pid}; while :; do sleep 1; done'"
    write(shop, f"setsid -f {deaf} {QUIET}; trap : TERM; while :; do sleep 1; done", pid)
    process = begun(shop, pid, "run", "--to", "production")
    process.terminate()
    assert process.stderr is not None
    while b"stopping; once more" not in process.stderr.readline():
        pass
    process.terminate()
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGTERM and ended(pid)


@pytest.mark.parametrize("way", WAYS)
def test_after_kill_9_by_the_next_command(shop: Any, pid: Path, way: str) -> None:
    line = WAYS[way]
    if way == "cleared":
        # Nobody adopted it when we were killed: it has to be in sight still.
        line = f"env -i PATH=$PATH setsid {PROGRAM}"
    write(shop, line, pid)
    process = begun(shop, pid, "run", "--to", "production")
    process.kill()
    process.communicate()
    assert running(pid)
    assert "had been cut off" in shop.command("env", "reap").err
    assert ended(pid) and shop.outcomes() == {"a": "success", "live": "error"}


@pytest.mark.parametrize("after", [("deploy", "0.1.0", "--to", "production"), ("env", "reap")])
def test_a_deployment_that_was_killed(shop: Any, pid: Path, after: tuple[str, ...]) -> None:
    """It would come to its end after the one that follows it, and change what is live."""
    line = "[ -e {pid}.go ] || exit 0; rm {pid}.go; " + WAYS["session"]
    write(shop, line, pid)
    assert shop.run("--to", "production").code == 0
    Path(f"{pid}.go").touch()
    process = begun(shop, pid, "deploy", "0.1.0", "--to", "production")
    process.kill()
    process.communicate()
    assert running(pid)
    done = shop.command(*after)
    assert done.code == 0, done.err
    assert ended(pid)


def test_after_a_success_nothing_is_ended_until_the_environment_is(shop: Any, pid: Path) -> None:
    write(shop, SERVICE, pid)
    assert shop.run("--to", "production").code == 0
    # Nor by a later run that is cut off.
    hold = pid.with_name("hold")
    shop.write(f'[stages]\nb = {{ command = "touch {hold}; sleep 300" }}\n')
    process = begun(shop, hold, "run")
    process.kill()
    process.communicate()
    hold.write_text("0")
    assert "had been cut off" in shop.command("env", "reap").err
    assert running(pid)
    done = shop.command("env", "destroy", "production", "--yes", "-m", "no longer needed")
    assert done.code == 0, done.err
    assert ended(pid)


PER_RUN = """
[stages]
up = {{ kind = "deploy", command = '''{command}''', environment = "test" }}
smoke = {{ kind = "test", command = '''kill -0 $(cat {pid}) {more}''', needs = ["up"], environment = "test" }}
[environments]
test = {{ lifetime = "per-run" }}
"""


def test_an_environment_of_one_run_ends_with_all_that_runs_in_it(shop: Any, pid: Path) -> None:
    shop.write(PER_RUN.format(command=SERVICE.format(pid=pid), pid=pid, more=""))
    done = shop.run()
    assert done.code == 0, done.err
    assert ended(pid)
    assert shop.query("SELECT count(*) FROM environment WHERE deleted_at IS NULL") == [0]


def test_and_when_its_run_was_killed(shop: Any, pid: Path) -> None:
    flag = pid.with_name("flag")
    more = f"&& touch {flag} && sleep 300"
    shop.write(PER_RUN.format(command=SERVICE.format(pid=pid), pid=pid, more=more))
    process = begun(shop, pid, "run")
    assert awaited(flag.exists)
    process.kill()
    process.communicate()
    shop.command("env", "reap")
    assert ended(pid)
    assert shop.query("SELECT count(*) FROM environment WHERE deleted_at IS NULL") == [0]


def test_an_environment_in_which_something_goes_on_is_not_gone(
    shop: Any, pid: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(shop, SERVICE, pid)
    assert shop.run("--to", "production").code == 0

    def refuse(number: int, signal_number: int) -> None:
        raise PermissionError  # as for a process of another user

    with Journal.open(shop.home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        record = RunRecord.attach(journal, shop.last())
        with monkeypatch.context() as patch:
            patch.setattr("cxlocal.processes.family.os.kill", refuse)
            words = (f"{pid.read_text().strip()} (sleep)",)
            where = ("production", "production", "no longer needed")
            assert close_environment(record, *where, hurried=True) == words
        assert shop.query("SELECT kind, subject FROM open_flags") == [
            ("not-destroyed", "production")
        ]
        assert close_environment(record, *where) == ()
    assert ended(pid)
    assert shop.query("SELECT count(*) FROM open_flags") == [0]
