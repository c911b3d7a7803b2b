"""docs/examples/webshop with real programs, while people use it and machines are lost, stopped, or do not hear of each other."""

from __future__ import annotations

import http.client
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
from engine_kit import wait_for
from load_kit import body_of, load
from webshop_kit import NEEDS, Machine, Story, processes_of, signal_all

pytestmark = [pytest.mark.needs(*NEEDS), pytest.mark.heavy, pytest.mark.timeout(3600)]

STEP_SECONDS = 150.0
TO_PRODUCTION = ("--to", "production")
SHORT = """
[stages]
image = { tool = "oci", produces = ["image"] }
live  = { kind = "deploy", environment = "production", needs = ["image"] }
"""
"""Nothing but the deployment: what a kill before it leaves is told elsewhere."""
MADE = (
    "SELECT 'cxlocal-' || resource AS resource FROM resources_now"
    " WHERE environment = 'production' AND component = 'web'"
)


class Now(NamedTuple):
    """Where a run stands."""

    story: Story
    machine: Machine
    log_before: str
    cutovers_before: int

    @property
    def log(self) -> str:
        return self.machine.log()

    @property
    def cut_over(self) -> bool:
        return self.machine.cutovers() > self.cutovers_before


def said(words: str) -> Callable[[Now], bool]:
    """The newest deployment, another one than before, said that."""
    return lambda now: now.log != now.log_before and words in now.log


STEPS: dict[str, Callable[[Now], bool]] = {
    "its turn is drawn": lambda now: now.log != now.log_before,
    "instances are looked for": said("web observe"),
    "the balancer is looked at": said("lb observe"),
    "the database is previewed": said("db preview"),
    "the database is changed": said("db apply"),
    "the cache is changed": said("cache apply"),
    "a new one is made": said("web create"),
    "all are made and asked": lambda now: len(now.story.containers()) >= 4,
    "weights are turned": said("lb rotate"),
    "they get a little": lambda now: len(now.story.weights()) > 2,
    "it is recorded": lambda now: now.cut_over,
    "the environment is asked": said("asked by production"),
    "the old are drained": said("lb drain"),
    "the old are taken away": lambda now: now.cut_over and len(now.story.containers()) < 4,
}
"""When something happens to the run, of each step of a deployment. What is awaited may be over when it is seen."""
AWAY = {one: came for one, came in STEPS.items() if not one.startswith("the old are")} | {
    "the old ones stay": lambda now: "so the old ones stay" in now.machine.said()
}
"""The same where no store can be told of it: nobody drains or takes away what served."""


def wait_until(true: Callable[[], bool], machine: Machine) -> None:
    """Wait for something that the run of a machine comes to."""
    deadline = time.monotonic() + STEP_SECONDS
    while not true():
        assert time.monotonic() < deadline, machine.said()
        time.sleep(0.02)


class ByStore:
    """Two machines that share a store. They take turns at being lost."""

    steps = STEPS
    stand = 2
    """How many instances there are when the other machine is done."""
    lost_runs: tuple[str, ...] = TO_PRODUCTION
    other_runs: tuple[str, ...] = TO_PRODUCTION

    def __init__(self, story: Story) -> None:
        self.story = story
        story.begin_store()
        self.machines = [Machine(story, name) for name in ("one", "two")]
        self.machines[0].ok("run", *TO_PRODUCTION)

    def pair(self, number: int) -> tuple[Machine, Machine]:
        """Who is to be lost now, and knows everything; and the other one."""
        lost, other = self.machines[number % 2], self.machines[1 - number % 2]
        self.tell(other, lost)
        return lost, other

    def tell(self, one: Machine, other: Machine) -> None:
        """What one machine knows the other one knows, too."""
        other.ok("sync")

    def end(self, lost: Machine, other: Machine, run: int) -> None:
        """What becomes of a machine, and what the other one hears of it."""
        signal_all([run], signal.SIGKILL)
        self.take(lost, other)

    def take(self, lost: Machine, other: Machine) -> None:
        """The other one hears of it, and has the turn."""
        self.tell(lost, other)
        other.ok("env", "take", "production", "-m", "the other one is gone")

    def go_on(self, other: Machine) -> str:
        """The other machine deploys; in words how."""
        other.ok("run", *self.other_runs)
        return "it went on"


