"""A publication to four targets is killed between any two steps and finished on another machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from kinds import KINDS, Kind
from weather import Weather

CONFIG = """
[targets.files]
tool = "folder"
with = { folder = "@DESK@/share" }
[targets.mirror]
tool = "commands"
[targets.mirror.with]
ask = 'test ! -e "@DESK@/mirror/$CXLOCAL_FILE" || sha256sum < "@DESK@/mirror/$CXLOCAL_FILE"'
publish = '''sh @DESK@/stop.sh mirror-before
cp "$CXLOCAL_ARTIFACT_FILE" @DESK@/mirror/; echo put >> "@DESK@/mirror/log-$CXLOCAL_VERSION"
sh @DESK@/stop.sh mirror-after'''
[targets.tag]
tool = "git-tag"
"""
STOP = """
test -e @DESK@/stop-$1 || exit 0
mv @DESK@/stop-$1 @DESK@/at-$1
until test -e @DESK@/go; do sleep 0.05; done
"""


class Machines:
    """Two machines with one store, one project and four targets: one of a kind, a folder, commands, a tag."""

    def __init__(self, shop: Any, root: Path, kind: Kind, weather: Weather) -> None:
        self.shop, self.root, self.desk, self.kind, self.weather = (
            shop,
            root,
            root / "desk",
            kind,
            weather,
        )
        weather.mood = "fine"
        for name in ("share", "mirror"):
            (self.desk / name).mkdir(parents=True)
        self.url = f"sqlite://{root}/shared/store.db"
        assert self.on("one", "store", "create", self.url).code == 0
        (self.desk / "stop.sh").write_text(STOP.replace("@DESK@", str(self.desk)))
        for hook, point in (("pre-receive", "tag-before"), ("post-receive", "tag-after")):
            path = shop.remote / "hooks" / hook
            path.write_text(
                f"#!/bin/sh\nread old new ref\ncase $ref in refs/tags/*) sh {self.desk}/stop.sh {point};; esac\n"
            )
            path.chmod(0o755)
        if weather.double is not None:
            weather.double.follow(shop.remote)

    def write(self, line: str) -> None:
        """The project, whose versions begin with ``line``."""
        config = self.kind.config(self.weather) + CONFIG.replace("@DESK@", str(self.desk))
        self.shop.write(f'[version]\nline = "{line}"\n{config}', self.kind.files())
        for machine in ("one", "two"):
            assert self.on(machine, "trust", "--yes").code == 0
        assert self.on("two", "sync").code == 0

    def env(self, machine: str) -> dict[str, str]:
        home = str(self.root / machine)
        return {"CXLOCAL_HOME": home, "CXLOCAL_STORE": self.url, **self.kind.secrets}

    def on(self, machine: str, *words: str) -> Any:
        return self.shop.command(*words, env=self.env(machine))

    def start(self, machine: str, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.shop.cx.program, *words], cwd=self.shop.tree, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **self.shop.environ, **self.env(machine)},
        )  # fmt: skip

    def release(self) -> str:
        """A new version, made by machine one and at the store."""
        self.shop.push("more")
        done = self.on("one", "run", "--require-sync", "--json")
        assert done.code == 0, done.err
        return str(done.json()["version"])

    def finish(self, machine: str, version: str) -> None:
        """Publish until all is there; turns of the dead are taken, as a person would."""
        for _ in range(6):
            done = self.on(machine, "publish", version)
            if done.code == 0:
                return
            taken = [name for name in TARGETS if f"another machine publishes to {name}" in done.err]
            assert done.code == 3 and taken, done.err
            for name in taken:
                assert self.on(machine, "env", "take", name, "-m", "it was killed").code == 0
        raise AssertionError("it does not come to an end")

    def holds(self, version: str) -> None:
        """Every target has exactly the right bytes, once, and the ledger says so."""
        file = self.kind.file.replace("{}", version)
        share, mirror = self.desk / "share" / version / file, self.desk / "mirror" / file
        assert share.read_bytes() == mirror.read_bytes()
        assert [path.name for path in share.parent.iterdir()] == [file], "no half file stays"
        assert (self.desk / "mirror" / f"log-{version}").read_text() == "put\n"
        tag = self.shop.git("ls-remote", "origin", f"refs/tags/v{version}^{{}}").split()
        assert tag[0] == self.shop.git("rev-parse", "HEAD")
        seen = self.on("two", "sql", "--json", f"SELECT target, state, files_there FROM publication"
                       f" WHERE version = '{version}' ORDER BY target").json()  # fmt: skip
        there = {name: 1 for name in TARGETS} | {"place": 2 if self.kind.last else 1}
        assert {one["target"]: one["files_there"] for one in seen} == there
        assert {one["state"] for one in seen} == {"there"}
        asked = self.on("two", "publish", version, "--check")
        assert asked.code == 0, asked.err
        assert self.on("two", "sql", "--json", "SELECT * FROM half_published").json() == []


TARGETS = ("files", "mirror", "place", "tag")
FEW = ("POST after", "mirror-after", "tag-before")
"""Where it is killed: at a request to the target of a kind, or beside an act of a command or of git."""
REST = ("GET 1 before", "mirror-before", "POST before", "GET 2 before", "tag-after")
REQUESTS = {
    "pypiserver": REST, "devpi": ("POST before", "POST after"), "npm": ("PUT before", "PUT after"),
    "object-store": ("PUT before", "PUT after"),
    "oci": ("POST after", "PATCH before", "PATCH after", "PUT 1 after", "PUT 3 before", "PUT 3 after"),
    "github": ("POST 1 before", "POST 1 after", "POST 2 before", "POST 2 after", "PATCH before", "PATCH after"),
    "gitea": ("POST 1 after", "POST 2 before", "POST 2 after", "PATCH before", "PATCH after"),
    "gitlab": ("PUT before", "PUT after", "POST before", "POST after"),
}  # fmt: skip
"""Of each kind every request that changes something: before it arrives, and after it was carried out."""
POINTS = [pytest.param("pypiserver", FEW, id="few")] + [
    pytest.param(name, points, marks=[pytest.mark.heavy, pytest.mark.needs(*KINDS[name].needs)], id=name)
    for name, points in REQUESTS.items()
]  # fmt: skip


@pytest.fixture(scope="module")
def machine_rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Weather]]:
    """A server of each kind that is asked for."""
    with ExitStack() as stack:
        started: dict[str, Weather] = {}

        def serve(name: str) -> Weather:
            if name not in started:
                server = KINDS[name].server(tmp_path_factory.mktemp(name))
                started[name] = stack.enter_context(server)
            return started[name]

        yield serve


@pytest.fixture
def machines(shop: Any, tmp_path: Path, machine_rooms: Any, request: Any) -> Machines:
    name = request.getfixturevalue("kind") if "kind" in request.fixturenames else "pypiserver"
    return Machines(shop, tmp_path, KINDS[name], machine_rooms(name))


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "points"), POINTS)
def test_killed_between_any_two_steps_and_finished_elsewhere(
    machines: Machines, kind: str, points: tuple[str, ...]
) -> None:
    """Every second time what it had begun outlives it, and goes on beside the other machine."""
    machines.write(f"1.{len(points)}")
    weather, desk = machines.weather, machines.desk
    for number, point in enumerate(points):
        version = machines.release()
        weather.taken.clear()
        weather.counts.clear()
        at = desk / f"at-{point}"
        (desk / "go").unlink(missing_ok=True)
        weather.reached.clear()
        weather.go.clear()
        if " " in point:
            weather.stop_at = point
        else:
            (desk / f"stop-{point}").touch()
        process = machines.start("one", "publish", version)
        until(lambda at=at: weather.reached.is_set() or at.exists())  # type: ignore[misc]
        outlives = number % 2 == 1 and point != "mirror-before"
        (os.kill if outlives else os.killpg)(process.pid, signal.SIGKILL)
        if outlives:
            (desk / "go").touch()
            weather.go.set()
        process.communicate()
        at.unlink(missing_ok=True)
        machines.finish("two", version)
        (desk / "go").touch()
        weather.go.set()
        machines.holds(version)
        assert not machines.kind.single or len(weather.taken) == 1, (
            f"{kind}, {point}: {weather.taken}"
        )
    taken = len(weather.taken)
    assert machines.on("one", "publish", version).code == 0
    assert len(weather.taken) == taken


EACH = [
    pytest.param(name, marks=[pytest.mark.needs(*KINDS[name].needs), *([pytest.mark.heavy] if name != "pypiserver" else [])])
    for name in KINDS
]  # fmt: skip


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", EACH)
def test_two_machines_at_once_put_everything_once(machines: Machines, kind: str) -> None:
    machines.write("2.0")
    version = machines.release()
    machines.on("two", "sync")
    machines.weather.taken.clear()
    both = [machines.start(name, "publish", version) for name in ("one", "two")]
    said = [process.communicate(timeout=50)[1].decode() for process in both]
    assert {process.returncode for process in both} <= {0, 3}, said
    for name in ("one", "two"):
        machines.finish(name, version)
    machines.on("two", "sync")
    machines.holds(version)
    assert not machines.kind.single or len(machines.weather.taken) == 1, (
        kind,
        machines.weather.taken,
    )
