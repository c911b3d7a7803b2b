"""Two machines that synchronise do not deploy into one place at once, and a dead one keeps nobody out for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.runner.turns import is_first

LIVE = """
[stages]
live = { kind = "deploy", environment = "production", command = "@COMMAND@" }
[environments]
production = { protected = false }
"""
ALONE = 'mkdir @DESK@/inside && sleep 0.3 && rmdir @DESK@/inside && echo \\"$CXLOCAL_TURN\\" >> @DESK@/turns'
WAITS = "touch @DESK@/began; until test -e @DESK@/go; do sleep 0.1; done; echo $CXLOCAL_VERSION > @DESK@/live"


@given(st.lists(st.integers(1, 50), min_size=1, unique=True))
def test_of_all_that_ask_exactly_one_is_first(places: list[int]) -> None:
    first = [mine for mine in places if is_first(mine, [one for one in places if one != mine])]
    assert first == [min(places)]
    assert is_first(5, [None, 6]) and not is_first(5, [None, 4])


class Machines:
    """Several machines with one store, and a desk where deployments leave traces."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop, self.root, self.desk = shop, root, root / "desk"
        self.desk.mkdir()
        self.url = f"sqlite://{root}/shared/store.db"
        self.begun: list[subprocess.Popen[bytes]] = []
        assert self.on("one", "store", "create", self.url).code == 0

    def env(self, machine: str) -> dict[str, str]:
        return {"CXLOCAL_HOME": str(self.root / machine), "CXLOCAL_STORE": self.url}

    def write(self, command: str) -> None:
        text = LIVE.replace("@COMMAND@", command).replace("@DESK@", str(self.desk))
        self.shop.write(text)

    def on(self, machine: str, *words: str, **more: str) -> Any:
        return self.shop.command(*words, env={**self.env(machine), **more})

    def start(self, machine: str, *words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [self.shop.cx.program, *words], cwd=self.shop.tree, stderr=subprocess.PIPE,
            env={**os.environ, **self.shop.environ, **self.env(machine)}, start_new_session=True,
        )  # fmt: skip
        self.begun.append(process)
        return process

    def dies(self, machine: str) -> None:
        """A machine dies while it deploys, with its stage."""
        self.write(WAITS)
        process = self.start(machine, "run")
        until(lambda: (self.desk / "began").exists())
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def machines(shop: Any, tmp_path: Path) -> Iterator[Machines]:
    made = Machines(shop, tmp_path)
    yield made
    (made.desk / "go").touch()
    for process in made.begun:
        process.kill()
        if process.stderr is not None and not process.stderr.closed:
            process.communicate()


def test_machines_that_begin_together_deploy_one_after_the_other(machines: Machines) -> None:
    machines.write(ALONE)
    for name in ("one", "two", "three"):
        machines.on(name, "sync")
    begun = [machines.start(name, "run", "--allow-older") for name in ("one", "two", "three")]
    said = [process.communicate(timeout=50)[1].decode() for process in begun]
    assert [process.returncode for process in begun] == [0, 0, 0], said
    turns = [int(line) for line in (machines.desk / "turns").read_text().split()]
    assert turns == sorted(turns) and len(set(turns)) == 3, "the token only rises"
    machines.on("one", "sync")
    ended = machines.on("one", "sql", "SELECT DISTINCT ended_how FROM turn", "--json").json()
    assert {row["ended_how"] for row in ended} <= {"given back", "stood back"}
    assert "disputed" not in machines.on("one", "status").out


