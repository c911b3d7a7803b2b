"""Whose turn was taken waits for nothing any more: it finds out within a second, and stops what it waits for."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import toys
from cxlocal_plugins.commands import Commands
from cxlocal_sync.stores.sqlite import SqliteStore
from deployments import CONFIG, Hand, Machine, World
from msgspec.structs import replace

from cxlocal.clock import SystemClock
from cxlocal.domain import Outcome
from cxlocal.errors import Refused
from cxlocal.exchange.breaker import PAUSE_MS
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise
from cxlocal.hooks.tool import Tool
from cxlocal.plan.types import Component
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.driver import drive
from cxlocal.runner.site import Site
from cxlocal.runner.turns import WATCH_SECONDS, Door, Turns, enter, open_turns, take

LONG = "sleep 40"
NEVER = "127.0.0.1:9"
"""Where nobody listens."""


class Counted(SqliteStore):
    """Counts what it is asked, and is away when it is told to be."""

    asked = 0
    away: StoreUnreachable | Refused | None = None

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        self.asked += 1
        if self.away is not None:
            raise self.away
        return super().exchange(request, timeout=timeout)


class Both:
    """Two machines with one store; the first has its turn in production."""

    def __init__(self, folder: Path, clock: Any, config: str = CONFIG) -> None:
        self.world = World(folder, config, clock)
        (folder / "store").mkdir()
        self.store = Counted("sqlite:", folder / "store")
        self.one, self.two = self.world.machines
        self.record = self.one.begin("0.1.0")
        self.turns = Turns(self.one.journal, self.store, self.one.said.append)
        found = enter(self.record, "production", "live", "deploy", self.turns, self.one.said.append)
        assert isinstance(found, Door) and found.turn is not None and found.turn.number
        self.door, self.turn = found, found.turn

    def sync(self, machine: Machine) -> None:
        assert synchronise(machine.journal, self.store, budget_seconds=5).reached

    def take(self) -> None:
        """The other machine takes the turn, and says so."""
        self.sync(self.two)
        [row] = open_turns(self.two.journal, "shop", "production")
        take(self.two.journal, row, "it looks dead", {"id": "Bob", "how": "said"})
        self.sync(self.two)

    def close(self) -> None:
        self.door.lock.release()
        self.store.close()
        self.world.close()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    made = Both(tmp_path, Hand())
    yield made
    made.close()


def wait(both: Both, seconds: float) -> Refused | None:
    """What who waits for so long is told, by a clock that is moved by hand: it asks as often as it may."""
    clock: Any = both.world.clock
    until = clock.monotonic() + seconds
    while clock.monotonic() < until:
        clock.ms += max(1, round(both.turns.watch_seconds() * 1000))
        if not both.turns.watch_seconds() and (refused := both.turns.watch(both.turn)):
            return refused
    return None


def test_the_store_is_asked_once_a_second_and_tells_of_it_within_one(both: Both) -> None:
    clock: Any = both.world.clock
    before = both.store.asked
    assert wait(both, 60) is None
    assert 55 <= both.store.asked - before <= 61
    both.take()
    began = clock.monotonic()
    refused = wait(both, 60)
    assert refused is not None and refused.name == "turn-taken" and "it looks dead" in refused.why
    assert clock.monotonic() - began <= WATCH_SECONDS + 0.1


def test_what_was_asked_by_a_deed_is_not_asked_again_at_once(both: Both) -> None:
    clock: Any = both.world.clock
    clock.ms += 5000
    assert not both.turns.watch_seconds()
    both.turns.check(both.turn)
    assert both.turns.watch_seconds() > WATCH_SECONDS / 2


@pytest.mark.parametrize(
    ("away", "seconds"),
    [
        (StoreUnreachable("it is away", url="sqlite:"), PAUSE_MS / 1000),
        (StoreUnreachable("it is crowded", url="sqlite:", after_seconds=7), 7),
        (Refused("it says no"), PAUSE_MS / 1000),
    ],
)
def test_a_store_that_is_silent_is_left_alone_and_believed_again_by_the_next_deed(
    both: Both, away: Any, seconds: float
) -> None:
    clock: Any = both.world.clock
    clock.ms += 2000
    both.store.away, before = away, both.store.asked
    assert wait(both, seconds - 1) is None
    assert both.store.asked == before + 1, "silence costs one question"
    both.store.away = None
    assert both.turns.learn(), "nothing is remembered of it where something is done"
    assert wait(both, 3) is None and both.store.asked > before + 2


def test_without_a_store_what_was_taken_on_this_machine_is_seen_all_the_same(both: Both) -> None:
    both.turns._answers = False
    before = both.store.asked
    assert wait(both, 10) is None
    [row] = open_turns(both.one.journal, "shop", "production")
    take(both.one.journal, row, "by hand", {"id": "Ann", "how": "said"})
    refused = wait(both, 10)
    assert refused is not None and refused.name == "turn-taken" and both.store.asked == before


class RealSite(Site):
    """Everything as it is, with the tool ``commands``."""

    def tool(self, component: Component) -> type[Tool]:
        return Commands


def site_of(both: Both) -> Site:
    machine = both.one
    work = machine._work(both.record, back=False)
    scratch = machine.home / "scratch"

    def make(name: str, attempt: int) -> Path:
        scratch.mkdir(exist_ok=True)
        return scratch

    work.workspace = SimpleNamespace(scratch=make)  # type: ignore[assignment]  # all that is asked of it
    work.doors["production"] = both.door
    log = StageLog.create(machine.home / "logs", "live", masker=work.masker)
    return RealSite(work, both.record.plan.stage("live"), 1, machine.home, log, {})


Asked = Callable[[Site], Generator[Any, Any, Any]]


def asks(verb: str, command: str) -> Asked:
    component = Component(name="web", tool="commands", options={verb: command})
    return lambda site: site.ask(component, verb, resource="r1")


WEB = Component(name="web", tool="commands", health="tcp", check=LONG)
WAITS: dict[str, Asked] = {
    **{verb: asks(verb, LONG) for verb in ("create", "drain", "observe", "preview")},
    "health": lambda site: site.probe(WEB, [NEVER], within_seconds=40),
    "hold": lambda site: site.probe(replace(WEB, health=""), [], hold_seconds=40),
    "check": lambda site: site.check(WEB, "r1", NEVER),
    "judge": lambda site: site.judge(NEVER),
}
IN_PLACE = ("apply", "provision", "rotate", "remove", "start", "stop")


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The turn of the first machine was taken, and it does not know."""
    config = CONFIG.replace('check = "true"', f'check = "{LONG}"')
    made = Both(tmp_path_factory.mktemp("taken"), SystemClock(), config)
    made.take()
    yield made
    made.close()


