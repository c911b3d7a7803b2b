"""Runs that are cut off or obstructed: signals, kill -9, limits, disks, a store that is away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BUILD = '[stages]\nbuild = { command = "true" }\n'

HOLD = '[stages]\nhold = { command = "touch $HOME/working; sleep 60" }\n'

DEAF = """
[stages]
hold = { command = '''trap "" TERM; touch $HOME/working; while :; do sleep 1; done''' }
"""

RECORDED_SECONDS = 10.0
"""From the signal until everything is recorded and sent."""

DELAY_SECONDS = 3.0
"""What a store that is away may cost a run (promise P17)."""


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Until it holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Wait for it; exit code as a shell would show it, and words."""
    _, err = process.communicate(timeout=30)
    code = process.returncode
    return (128 - code if code < 0 else code), err.decode()


def processes_with(text: str) -> list[str]:
    """Running programs with ``text`` in their command line."""
    listed = subprocess.run(
        ["ps", "-eo", "stat=,args="], capture_output=True, text=True, check=True
    )
    return [line for line in listed.stdout.splitlines() if text in line and line[0] != "Z"]


# signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_recorded_as_cancel_and_sent(
    shop: Any, home: Path, number: signal.Signals
) -> None:
    shop.write(HOLD)
    process = shop.start("run")
    wait_for((home / "working").exists)
    sent = time.monotonic()
    process.send_signal(number)
    code, err = end(process)
    assert code == 128 + number, err
    assert time.monotonic() - sent < RECORDED_SECONDS
    assert shop.query("SELECT outcome FROM run") == ["cancel"]
    assert shop.outcomes() == {"hold": "cancel"}
    assert shop.query("SELECT count(*) FROM process") == [0]
    assert shop.query("SELECT number_state FROM run_board") == ["in use, confirmed"]


def test_a_stage_that_ignores_the_signal_is_killed(shop: Any, home: Path) -> None:
    shop.write(DEAF)
    process = shop.start("run")
    wait_for((home / "working").exists)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 130
    assert time.monotonic() - sent < RECORDED_SECONDS
    assert shop.outcomes() == {"hold": "cancel"}