WAYS = {
    "deploy": ("deploy", "0.1.0", "--to", "production"),
    "rollback": ("rollback", "production", "--to", "0.1.0", "-m", "back"),
    "stage": ("stage", "live", "--", "true"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_deployment_asks_whose_turn_it_is(machines: Machines, way: str) -> None:
    machines.write("true")
    assert machines.on("two", "run").code == 0
    machines.dies("one")
    more = {}
    if way == "stage":
        more = {"CXLOCAL_RUN": machines.on("two", "run", "start", "--json").json()["run"]}
    done = machines.on("two", *WAYS[way], **more)
    assert done.code == 3, done.err
    assert "another machine changes production" in done.err
    assert "cxlocal env take production" in done.err


def test_a_turn_of_a_machine_that_died_is_taken(machines: Machines) -> None:
    machines.write("true")
    machines.on("two", "run")
    machines.dies("one")
    again = WAYS["deploy"]
    assert machines.on("two", *again).code == 3
    assert machines.on("two", "sync").code == 0
    resumed = machines.on("two", "run", "--resume")
    commit = machines.shop.git("rev-parse", "HEAD")[:12]
    assert resumed.code == 3 and "is open elsewhere" in resumed.err, resumed.err
    assert f"env take production -m WHY, and then cxlocal run --revision {commit}" in resumed.err
    assert machines.on("two", "env", "take", "production").code == 2, "why is needed"
    done = machines.on("two", "env", "take", "production", "-m", "its disk is broken")
    assert done.code == 0 and "Taken from" in done.err, done.err
    assert machines.on("two", *again).code == 0
    (machines.desk / "go").touch()
    assert machines.on("two", "run", "--revision", commit).code == 0, "as the hint says"
    done = machines.on("two", "env", "take", "production", "-m", "again")
    assert done.code == 0 and "Nobody changes" in done.err


def test_the_machine_itself_needs_nobody_to_take_its_turn(machines: Machines) -> None:
    machines.dies("one")
    machines.write("true")
    assert machines.on("one", "run").code == 0
    machines.on("two", "sync")
    assert machines.on("two", "run").code == 0


def test_who_comes_back_after_its_turn_was_taken_is_not_recorded_as_live(
    machines: Machines,
) -> None:
    machines.write(WAITS)
    slow = machines.start("one", "run")
    until(lambda: (machines.desk / "began").exists())
    machines.on("two", "sync")
    assert machines.on("two", "env", "take", "production", "-m", "it looked dead").code == 0
    machines.write("true")
    assert machines.on("two", "run").code == 0
    (machines.desk / "go").touch()
    said = slow.communicate(timeout=30)[1].decode()
    assert slow.returncode == 9 and "was taken from this machine" in said, said
    assert "it looked dead" in said
    machines.on("two", "sync")
    [live] = machines.on("two", "sql", "SELECT version FROM deployments_now", "--json").json()
    assert live == {"version": "0.1.1"}


def test_who_waits_for_its_turn_leaves_at_a_signal(machines: Machines) -> None:
    machines.write("true")
    assert machines.on("two", "run").code == 0
    machines.dies("one")
    machines.write("touch @DESK@/deployed")
    waits = machines.start("two", "run")
    assert waits.stderr is not None
    lines = iter(waits.stderr.readline, b"")
    assert any(b"live waits" in line for line in lines), "it waits for the other one"
    waits.send_signal(signal.SIGINT)
    waits.stderr.read()
    assert waits.wait(timeout=20) == 128 + signal.SIGINT
    assert not (machines.desk / "deployed").exists()
    [open_] = machines.on(
        "two", "sql", "SELECT count(*) AS open FROM turn WHERE ended_at IS NULL", "--json"
    ).json()
    assert open_ == {"open": 1}, "that of the machine that died alone"


def test_without_the_store_it_goes_on_and_says_so(machines: Machines) -> None:
    machines.write("test -z $CXLOCAL_TURN")
    assert machines.on("one", "run").code == 1, "it has a turn"
    machines.on("one", "sync")
    shared = machines.root / "shared"
    shared.rename(machines.root / "away")
    shared.touch()
    machines.write('test -z \\"${CXLOCAL_TURN-}\\"')
    done = machines.on("one", "run")
    assert done.code == 0, done.err
    assert (
        "the store gives no turn, so nobody knows whether another machine changes production now"
        in done.err
    )
    asked = machines.on("one", "sql", "SELECT granted FROM turn ORDER BY asked_at", "--json").json()
    assert [row["granted"] for row in asked] == [1, 0]


def test_a_store_of_this_machine_alone_has_no_turns(shop: Any) -> None:
    shop.write(LIVE.replace("@COMMAND@", "true"))
    assert shop.run().code == 0
    assert shop.query("SELECT count(*) FROM turn") == [0]
