"""Whoever says no in a deployment of components, it failed (1); whatever trouble comes to anybody, it is an error (9).

One rule for every verb, for health, and for both kinds of ``check``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cxlocal_plugins.commands import Commands
from deployments import CONFIG, VERBS, World, at, moments, run, started
from msgspec.structs import replace
from test_component_gap import KEPT

from cxlocal.clock import SystemClock
from cxlocal.domain import Outcome, outcome_of
from cxlocal.hooks.tool import Tool
from cxlocal.plan.types import Component
from cxlocal.processes.log import StageLog
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner import site as site_module
from cxlocal.runner.driver import drive
from cxlocal.runner.site import Site

BEFORE = {
    ("db preview", 1), ("db apply", 1), ("web health", 2), ("web health", 3), ("web create", 1),
    ("lb rotate", 1), ("production check", 1),
}  # fmt: skip
"""What the outcome of a deployment follows, and at which time it is asked: first whether what serves was well."""
LOOKS = ("web observe", "lb observe")
"""The first question is refused (3), before anything was changed; later ones are as all others."""
AFTER = ("web remove", "lb drain")
"""What serves does so already: it stays due or is flagged, and the deployment succeeds."""
GAP_VERBS = ("web stop", "web start")


def ends(world: World, what: str, fault: str, nth: int) -> tuple[str, str]:
    """How a deployment ends in which that happens, and what is recorded of its stage."""
    first = started(world)
    ended = run(first.deploy("0.1.1"), at(what, fault, nth))
    rows = first.journal.query("SELECT outcome, reason FROM stage_run ORDER BY started_at, id")
    return ended, str(rows[-1]["outcome"])


@pytest.mark.parametrize("fault", ["failure", "error"])
@pytest.mark.parametrize(("what", "nth"), sorted(BEFORE))
def test_what_a_verb_comes_to_is_what_the_deployment_does(
    world: World, what: str, nth: int, fault: str
) -> None:
    assert ends(world, what, fault, nth) == (fault, fault)


@pytest.mark.parametrize("fault", ["failure", "error"])
@pytest.mark.parametrize("what", LOOKS)
def test_a_look_is_refused_before_anything_was_changed_and_counts_afterwards(
    tmp_path: Path, what: str, fault: str
) -> None:
    base = World(tmp_path / "base")
    started(base)
    times = [one.nth for one in moments(base, "0.1.1") if one.what == what and one.when == "before"]
    base.close()
    found = []
    for nth in times:
        world = World(tmp_path / f"w{nth}")
        found.append(ends(world, what, fault, nth))
        world.close()
    assert found[0] == ("not-observed", "failure")
    assert (fault, fault) in found[1:], "after it was changed it is as any other verb"
    assert {one for one, _ in found[1:]} <= {fault, "success"}, "a last look may be missed"


@pytest.mark.parametrize("fault", ["failure", "error"])
@pytest.mark.parametrize("what", AFTER)
def test_what_comes_after_the_cutover_is_said_and_no_more(
    world: World, what: str, fault: str
) -> None:
    assert ends(world, what, fault, 1) == ("success", "success")
    kinds = world.machines[0].journal.query("SELECT kind FROM open_flags")
    flags = world.machines[0].journal.query("SELECT kind FROM flag")
    assert {row["kind"] for row in (*kinds, *flags)} & {"not-removed", "not-drained"}


@pytest.mark.parametrize("fault", ["failure", "error"])
@pytest.mark.parametrize("what", GAP_VERBS)
def test_stopping_and_starting_follow_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, fault: str
) -> None:
    """On the way back to what stands still both are asked before the cutover."""
    monkeypatch.setitem(VERBS, "web", (*VERBS["web"], "stop", "start"))
    world = World(tmp_path, KEPT)
    first = world.machines[0]
    record = first.begin("0.1.0")
    assert run(first.deploy("0.1.0", record=record)) == "success"
    assert run(first.deploy("0.1.1")) == "success"
    story = first.deploy("0.1.0", record=record, back=True)
    assert run(story, at(what, fault)) == fault
    assert first.live() == "0.1.1" and {world.running[one] for one in world.at_work} == {"0.1.1"}
    world.close()


# what a verb comes to


class RealSite(Site):
    """Everything as it is, with the tool ``commands``."""

    def tool(self, component: Component) -> type[Tool]:
        return Commands


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A place where real programs are asked."""
    world = World(tmp_path_factory.mktemp("real"), CONFIG)
    machine = world.machines[0]
    record = machine.begin("0.1.0")
    work = machine._work(record, back=False)
    scratch = machine.home / "scratch"

    def make(name: str, attempt: int) -> Path:
        scratch.mkdir(exist_ok=True)
        return scratch

    work.workspace = SimpleNamespace(scratch=make)  # type: ignore[assignment]  # all that is asked of it
    log = StageLog.create(machine.home / "logs", "live", masker=work.masker)
    yield RealSite(work, record.plan.stage("live"), 1, machine.home, log, {})
    log.close()
    world.close()


