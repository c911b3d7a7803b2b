"""Workers that are divided from what stands ready: each alone, however it goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock
from cxlocal.errors import Trouble
from cxlocal.processes import forker
from cxlocal.processes.channel import Channel
from cxlocal.processes.child import End
from cxlocal.processes.family import Family, Sought
from cxlocal.processes.forker import READY_AT_ONCE, Script
from cxlocal.processes.identity import identity
from cxlocal.processes.supervisor import Supervisor

ENV = {"PATH": os.environ["PATH"]}
SCRIPT = """\
import json, os, sys
from cxlocal.processes.forking import serve
begun = serve(int(sys.argv[1]))
def tell(value):
    os.write(begun.writes, json.dumps(value).encode() + b"\\n")
exec(json.loads(begun.request))
"""
HIDES = """
if not os.fork():
    os.setsid()
    if not os.fork():
        os.environ.clear()
        tell(os.getpid())
        import time; time.sleep(60)
    os._exit(0)
import time; time.sleep(60)
"""


class Said:
    """Takes output, and hears what a worker tells."""

    def __init__(self) -> None:
        self.output = b""
        self.told: list[Any] = []

    def write(self, chunk: bytes) -> None:
        self.output += chunk

    def hear(self, line: bytes) -> None:
        self.told.append(json.loads(line))


Begin = Callable[..., Said]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Workers that carry out the text they are told."""
    (tmp_path / "stem.py").write_text(SCRIPT)
    return Script(tmp_path / "stem.py")


@pytest.fixture(params=["announced", "looked at"])
def supervisor(request: pytest.FixtureRequest) -> Iterator[Supervisor]:
    """Both ways to notice an end."""
    with Supervisor(SystemClock(), announced=request.param == "announced") as watched:
        yield watched


def begin(
    supervisor: Supervisor, script: Script, code: str, *, cwd: Path | str = "/",
    timeout: float = 20, grace: float = 5, **variables: str,
) -> Said:  # fmt: skip
    said = Said()
    channel = Channel(said.hear)
    channel.send(json.dumps(code).encode())
    supervisor.start_worker(
        script, cwd=cwd, env={**ENV, **variables}, sink=said, timeout_seconds=timeout,
        control=channel, grace_seconds=grace,
    )  # fmt: skip
    return said


def finish(supervisor: Supervisor) -> End:
    (end,) = supervisor.wait(25)
    return end


def done(supervisor: Supervisor, script: Script, code: str, **rest: Any) -> Any:
    """The one thing that a worker tells."""
    said = begin(supervisor, script, code, **rest)
    end = finish(supervisor)
    assert end.ok, (end.words, said.output)
    [told] = said.told
    return told


def gone(pid: int) -> bool:
    until = time.monotonic() + 5
    while identity(pid) is not None and time.monotonic() < until:
        time.sleep(0.02)
    return identity(pid) is None


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("", "exit code 0"),
        ("sys.exit(4)", "exit code 4"),
        ("os._exit(3)", "exit code 3"),
        ("1 / 0", "exit code 1"),
        ("os.kill(os.getpid(), 11)", "ended by SIGSEGV"),
    ],
)
def test_how_a_worker_ends_is_known(
    supervisor: Supervisor, script: Script, code: str, words: str
) -> None:
    said = begin(supervisor, script, f"print('begun', flush=True)\n{code}")
    assert finish(supervisor).words == words
    assert said.output.startswith(b"begun\n") and (b"ZeroDivisionError" in said.output) is (
        code == "1 / 0"
    )


def test_a_worker_has_nothing_of_the_one_before(
    supervisor: Supervisor, script: Script, tmp_path: Path
) -> None:
    look = (
        "import time; time.tzset()\n"
        "tell([os.getcwd(), os.getppid(), os.environ.get('X'), os.environ.get('TRACEPARENT'), 'left' in dir(sys),"
        " 'colorsys' in sys.modules, open('/proc/self/environ').read(), os.environ.get('CXLOCAL_A')])"
    )
    spoil = "os.environ['X'] = 'y'; os.chdir('/tmp'); sys.left = 1; import colorsys\n"
    first = done(
        supervisor, script, spoil + look, cwd=tmp_path, CXLOCAL_A="s3cret", TRACEPARENT="one"
    )
    second = done(supervisor, script, look, cwd="/", CXLOCAL_B="b")
    assert first[0] == "/tmp" and first[2:6] == ["y", "one", True, True]
    assert second[1] == first[1], "both come of the same process"
    assert second[0] == "/" and second[2:6] == [None, None, False, False] and second[7] is None
    assert "s3cret" not in first[6] + second[6] and first[7] == "s3cret"


@pytest.mark.parametrize("name", ["LANG", "TZ", "LD_LIBRARY_PATH", "TOKEN"])
def test_what_is_read_at_the_start_of_an_interpreter_is_that_of_each_worker(
    supervisor: Supervisor, script: Script, name: str
) -> None:
    look = "tell([os.getppid(), open('/proc/self/environ').read()])"
    plain, other = (
        done(supervisor, script, look),
        done(supervisor, script, look, **{name: "C.other"}),
    )
    assert plain[0] != other[0]
    assert f"{name}=C.other" in other[1] and "C.other" not in plain[1]