def test_the_second_signal_ends_at_once_and_the_next_run_tidies_up(shop: Any, home: Path) -> None:
    shop.write(DEAF)
    process = shop.start("run")
    wait_for((home / "working").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    sent = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert end(process)[0] == 130
    assert time.monotonic() - sent < 2
    assert shop.query("SELECT outcome FROM run") == [None]
    shop.write(BUILD)
    assert shop.run().code == 0
    assert shop.query("SELECT outcome FROM run ORDER BY queued_at") == ["error", "success"]


@pytest.mark.parametrize("delay_ms", [40, 120, 200, 280, 400])
def test_a_signal_at_any_moment_leaves_nothing_open(shop: Any, delay_ms: int) -> None:
    shop.write(
        '[stages]\na = { command = "sleep 0.05" }\nb = { command = "sleep 0.05", needs = ["a"] }\n'
    )
    process = shop.start("run")
    time.sleep(delay_ms / 1000)
    process.send_signal(signal.SIGTERM)
    code, err = end(process)
    assert code in (0, 143), err
    assert "Traceback" not in err
    if (shop.home / "journal.db").exists():
        assert shop.command("verify").code == 0
        assert shop.query("SELECT count(*) FROM run WHERE outcome IS NULL") == [0]
        assert shop.query("SELECT count(*) FROM process") == [0]


# Sends itself a signal when it enters its n-th function of cxlocal, counted from the first exchange
# with the journal on, and leaves their count in a file.
AT_CALL = """
import inspect, os, signal, sys
wanted = int(sys.argv.pop(1))
calls = 0
def count(frame, event, argument):
    global calls
    code = frame.f_code
    # A generator that is being closed swallows what is raised in it, and says so.
    if event == "call" and "cxlocal" in code.co_filename and not code.co_flags & inspect.CO_GENERATOR:
        calls += 1
        if calls == wanted:
            os.kill(os.getpid(), signal.SIGTERM)
from cxlocal.commands.main import main
from cxlocal.runner import release
carry_out = release.carry_out
def counted(*arguments):
    sys.setprofile(count)
    try:
        return carry_out(*arguments)
    finally:
        sys.setprofile(None)
        open(os.path.expanduser("~/calls"), "w").write(str(calls))
release.carry_out = counted
sys.argv[0] = "cxlocal"
sys.exit(main())
"""


def test_a_signal_at_sampled_calls_leaves_nothing_open(shop: Any, home: Path) -> None:
    shop.write('[stages]\na = { command = "true" }\n')

    def run(call: int) -> tuple[int, str]:
        argv = [sys.executable, "-c", AT_CALL, str(call), "run"]
        environ = {**os.environ, **shop.environ}
        return end(
            subprocess.Popen(
                argv, cwd=shop.tree, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        )

    code, err = run(0)
    assert code == 0, err
    total = int((home / "calls").read_text())
    assert total > 1000
    cut_off = 0
    # A prime step, so that no loop of the program is hit at the same place each time.
    for call in range(total % 97 + 1, total, total // 20):
        code, err = run(call)
        assert code in (0, 143), f"call {call}: {err}"
        assert "Traceback" not in err, f"call {call}: {err}"
        cut_off += code == 143
        assert shop.query("SELECT count(*) FROM run WHERE outcome IS NULL") == [0], call
        assert shop.query("SELECT count(*) FROM process") == [0], call
        for checkout in (shop.home / "checkouts").glob("*"):
            assert (checkout / "failed").exists(), f"call {call}: nobody will remove {checkout}"
    assert cut_off > 10
    assert shop.command("verify").code == 0
    numbers = shop.query("SELECT number FROM run WHERE number IS NOT NULL ORDER BY queued_at")
    assert numbers == sorted(set(numbers))


# kill -9


def test_after_kill_9_the_next_run_records_the_error_and_ends_what_was_left(
    shop: Any, home: Path
) -> None:
    # A time nobody else sleeps for, so that what is found is ours.
    sleep = f"sleep 6{os.getpid()}"
    shop.write(HOLD.replace("sleep 60", sleep))
    process = shop.start("run")
    wait_for(lambda: processes_with(sleep))
    process.kill()
    process.communicate()
    shop.write(BUILD)
    result = shop.run()
    assert result.code == 0, result.err
    assert shop.query("SELECT outcome FROM run ORDER BY queued_at") == ["error", "success"]
    assert shop.query("SELECT outcome FROM stage_run WHERE stage = 'hold'") == ["error"]
    assert processes_with(sleep) == []
    assert shop.command("verify").code == 0


def test_promise_1_kill_9_at_any_moment_hands_no_number_out_twice(shop: Any) -> None:
    shop.write('[stages]\na = { command = "true" }\nb = { command = "true", needs = ["a"] }\n')
    for delay_ms in (80, 150, 200, 250, 300, 350, 420):
        process = shop.start("run")
        time.sleep(delay_ms / 1000)
        process.kill()
        process.communicate()
    assert shop.run().code == 0
    assert shop.query("SELECT count(*) FROM run WHERE outcome IS NULL") == [0]
    numbers = shop.query("SELECT number FROM version ORDER BY sequence")
    assert numbers == sorted(set(numbers))
    assert shop.query("SELECT number FROM run WHERE id = ?", shop.last()) == [max(numbers)]
    assert shop.query("SELECT count(*) FROM process") == [0]
    assert shop.command("verify").code == 0
    states = json.loads(shop.command("version", "list", "--json").out)
    assert all(row["state"] for row in states)


def test_a_killed_run_goes_on_with_its_number(shop: Any, home: Path) -> None:
    shop.write(
        """
[stages]
build = { command = "echo x >> $HOME/built; echo made > app", kind = "build", produces = { app = "app" } }
hold  = { command = "grep made $CXLOCAL_ARTIFACT_APP; touch $HOME/working; test -e $HOME/go || sleep 60", needs = ["build"] }
"""
    )
    process = shop.start("run")
    wait_for((home / "working").exists)
    process.kill()
    process.communicate()
    (home / "go").touch()
    (run,) = shop.query("SELECT id FROM run")
    done = json.loads(shop.run("--resume", run, "--json").out)
    assert (done["run"], done["number"], done["outcome"]) == (run, 0, "success")
    assert (home / "built").read_text() == "x\n"
    assert shop.query("SELECT attempt FROM stage_run WHERE stage = 'hold'") == [1, 2]


def test_a_run_that_is_carried_out_cannot_be_resumed(shop: Any, home: Path) -> None:
    shop.write(HOLD)
    process = shop.start("run")
    wait_for((home / "working").exists)
    result = shop.run("--resume", shop.last())
    assert result.code == 3
    assert f"process {process.pid}" in result.err
    process.send_signal(signal.SIGTERM)
    assert end(process)[0] == 143


# several at once


def test_two_runs_at_once_get_two_numbers_and_take_turns_in_production(shop: Any) -> None:
    shop.write(
        """
[stages]
live = { command = "mkdir $HOME/busy && sleep 0.5 && rmdir $HOME/busy", kind = "deploy", environment = "production" }
[environments.production]
"""
    )
    both = [shop.start("run", "--to", "production") for _ in range(2)]
    ends = sorted(end(one) for one in both)
    # Whoever comes second with the lower number would put an older version over a newer one.
    assert [code for code, _ in ends] in ([0, 0], [0, 3]), ends
    assert ends[1][0] == 0 or "--allow-older" in ends[1][1], ends
    assert shop.query("SELECT count(DISTINCT number) FROM version") == [2]
    assert shop.query("SELECT version FROM deployments_now") == ["0.1.1"]
    assert shop.query("SELECT count(*), max(disputed) FROM deployments_now") == [(1, 0)]


# stages that go wrong


def test_a_time_limit_ends_a_stage_with_everything_it_started(shop: Any) -> None:
    sleep = f"sleep 7{os.getpid()}"
    shop.write(f'[stages]\nslow = {{ command = "{sleep} & {sleep}", timeout = "1s" }}\n')
    assert shop.run().code == 9
    assert "time limit" in shop.query("SELECT reason FROM stage_run")[0]
    assert processes_with(sleep) == []


SULK = '''
import os, time
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Tool

class Sulk(Tool):
    """Does things wrong."""
    name = "sulk"
    def test(self, ctx):
        print("about to", ctx.stage, flush=True)
        if ctx.stage == "dies":
            os._exit(7)
        if ctx.stage == "raises":
            raise ValueError("no idea")
        if ctx.stage == "lies":
            return 7
        time.sleep(60)

@hookimpl
def cxlocal_register_tools():
    return [Sulk]
'''


@pytest.mark.parametrize(
    ("stage", "words"),
    [("dies", "without a result"), ("raises", "no idea"), ("lies", "must return"),
     ("hangs", "time limit")],
)  # fmt: skip
def test_a_tool_that_goes_wrong_ends_its_stage_with_a_reason(
    shop: Any, tools: Callable[[str], None], stage: str, words: str
) -> None:
    tools(SULK)
    shop.write(f'[stages]\n{stage} = {{ tool = "sulk", timeout = "2s" }}\n')
    result = shop.run()
    assert result.code == 9, result.err
    assert words in shop.query("SELECT reason FROM stage_run")[0]
    assert f"about to {stage}" in shop.log(stage)


MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], capture_output=True).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
"""A small parent: the peak counted for a child begins with what its parent had before exec(2),
and what the process that runs these tests has depends on the tests before."""


def test_gigabytes_of_output_cost_neither_memory_nor_the_run(shop: Any) -> None:
    shop.write('[stages]\nbig = { command = "head -c 1100000000 /dev/zero" }\n')
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, shop.cx.program, "run"],
        cwd=shop.tree,
        env={**os.environ, **shop.environ},
        capture_output=True,
        text=True,
        check=True,
    )
    code, most = map(int, measured.stdout.split())
    assert code == 0
    # Linux counts in KiB, macOS in bytes; both stay far below what was printed.
    assert most < (150_000 if sys.platform == "linux" else 150_000_000)
    size = shop.query("SELECT log_bytes FROM stage_run")[0]
    assert 500_000_000 < size < 600_000_000
    shutil.rmtree(shop.home / "logs")