COMMANDS = {
    "exit 0": "success",
    "exit 1": "failure",
    "exit 4": "failure",
    "kill -SEGV $$": "failure",
    "kill -KILL $$": "error",
    "kill -TERM $$": "error",
    "no-such-program": "error",
    "touch a-file; ./a-file": "error",
    "exec sleep 30": "error",
}
"""What a command does, and what that is; the last one meets its time limit."""
ANSWERS = {
    "create": '{{\\"address\\": \\"a:1\\"}}', "apply": "{{}}", "preview": "{{}}", "observe": "{{}}",
}  # fmt: skip
SPEAKS = ("preview", "apply", "create", "rotate", "drain", "stop", "start", "remove", "observe",
          "provision", "destroy")  # fmt: skip
Asked = Callable[[Site, str], Generator[Any, Any, Any]]


def verb(name: str) -> Asked:
    def ask(site: Site, command: str) -> Generator[Any, Any, Any]:
        answer = ANSWERS.get(name)
        text = f'echo "{answer}" > "$CXLOCAL_RESULT"; {command}' if answer else command
        component = Component(name="web", tool="commands", options={name: text}, timeout_seconds=1)
        return site.ask(component, name, resource="r1")

    return ask


def check(site: Site, command: str) -> Generator[Any, Any, Any]:
    component = Component(name="web", tool="commands", check=command, timeout_seconds=1)
    return site.check(component, "r1", "a:1")


def judge(site: Site, command: str) -> Generator[Any, Any, Any]:
    site.environment = replace(site.environment, check=command, timeout_seconds=1)
    return site.judge("a:1")


@pytest.mark.parametrize("ask", [*map(verb, SPEAKS), check, judge], ids=[*SPEAKS, "check", "judge"])
def test_one_rule_for_what_a_program_comes_to(real: Site, ask: Asked) -> None:
    found = {}
    for command in COMMANDS:
        with Supervisor(SystemClock()) as supervisor:
            found[command] = str(drive(ask(real, command), supervisor).outcome)
    assert found == COMMANDS


def test_health_says_no_and_whoever_asks_meets_trouble(
    real: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    component = Component(name="web", tool="commands", health="tcp")

    def probe() -> Any:
        with Supervisor(SystemClock()) as supervisor:
            return drive(real.probe(component, ["127.0.0.1:9"], within_seconds=0), supervisor)

    assert probe().outcome == "failure"

    class Dies(site_module.HealthProbe):
        def observe(self, ctx: Any) -> Any:
            raise MemoryError

    # A worker loads it by its name, and finds none.
    monkeypatch.setattr(site_module, "HealthProbe", Dies)
    assert probe().outcome == "error"


@pytest.mark.parametrize("status", [0, 1, 3, 125, 126, 127, 255, -9, -15, -1, -2, -6, -11, -8])
def test_what_a_status_means(status: int) -> None:
    wanted = "success" if status == 0 else "failure"
    if status in (126, 127, -9, -15, -1, -2):
        wanted = "error"
    assert outcome_of(status) == Outcome(wanted)