@pytest.mark.parametrize("what", WAITS)
def test_whatever_waits_is_stopped(taken: Both, what: str) -> None:
    site, began = site_of(taken), time.monotonic()
    with Supervisor(SystemClock()) as supervisor, pytest.raises(Refused) as refused:
        drive(WAITS[what](site), supervisor)
    site.log.close()
    assert refused.value.name == "turn-taken"
    assert time.monotonic() - began < 20, "it did not wait for all of it"
    assert not site.cancelled, "no signal came"


@pytest.mark.parametrize("verb", IN_PLACE)
def test_what_changes_something_in_place_comes_to_its_end(taken: Both, verb: str) -> None:
    site = site_of(taken)
    taken.turns._watch_at = 0.0
    with Supervisor(SystemClock()) as supervisor:
        found = drive(asks(verb, "sleep 0.1")(site), supervisor)
    site.log.close()
    assert found.outcome == Outcome.SUCCESS


def test_a_deployment_that_waits_ends_in_3_soon_after_its_turn_was_taken(
    desk_shop: Any, tmp_path: Path
) -> None:
    url = f"sqlite://{tmp_path}/shared/store.db"
    homes = {
        name: {"CXLOCAL_HOME": str(tmp_path / name), "CXLOCAL_STORE": url}
        for name in ("one", "two")
    }
    waits = desk_shop.desk / "waits"
    check = 'check = "while test -e \\"$DESK/waits\\"; do sleep 0.1; done"\n'
    config = toys.CONFIG.replace('behind = "lb"\n', 'behind = "lb"\n' + check)
    assert desk_shop.command("store", "create", url, env=homes["one"]).code == 0
    assert desk_shop.release("first", config, env=homes["one"]).code == 0
    first = set(desk_shop.running)
    waits.touch()
    (desk_shop.tree / "site.txt").write_text("second")
    desk_shop.push("second")
    slow = subprocess.Popen(
        [desk_shop.cx.program, "run", "--no-input"], cwd=desk_shop.tree, stderr=subprocess.PIPE,
        env={**os.environ, **desk_shop.environ, **homes["one"]},
    )  # fmt: skip
    try:
        end = time.monotonic() + 40
        while len(desk_shop.running) < 3:
            assert time.monotonic() < end and slow.poll() is None
            time.sleep(0.05)
        desk_shop.command("sync", env=homes["two"])
        took = desk_shop.command("env", "take", "production", "-m", "it hangs", env=homes["two"])
        assert took.code == 0 and "Taken from" in took.err, took.err
        said = slow.communicate(timeout=30)[1].decode()
        assert waits.exists(), "it would wait still"
    finally:
        slow.kill()
    assert slow.returncode == 3 and "was taken from this machine" in said and "it hangs" in said
    assert set(desk_shop.weights) == first, "nothing was turned"
    waits.unlink()
    done = desk_shop.command("run", "--no-input", env=homes["two"])
    assert done.code == 0, done.err
    assert len(set(desk_shop.running.values())) == 1, "what the first one made is taken away"
    assert set(desk_shop.weights) == set(desk_shop.running)