class ByBundle(ByStore):
    """The store is gone: what one machine knows comes to the other one as a file."""

    steps, stand = AWAY, 4
    # Numbers of one reserve lie below those of another one.
    lost_runs = other_runs = ("--offline", "--allow-older", *TO_PRODUCTION)

    def __init__(self, story: Story) -> None:
        story.write(("[defaults]", "[version]\nreserve = 50\n\n[defaults]"))
        super().__init__(story)
        for one in self.machines:
            one.command("prepare")  # numbers; it says what else an outage would lack
        story.lose_store()

    def tell(self, one: Machine, other: Machine) -> None:
        file = one.root / "all.bundle"
        one.ok("export", "--bundle", file, "--all")
        other.ok("import", "--offline", file)

    def take(self, lost: Machine, other: Machine) -> None:
        self.tell(lost, other)  # nobody gives turns


class ByLabels(ByStore):
    """A machine without a way to the store, lost with its home: of what it did nothing tells but what stands."""

    steps = AWAY
    lost_runs = ("--offline", *TO_PRODUCTION)

    def pair(self, number: int) -> tuple[Machine, Machine]:
        lost = Machine(self.story, f"lost-{number}")
        lost.command("prepare")
        return lost, self.machines[0]

    def end(self, lost: Machine, other: Machine, run: int) -> None:
        signal_all(processes_of(run, workers=True), signal.SIGKILL)
        shutil.rmtree(lost.home)
        other.ok("sync")

    def go_on(self, other: Machine) -> str:
        repaired = other.command("env", "repair", "production", "-m", "its machine is lost")
        if repaired.code == 0:
            return f"repaired; {super().go_on(other)}"
        # Another version serves, and nobody knows of it: the repair names the way.
        assert repaired.code == 3 and "--unobserved" in repaired.err, repaired.err
        built = other.ok("run", "--json").json()["version"]
        other.ok("deploy", built, *TO_PRODUCTION, "--unobserved", "-m", "its machine is lost")
        return "new ones in the place of strangers"


class Stopped(ByStore):
    """A machine stands still; its turn is taken and the other one deploys; then it wakes up."""

    def end(self, lost: Machine, other: Machine, run: int) -> None:
        self.asleep = processes_of(run, workers=False)
        signal_all(self.asleep, signal.SIGSTOP)
        self.take(lost, other)


def prepare(story: Story) -> None:
    """The deployment alone, asked by its environment; nobody keeps the old ones."""
    text = (story.project.tree / "cx.toml").read_text()
    place, address = "[environments.production]\n", f"http://127.0.0.1:{story.place.port}"
    story.write(
        (text[text.index("[stages]") : text.index("[components.db]")], SHORT.lstrip()),
        ('keep_old = "1h"', 'keep_old = "0s"'),
        (place, f"{place}check = 'echo asked by production; sleep 0.3; sh smoke.sh {address}'\n"),
    )


@pytest.mark.parametrize("others", [ByStore, ByBundle, ByLabels])
def test_a_run_is_killed_at_each_step_and_another_machine_goes_on(
    story: Story, others: type[ByStore]
) -> None:
    """Nobody notices, and nothing is left that nobody answers for."""
    prepare(story)
    machines = others(story)
    with load(story.place.port) as used:
        for number, (step, came) in enumerate(machines.steps.items()):
            lost, other = machines.pair(number)
            story.change()
            lost.pull()
            now = Now(story, lost, lost.log(), lost.cutovers())
            run = lost.start(*machines.lost_runs)
            try:
                wait_until(partial(came, now), lost)
                machines.end(lost, other, run.pid)
            finally:
                run.kill()
                run.wait()
            other.pull()
            how = machines.go_on(other)
            assert story.serving(used) == {story.live(other)}, step
            assert used.failures == [], step
            exist = [row["resource"] for row in other.ok("sql", "--json", MADE).json()]
            assert story.containers() == sorted(exist) and len(exist) == machines.stand, step
            print(f"killed when {step}; {how}: {used}", flush=True)
    assert used.faults() == []


