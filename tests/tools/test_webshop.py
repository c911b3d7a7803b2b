"""docs/examples/webshop, carried out with real programs while people use it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import base_image
import pytest
from engine_kit import Engine, Registry, free_port, wait_for
from load_kit import Load, load
from postgresql_kit import Cluster

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "webshop"
ADDRESS = "198.51.100.7"
"""An address of this machine that containers reach, too."""
pytestmark = [
    pytest.mark.needs("podman", "runc", "buildah", "skopeo", "docker-registry", "haproxy",
                      "redis-server", "pg_ctlcluster", "ip", "/usr/bin/python3"),
    pytest.mark.timeout(300),
]  # fmt: skip


LIVE = "SELECT version FROM deployments_now WHERE environment = 'production'"


class Place:
    """What stands before the first release: an engine, a registry, a database server, a balancer."""

    def __init__(self, folder: Path, engine: Engine, registry: Registry) -> None:
        self.folder, self.engine, self.registry = folder, engine, registry
        subprocess.run(["ip", "address", "replace", f"{ADDRESS}/32", "dev", "lo"], check=True)
        (folder / "base").mkdir()
        base_image.make(engine, folder / "base")
        self.cluster = Cluster()
        self.database = self.cluster.primary("-c", "fsync=off", "-c", "listen_addresses=*")
        with (self.database.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samehost trust\nhost all all 10.0.0.0/8 trust\n")
        self.database.sql("SELECT pg_reload_conf()")
        self.port, self.socket = free_port(), folder / "lb.sock"
        text = (EXAMPLE / "lb" / "haproxy.cfg").read_text().replace("CXLOCAL_PORT", str(self.port))
        # Nobody but the rotation is to hide a failure.
        text = f"global\n  stats socket {self.socket} level admin\n{text}  retries 0\nbackend qa\n"
        (folder / "lb.cfg").write_text(text)
        self.balancer: subprocess.Popen[bytes] | None = None
        self.start_balancer()

    def start_balancer(self) -> None:
        self.balancer = subprocess.Popen(
            ["haproxy", "-db", "-f", str(self.folder / "lb.cfg")], stderr=subprocess.DEVNULL
        )
        wait_for(self.socket.exists, "the balancer does not come up")

    def forget(self) -> None:
        """A balancer that nobody has turned yet: the next story has another record of who did."""
        assert self.balancer is not None
        self.balancer.kill()
        self.balancer.wait()
        for file in self.folder.glob(f"{self.socket.name}*"):
            file.unlink()
        self.start_balancer()

    def restart_balancer(self) -> None:
        """Killed and started again: it has forgotten its servers."""
        assert self.balancer is not None
        self.balancer.kill()
        self.balancer.wait()
        self.socket.unlink()
        self.start_balancer()

    def environ(self) -> dict[str, str]:
        return {
            **self.engine.env,
            "DATABASES": f"postgresql://postgres@{ADDRESS}:{self.database.port}/postgres",
            "CACHES": str(self.folder / "caches"), "CACHE_HOST": ADDRESS,
        }  # fmt: skip

    def close(self) -> None:
        assert self.balancer is not None
        self.balancer.kill()
        self.balancer.wait()
        for pid in (self.folder / "caches").glob("*/pid"):
            os.kill(int(pid.read_text()), signal.SIGKILL)
        self.cluster.close()
        subprocess.run(["ip", "address", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry
) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"), engine, registry)
    yield made
    made.close()


class Story:
    """The example as a project of this place."""

    def __init__(self, project: Any, place: Place, hold: str) -> None:
        self.project, self.place = project, place
        shutil.copytree(EXAMPLE, project.tree, dirs_exist_ok=True)
        file = project.tree / "cx.toml"
        text = file.read_text()
        text = text.replace(
            'registry.example.com/webshop"',
            f'{place.registry.host}/{project.root.name.lower()}", tls = false',
        )
        text = text.replace("/run/haproxy/admin.sock", str(place.socket)).replace(
            'hold = "2m"', f'hold = "{hold}"'
        )
        file.write_text(text)
        project.push("the example")
        project.environ |= {**place.environ(), "CXLOCAL_STORE": f"sqlite://{project.root}/store.db"}
        assert project.command("store", "create", project.environ["CXLOCAL_STORE"]).code == 0

    def change(self, file: str = "README", text: str = "another one\n") -> None:
        path = self.project.tree / file
        path.write_text((path.read_text() if path.exists() else "") + text)
        self.project.push("a change")

    def break_in_production(self) -> None:
        """A version that says another one there, so that its check fails."""
        path = self.project.tree / "shop" / "server.py"
        told = 'os.environ["CXLOCAL_VERSION"]'
        wrong = f'{told} + "?" * (os.environ["CXLOCAL_ENVIRONMENT"] == "production")'
        path.write_text(path.read_text().replace(told, wrong))
        self.project.push("a change that fails in production")

    def release(self, **more: Any) -> Any:
        """All the way to production."""
        return self.project.run("--to", "production", timeout=120, **more)

    def weights(self) -> dict[str, int]:
        """What the balancer gives to whom, of those that get anything."""
        asked = "show stat web 4 -1"
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self.place.socket))
            link.sendall(f"{asked}\n".encode())
            lines = b"".join(iter(lambda: link.recv(65536), b"")).decode().strip().splitlines()
        names = lines[0][2:].split(",")
        rows = [dict(zip(names, line.split(","), strict=False)) for line in lines[1:]]
        return {row["svname"]: int(row["uweight"]) for row in rows if int(row["uweight"] or 0)}

    def live(self, machine: Any = None) -> str:
        """The version in production, as the record says."""
        if machine is not None:
            return str(machine.command("sql", "--json", LIVE).json()[0]["version"])
        return str(self.project.query(LIVE)[0])

    def serving(self, used: Load) -> set[str]:
        """The versions that answer now."""
        return {name.rpartition(" ")[2] for name in used.wait_for(60)}

    def containers(self) -> list[str]:
        """Those of production."""
        ours = "--filter=label=cxlocal.environment=production"
        listed = self.place.engine.podman("ps", "--all", "--format", "{{.Names}}", ours)
        return sorted(listed.split())


@pytest.fixture
def story(project: Any, place: Place) -> Iterator[Story]:
    place.forget()
    yield Story(project, place, "1s")
    place.engine.podman("rm", "--all", "--force", "--time", "0")


def test_nobody_notices_a_release_a_way_back_or_one_that_fails(story: Story) -> None:
    """Rotation with a canary, rollback, a failed check; and the test environment is gone each time."""
    done = story.release()
    assert done.code == 0, done.err
    assert story.live() == "0.1.0"
    with load(story.place.port, people=6, slow_people=3) as used:
        story.change()
        done = story.release()
        assert done.code == 0, done.err
        assert story.serving(used) == {"0.1.1"} and used.answers["webshop 0.1.0"] > 0
        there = story.containers()
        done = story.project.command("rollback", "production", "-m", "to see it")
        assert done.code == 0, done.err
        assert story.serving(used) == {"0.1.0"}
        assert story.containers() == there, "a way back only turns weights"
        story.break_in_production()
        done = story.release()
        assert done.code == 1 and "✗ live" in done.err, done.err
        assert story.serving(used) == {"0.1.0"} and story.live() == "0.1.0"
        assert used.rate > 200
    print(f"rotation, rollback, failed check: {used}")
    assert used.failures == []


class Machine:
    """Another machine: a clone and a home of its own; only the store is shared."""

    def __init__(self, story: Story, name: str) -> None:
        self.project, self.root = story.project, story.project.root / name
        self.home, self.tree = self.root / "home", self.root / "work"
        self.root.mkdir()
        subprocess.run(
            ["git", "clone", "-q", str(story.project.remote), str(self.tree)], check=True
        )
        self.environ = {**story.project.environ, "CXLOCAL_HOME": str(self.home)}

    def command(self, *words: str) -> Any:
        return self.project.cx(*words, cwd=self.tree, env=self.environ, timeout=240)

    def pull(self) -> None:
        subprocess.run(["git", "pull", "-q"], cwd=self.tree, check=True)

    def start(self) -> subprocess.Popen[bytes]:
        """A run to production, not waited for."""
        return subprocess.Popen(
            [self.project.cx.program, "run", "--to", "production"], cwd=self.tree,
            env={**os.environ, **self.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def log(self) -> str:
        """What the newest deployment into production said so far; empty before it began."""
        found = sorted(self.home.glob("logs/*/live*.log"), key=lambda one: one.stat().st_mtime)
        return found[-1].read_text(errors="replace") if found else ""

    def cutovers(self) -> int:
        asked = "SELECT count(*) FROM deployment WHERE environment = 'production'"
        with sqlite3.connect(f"file:{self.home}/journal.db?mode=ro", uri=True) as journal:
            return int(journal.execute(asked).fetchone()[0])


def said(words: str, times: int = 1) -> Callable[[Any], bool]:
    """The newest deployment, another one than before, said that."""
    return lambda now: now.log != now.log_before and now.log.count(words) >= times


STEPS: dict[str, Callable[[Any], bool]] = {
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
}  # fmt: skip
"""When the run is killed, of each step of a deployment. What is awaited may be over when it is seen."""
SHORT = """
[stages]
image = { tool = "oci", produces = ["image"] }
live  = { kind = "deploy", environment = "production", needs = ["image"] }
"""
"""Nothing but the deployment: what a kill before it leaves is told elsewhere."""


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


@pytest.mark.heavy
@pytest.mark.timeout(3000)
def test_a_run_is_killed_at_each_step_and_another_machine_goes_on(story: Story) -> None:
    """Nobody notices, and nothing is left that nobody answers for. The machines take turns at being lost."""
    file = story.project.tree / "cx.toml"
    text = file.read_text()
    text = text[: text.index("[stages]")] + SHORT + text[text.index("[components.db]") :]
    text = text.replace('keep_old = "1h"', 'keep_old = "0s"').replace(
        "[environments.production]\n",
        "[environments.production]\ncheck = 'echo asked by production; sleep 0.3;"
        f" sh smoke.sh http://127.0.0.1:{story.place.port}'\n",
    )
    file.write_text(text)
    story.project.push("the deployment alone")
    machines = [Machine(story, name) for name in ("one", "two")]
    done = machines[0].command("run", "--to", "production")
    assert done.code == 0, done.err
    with load(story.place.port, people=6, slow_people=12, seconds=(1, 1, 2, 5)) as used:
        for number, (step, came) in enumerate(STEPS.items()):
            lost, other = machines[number % 2], machines[1 - number % 2]
            assert lost.command("sync").code == 0
            story.change()
            lost.pull()
            now = Now(story, lost, lost.log(), lost.cutovers())
            process = lost.start()
            try:
                wait_for(lambda now=now, came=came: came(now), step, 150)
            finally:
                process.send_signal(signal.SIGKILL)
                process.communicate()
            other.pull()
            assert other.command("sync").code == 0
            taken = other.command("env", "take", "production", "-m", "the other one is gone")
            assert taken.code == 0, (step, taken.err)
            done = other.command("run", "--to", "production")
            assert done.code == 0, (step, done.err)
            assert story.serving(used) == {story.live(other)}, step
            assert used.failures == [], step
            assert sorted(story.containers()) == sorted(
                row["resource"] for row in other.command("sql", "--json", MADE).json()
            ), step
            assert len(story.containers()) == 2, step
            print(f"killed when {step}: {used}", flush=True)
    assert used.failures == []


MADE = (
    "SELECT 'cxlocal-' || resource AS resource FROM resources_now"
    " WHERE environment = 'production' AND component = 'web'"
)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_balancer_is_restarted_and_the_next_command_sets_it_right(story: Story) -> None:
    """It forgets everything. From the next command's first weights on nobody notices anything, whether it
    was restarted between two commands or under a canary; one request in twenty takes up to 20 s."""
    assert story.release().code == 0
    slow = (1, 1, 1, 1, 2, 2, 3, 5, 10, 20)
    with load(story.place.port, people=8, slow_people=40, seconds=slow) as used:
        story.serving(used)
        for moment in ("between", "canary"):
            story.change()
            if moment == "between":
                story.place.restart_balancer()
            process = story.project.start("run", "--to", "production")
            if moment == "canary":
                wait_for(lambda: len(story.weights()) > 2, "the canary", 150)
                story.place.restart_balancer()
            wait_for(lambda: len(story.weights()) >= 2, "somebody gets something", 150)
            # What was asked before it knew anybody is over.
            used.forgive()
            _, err = process.communicate(timeout=240)
            assert process.returncode == 0, (moment, err.decode())
            assert story.serving(used) == {story.live()}, moment
            assert used.failures == [], moment
        assert story.project.command("rollback", "production", "-m", "to see it").code == 0
        assert used.rate > 200 and used.slow * 20 >= used.rate
    print(f"restarted twice, and a rollback: {used}")
    assert used.failures == []