def test_output_that_is_no_text_is_kept_as_it_came_and_shown_harmless(shop: Any) -> None:
    shop.write("[stages]\nraw = { command = '''printf \"\\\\377\\\\000\\\\033]0;x\"; exit 1''' }\n")
    result = shop.run()
    assert result.code == 1
    (log,) = shop.query("SELECT log FROM stage_run")
    assert (shop.home / log).read_bytes().startswith(b"\xff\x00\x1b]0;x")
    assert "\x1b" not in result.err


def test_a_secret_that_comes_in_pieces_reaches_no_log(shop: Any) -> None:
    shop.write(
        """
[stages]
tell = { command = '''for c in s 3 c r e t - v a l; do printf %s $c; sleep 0.02; done; echo''', secrets = ["TOKEN"] }
[secrets]
TOKEN = { env = "SHOP_TOKEN" }
"""
    )
    result = shop.run("--json", env={"SHOP_TOKEN": "s3cret-val"})
    assert result.code == 0, result.err
    assert shop.log("tell").splitlines()[0] == "***"
    assert "s3cret" not in result.err + result.out
    assert b"s3cret" not in (shop.home / "journal.db").read_bytes()


# the store


@contextmanager
def away(store: Path, how: str) -> Iterator[None]:
    """The store cannot be reached for the length of the block."""
    if how == "gone":
        store.parent.rename(store.parent.with_name("elsewhere"))
    elif how == "corrupt":
        store.write_bytes(b"this is no database" * 1000)
    elif how == "read-only":
        # A folder in the place of its journal: SQLite cannot write, not even as root.
        Path(f"{store}-journal").unlink(missing_ok=True)
        Path(f"{store}-journal").mkdir()
        Path(f"{store}-wal").unlink(missing_ok=True)
        Path(f"{store}-wal").mkdir()
    if how != "locked":
        yield
        return
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        " c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(store)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize("how", ["gone", "corrupt", "locked", "read-only"])
def test_promise_17_a_store_that_is_away_delays_a_run_by_3_seconds_at_most(
    shop: Any, tmp_path: Path, how: str
) -> None:
    shop.write(BUILD)
    store = tmp_path / "stores" / "store.db"
    store.parent.mkdir()
    shop.environ["CXLOCAL_STORE"] = f"sqlite://{store}"
    assert shop.command("store", "create", f"sqlite://{store}").code == 0
    began = time.monotonic()
    assert shop.run().code == 0
    usual = time.monotonic() - began
    with away(store, how):
        began = time.monotonic()
        result = shop.run("--json")
        seconds = time.monotonic() - began
    assert result.code == 0, result.err
    done = json.loads(result.out)
    assert (done["how"], done["outcome"]) == ("reserve", "success")
    assert done["pending"] > 0
    assert seconds < usual + DELAY_SECONDS + 0.5