def test_a_machine_is_stopped_at_each_step_another_one_goes_on_and_it_wakes_up(
    story: Story,
) -> None:
    """What it does when it is awake again breaks nothing."""
    prepare(story)
    machines = Stopped(story)
    with load(story.place.port) as used:
        for number, (step, came) in enumerate(STEPS.items()):
            slept, other = machines.pair(number)
            story.change()
            slept.pull()
            now = Now(story, slept, slept.log(), slept.cutovers())
            run = slept.start(*machines.lost_runs)
            try:
                wait_until(partial(came, now), slept)
                machines.end(slept, other, run.pid)
                other.pull()
                machines.go_on(other)
                serving, exist = {story.live(other)}, story.containers()
                assert len(exist) == 2 and story.serving(used) == serving, step
                signal_all(machines.asleep, signal.SIGCONT)
                # What it waits for may never come: others took it away, and its turn with that.
                code = run.wait(2 * STEP_SECONDS)
            finally:
                signal_all(machines.asleep, signal.SIGCONT)
                run.kill()
                run.wait()
            assert code in (0, 1, 3, 9), (step, slept.said())
            assert story.serving(used) == serving and used.failures == [], step
            assert set(exist) <= set(story.containers()), step
            slept.ok("sync")
            assert {story.live(slept), story.live(other)} == serving, step
            print(f"stopped when {step}, ended with {code}: {used}", flush=True)
        machines.machines[0].ok("sync")
        machines.go_on(machines.machines[0])
        assert len(story.containers()) == 2, "what it left is gone"
    assert used.faults() == []


def test_a_balancer_is_restarted_and_the_next_command_sets_it_right(story: Story) -> None:
    """It forgets everything. From the next command's first weights on nobody notices anything, whether it
    was restarted between two commands or under a canary."""
    story.begin_store()
    assert story.release().code == 0
    with load(story.place.port) as used:
        story.serving(used)
        for moment in ("between", "canary"):
            story.change()
            if moment == "between":
                story.place.restart_balancer()
            process = story.project.start("run", *TO_PRODUCTION)
            if moment == "canary":
                wait_for(lambda: len(story.weights()) > 2, "the canary", STEP_SECONDS)
                story.place.restart_balancer()
            wait_for(lambda: len(story.weights()) >= 2, "somebody gets something", STEP_SECONDS)
            # What was asked before it knew anybody is over.
            used.forgive()
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, (moment, err.decode())
            assert story.serving(used) == {story.live()}, moment
            assert used.failures == [], moment
        assert story.project.command("rollback", "production", "-m", "to see it").code == 0
    print(f"restarted twice, and a rollback: {used}")
    assert used.faults() == []


class Long(threading.Thread):
    """One request that takes longer than the rest, and what came of it."""

    def __init__(self, port: int, seconds: float) -> None:
        super().__init__(daemon=True)
        self.port, self.seconds, self.began, self.came = port, seconds, time.monotonic(), ""
        self.start()

    def run(self) -> None:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            link.request("GET", f"/?slow={self.seconds}")
            answer = link.getresponse()
            body = answer.read()
            whole = body == body_of(body.partition(b"\n")[0].decode())
            self.came = f"{answer.status}, {'whole' if whole else 'cut'}"
        except (OSError, http.client.HTTPException) as error:
            self.came = type(error).__name__
        link.close()
        self.took = time.monotonic() - self.began