def test_a_worker_has_its_own_pipes_and_no_others(supervisor: Supervisor, script: Script) -> None:
    begin(supervisor, script, "import time; time.sleep(60)")
    told = done(
        supervisor, script,
        "fds = os.listdir('/proc/self/fd'); tell([len(fds), os.getsid(0) == os.getpid(), sys.stdin.read()])",
    )  # fmt: skip
    assert told == [6, True, ""], "three streams, two pipes, and the folder it looks into"


def test_modules_of_ours_are_there_before_it_begins(supervisor: Supervisor, script: Script) -> None:
    look = "tell('colorsys' in sys.modules)"
    assert done(supervisor, script, look) is False
    assert done(supervisor, script._replace(modules=("colorsys",)), look) is True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_that_ends_what_it_came_of(
    supervisor: Supervisor, script: Script, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(forker, "READY_SECONDS", 1.0)
    assert done(supervisor, script, "tell(1)") == 1
    said = begin(
        supervisor, script,
        f"stem = os.getppid(); os.kill(stem, {number}); import time; time.sleep(0.3); tell(stem); sys.exit(5)",
    )  # fmt: skip
    assert finish(supervisor).words == "exit code 5"
    assert done(supervisor, script, "tell(os.getppid())") != said.told[0]
    assert gone(said.told[0])


@pytest.mark.parametrize("ends", [True, False], ids=["its worker ends", "another is wanted"])
def test_what_stands_still_keeps_nobody_from_limits_and_signals(
    supervisor: Supervisor, script: Script, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    monkeypatch.setattr(forker, "READY_SECONDS", 40.0)
    stops = f"os.kill(os.getppid(), {int(signal.SIGSTOP)}); tell(1); import time; time.sleep({0 if ends else 60})"
    began = time.monotonic()
    said = begin(supervisor, script, stops)
    while not said.told:
        supervisor.wait(0.05)
    supervisor.start(["sleep", "60"], cwd="/", env=ENV, sink=said, timeout_seconds=0.5,
                     grace_seconds=0.2, tag="limited")  # fmt: skip
    if not ends:
        signalled = threading.Timer(0.2, supervisor.wake)
        signalled.start()
        try:
            begin(supervisor, script, "")
        except Trouble as problem:
            assert problem.name == "not-started"  # a slow machine: Python takes a second to start
        signalled.join()
    limited: list[End] = []
    while not limited and time.monotonic() - began < 25:
        limited = [one for one in supervisor.wait(1) if one.child.tag == "limited"]
    assert limited[0].timed_out and time.monotonic() - began < 15


def test_what_hides_from_its_worker_ends_with_it(supervisor: Supervisor, script: Script) -> None:
    """A session of its own, no parent left, an empty environment: the mark shows where it was started."""
    said = begin(supervisor, script, HIDES, timeout=1, grace=0.2)
    end = finish(supervisor)
    assert end.timed_out and gone(said.told[0])


def test_no_folder(supervisor: Supervisor, script: Script) -> None:
    with pytest.raises(Trouble) as problem:
        begin(supervisor, script, "", cwd="/not/there")
    assert problem.value.name == "bad-folder"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module_anywhere\n", "no_such_module_anywhere"),
        ("import os; os._exit(0)\n", "reset|ended|pipe"),
        (f"import os\ndef fork(): raise OSError(11, 'no room')\nos.fork = fork\n{SCRIPT}", "no room"),
    ],
)  # fmt: skip
def test_workers_that_cannot_be_had(
    supervisor: Supervisor, script: Script, text: str, why: str
) -> None:
    script.path.write_text(text)
    with pytest.raises(Trouble) as problem:
        begin(supervisor, script, "")
    assert problem.value.name == "not-started" and re.search(why, str(problem.value).lower())
    assert supervisor.children == ()


def test_few_stand_ready(script: Script) -> None:
    with Supervisor(SystemClock()) as supervisor:
        begin(supervisor, script, "import time; time.sleep(60)", A="busy")
        stems = [
            done(supervisor, script, "tell(os.getppid())", A=str(number))
            for number in range(READY_AT_ONCE + 2)
        ]
        assert [gone(one) for one in stems[:3]] == [True] * 3
        assert [identity(one) is None for one in stems[3:]] == [False] * (READY_AT_ONCE - 1)
    assert all(gone(one) for one in stems)


def test_what_is_killed_leaves_nothing_that_stands_ready(script: Script, tmp_path: Path) -> None:
    """Its worker is found by its mark, as every stage is."""
    code = (
        "import os, sys, time\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from test_forker import *\n"
        "with Supervisor(SystemClock()) as supervisor:\n"
        "    said = begin(supervisor, Script(Path(sys.argv[2])),\n"
        "        'tell([os.getppid(), os.getpid()]); import time; time.sleep(60)', CXLOCAL_MARK='c0ffee00c0ffee00')\n"
        "    while not said.told: supervisor.wait(0.05)\n"
        "    print(*said.told[0], flush=True)\n"
        "    supervisor.wait(60)\n"
    )
    folder = str(Path(__file__).parent)
    killed = subprocess.Popen(
        [sys.executable, "-c", code, folder, str(script.path)], stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    stem, worker = map(int, killed.stdout.readline().split())
    killed.kill()
    killed.wait()
    killed.stdout.close()
    assert gone(stem)
    found = Family(Sought(frozenset(["c0ffee00c0ffee00"])))
    assert [one.pid for one in found.living()] == [worker]
    assert found.end(SystemClock(), grace_seconds=1, seconds=1) == []