def test_a_number_that_only_the_store_can_give_is_asked_for_and_the_run_recorded(
    shop: Any, tmp_path: Path
) -> None:
    shop.write(BUILD)
    store = tmp_path / "stores" / "store.db"
    store.mkdir(parents=True)
    shop.environ["CXLOCAL_STORE"] = f"sqlite://{store}"
    result = shop.run()
    assert result.code == 5, result.err
    assert shop.query("SELECT outcome FROM run") == ["error"]
    assert shop.query("SELECT count(*) FROM process") == [0]


# the journal and its disk


def test_a_journal_that_cannot_be_opened_stops_the_run_before_it_begins(
    shop: Any, home: Path
) -> None:
    shop.write('[stages]\nbuild = { command = "touch $HOME/ran" }\n')
    (shop.home / "journal.db").mkdir(parents=True)
    result = shop.run()
    assert result.code == 9
    assert "journal" in result.err
    assert not (home / "ran").exists()


def test_a_damaged_journal_is_said_and_kept(shop: Any, home: Path) -> None:
    shop.write('[stages]\nbuild = { command = "touch $HOME/ran" }\n')
    shop.home.mkdir()
    (shop.home / "journal.db").write_bytes(b"not a database, though long enough to look at" * 50)
    result = shop.run()
    assert result.code == 7
    assert not (home / "ran").exists()
    assert (shop.home / "journal.db").read_bytes().startswith(b"not a database")