@pytest.mark.parametrize(("keep_old", "came"), [("0s", "cut"), ("1h", "whole")])
def test_a_request_is_longer_than_the_time_to_drain(story: Story, keep_old: str, came: str) -> None:
    """It goes on as long as its instance: it is cut where that is taken away after `drain`, and comes to its
    end where the old ones are kept."""
    prepare(story)
    story.write(
        ('drain = "30s"', 'drain = "3s"'), ('keep_old = "0s"\n\n', f'keep_old = "{keep_old}"\n\n')
    )
    story.begin_store()
    assert story.release().code == 0
    with load(story.place.port, seconds=(1, 2)) as used:
        story.serving(used)
        story.change()
        long = Long(story.place.port, 50)
        done = story.release()
        assert done.code == 0, done.err
        assert story.serving(used) == {"0.1.1"}
        long.join(100)
    assert used.faults() == []
    flagged = story.project.query("SELECT kind FROM flag")
    if came == "whole":
        assert long.came == "200, whole" and "not-drained" not in flagged
    else:
        assert "whole" not in long.came and long.took < 49, long.came
        assert "not-drained" in flagged and "when its time to drain was over" in done.err
    print(f"longer than drain, kept {keep_old}: {long.came} after {long.took:.0f} s")


RUNNER = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ATTEMPT": "1"}


def test_the_test_environment_of_a_lost_runner_is_destroyed(story: Story) -> None:
    """`kill -9`, and its home is gone: another machine takes away its database, cache, balancer and containers."""
    story.begin_store()
    story.write(
        ('"$CXLOCAL_ENVIRONMENT_URI"\'', '"$CXLOCAL_ENVIRONMENT_URI"; echo it stands; sleep 60\'')
    )
    other = Machine(story, "other")
    place = story.place
    for number, (stage, words) in enumerate(
        [("test", "db apply"), ("test", "web create"), ("smoke", "it stands")]
    ):
        commit = story.project.git("rev-parse", "HEAD")
        told = {**RUNNER, "GITHUB_RUN_ID": str(number), "GITHUB_SHA": commit}
        runner = Machine(story, f"runner-{number}", **told)
        run = runner.start("--no-input")
        try:
            wait_until(partial(reached, runner, stage, words), runner)
        finally:
            signal_all(processes_of(run.pid, workers=True), signal.SIGKILL)
            run.wait()
        shutil.rmtree(runner.home)
        other.ok("sync")
        waits = other.ok("env", "reap")
        assert "which has not ended as far as is known here" in waits.err, waits.err
        there = left_of(story, runner)
        assert there, "something was made"
        [begun] = other.ok(
            "sql", "--json", "SELECT id FROM run WHERE finished_at IS NULL AND given_up_at IS NULL"
        ).json()
        other.ok("env", "reap", "--run", begun["id"], "-m", "its machine is gone")
        assert left_of(story, runner) == [], (stage, words)
        [how] = other.ok(
            "sql",
            "--json",
            f"SELECT deleted_how FROM environment WHERE instance LIKE '%{begun['id'][:8]}%'",
        ).json()
        print(f"lost at {stage} {words}: {there} taken away: {how}", flush=True)
    assert other.ok("sql", "--json", "SELECT * FROM resources_now").json() == []
    assert place.databases() == place.caches() == []


def reached(machine: Machine, stage: str, words: str) -> bool:
    """Whether a stage of a run has begun, and said that."""
    log = machine.log(stage)
    return bool(log) and words in log


def left_of(story: Story, machine: Machine) -> list[str]:
    """What stands of test environments."""
    label = "--filter=label=cxlocal.environment=test"
    containers = story.place.engine.podman("ps", "--all", "--format", "{{.Names}}", label).split()
    balancers = subprocess.run(
        ["pgrep", "-f", f"haproxy .*{machine.home}"], capture_output=True, text=True, check=False
    ).stdout.split()
    return [*containers, *(f"haproxy {one}" for one in balancers), *story.place.databases(),
            *story.place.caches()]  # fmt: skip