def test_a_journal_that_a_forgotten_writer_holds_names_it(shop: Any) -> None:
    shop.write(BUILD)
    shop.run()
    code = (
        "import sqlite3, sys, time; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        " c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(shop.home / "journal.db")], stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        result = shop.run()
    finally:
        holder.kill()
        holder.communicate()
    assert result.code == 9
    assert str(holder.pid) in result.err


def test_a_run_does_not_begin_on_a_full_disk(tmp_path: Path) -> None:
    from cxlocal.errors import Refused
    from cxlocal.runner.workspace import require_space

    with pytest.raises(Refused) as refused:
        require_space(tmp_path, 10**18)
    assert "cxlocal prune" in refused.value.hint


@pytest.mark.parametrize("more_kib", [0, 12, 24, 48])
def test_a_disk_that_fills_up_during_a_run_loses_nothing(shop: Any, more_kib: int) -> None:
    """No file may grow above a limit: what a full disk is to SQLite, without having one."""
    stages = [f's{i} = {{ command = "true" }}' for i in range(30)]
    shop.write("[stages]\n" + "\n".join(stages) + "\n")
    assert shop.run().code == 0
    limit = (shop.home / "journal.db").stat().st_size + more_kib * 1024
    limited = (
        "import os, resource, sys; limit = int(sys.argv[1]);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit));"
        " os.execv(sys.argv[2], sys.argv[2:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", limited, str(limit), shop.cx.program, "run"],
        cwd=shop.tree,
        env={**os.environ, **shop.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    code, err = end(process)
    assert code == 9, err
    assert "Traceback" not in err
    assert "bug in cxlocal" not in err
    assert shop.run().code == 0
    numbers = shop.query("SELECT number FROM version ORDER BY sequence")
    assert numbers == sorted(set(numbers))
    assert shop.query("SELECT count(*) FROM run WHERE outcome IS NULL") == [0]
    assert shop.command("verify").code == 0


def test_a_clock_that_was_set_back_changes_no_order(shop: Any) -> None:
    """Later events of the journal, earlier times: what counts is the order they were written in."""
    shop.write(BUILD)
    shop.run()
    with sqlite3.connect(shop.home / "journal.db") as connection:
        # A machine whose clock ran ten years ahead when it first wrote.
        connection.execute(
            "INSERT OR REPLACE INTO local_value (name, value) VALUES ('clock', ?)",
            (str((int(time.time() * 1000) + 10 * 365 * 86_400_000) << 16),),
        )
    assert shop.run().code == 0
    assert shop.query("SELECT number FROM version ORDER BY sequence") == [0, 1]
    assert shop.command("verify").code == 0
