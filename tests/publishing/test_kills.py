"""A publication to four targets is killed between any two steps and finished on another machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WHEEL = """
import os, zipfile
version = os.environ["CXLOCAL_VERSION"]
about = f"Metadata-Version: 2.1\\nName: webshop\\nVersion: {version}\\n"
info = f"webshop-{version}.dist-info/"
files = {"webshop.py": version, info + "METADATA": about, info + "RECORD": "",
         info + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
with zipfile.ZipFile(f"webshop-{version}-py3-none-any.whl", "w") as archive:
    for name, content in files.items():
        archive.writestr(zipfile.ZipInfo(name), content)
"""
CONFIG = """
[stages]
build = { kind = "build", command = "python3 make_wheel.py", produces = { wheel = "webshop-*.whl" } }
[targets.index]
tool = "python-index"
with = { url = "@INDEX@/", simple = "@INDEX@/simple/" }
[targets.files]
tool = "folder"
with = { folder = "@DESK@/share" }
[targets.mirror]
tool = "commands"
[targets.mirror.with]
ask = 'test ! -e "@DESK@/mirror/$CXLOCAL_FILE" || sha256sum < "@DESK@/mirror/$CXLOCAL_FILE"'
publish = '''sh @DESK@/stop.sh mirror-before
cp "$CXLOCAL_ARTIFACT_WHEEL" @DESK@/mirror/; echo put >> "@DESK@/mirror/log-$CXLOCAL_VERSION"
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
    """Two machines with one store, one project and four targets."""

    def __init__(self, shop: Any, root: Path, index: Any) -> None:
        self.shop, self.root, self.desk, self.index = shop, root, root / "desk", index
        index.mood = "fine"
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

    def write(self, line: str) -> None:
        """The project, whose versions begin with ``line``."""
        config = CONFIG.replace("@INDEX@", self.index.url).replace("@DESK@", str(self.desk))
        self.shop.write(
            f'[version]\nline = "{line}"\n{config}',
            {"make_wheel.py": WHEEL, ".gitignore": "*.whl\n"},
        )
        for machine in ("one", "two"):
            assert self.on(machine, "trust", "--yes").code == 0
        assert self.on("two", "sync").code == 0

    def env(self, machine: str) -> dict[str, str]:
        return {"CXLOCAL_HOME": str(self.root / machine), "CXLOCAL_STORE": self.url}

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
        file = f"webshop-{version}-py3-none-any.whl"
        share, mirror = self.desk / "share" / version / file, self.desk / "mirror" / file
        assert share.read_bytes() == mirror.read_bytes()
        assert [path.name for path in share.parent.iterdir()] == [file], "no half file stays"
        assert (self.desk / "mirror" / f"log-{version}").read_text() == "put\n"
        tag = self.shop.git("ls-remote", "origin", f"refs/tags/v{version}^{{}}").split()
        assert tag[0] == self.shop.git("rev-parse", "HEAD")
        seen = self.on("two", "sql", "--json", f"SELECT target, state, files_there FROM publication"
                       f" WHERE version = '{version}' ORDER BY target").json()  # fmt: skip
        assert [(one["target"], one["state"], one["files_there"]) for one in seen] == [
            (name, "there", 1) for name in TARGETS
        ]
        assert self.on("two", "sql", "--json", "SELECT * FROM half_published").json() == []


TARGETS = ("files", "index", "mirror", "tag")
FEW = ("POST after", "mirror-after", "tag-before")
"""Where it is killed: at a request to the index, or beside an act of a command or of git."""
REST = ("GET 1 before", "mirror-before", "POST before", "GET 2 before", "tag-after")


@pytest.fixture
def machines(shop: Any, tmp_path: Path, index: Any) -> Machines:
    return Machines(shop, tmp_path, index)


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("points", [FEW, pytest.param(REST, marks=pytest.mark.heavy)])
def test_killed_between_any_two_steps_and_finished_elsewhere(
    machines: Machines, points: tuple[str, ...]
) -> None:
    """Every second time what it had begun outlives it, and goes on beside the other machine."""
    machines.write(f"1.{len(points)}")
    index, desk = machines.index, machines.desk
    for number, point in enumerate(points):
        version = machines.release()
        index.taken.clear()
        index.counts.clear()
        at = desk / f"at-{point}"
        (desk / "go").unlink(missing_ok=True)
        index.reached.clear()
        index.go.clear()
        if " " in point:
            index.stop_at = point
        else:
            (desk / f"stop-{point}").touch()
        process = machines.start("one", "publish", version)
        until(lambda at=at: index.reached.is_set() or at.exists())  # type: ignore[misc]
        outlives = number % 2 == 1 and point != "mirror-before"
        (os.kill if outlives else os.killpg)(process.pid, signal.SIGKILL)
        if outlives:
            (desk / "go").touch()
            index.go.set()
        process.communicate()
        at.unlink(missing_ok=True)
        machines.finish("two", version)
        (desk / "go").touch()
        index.go.set()
        machines.holds(version)
        assert len(index.taken) == 1, f"{point}: the index took it {len(index.taken)} times"
    assert machines.on("one", "publish", version).code == 0
    assert len(index.taken) == 1


def test_two_machines_at_once_put_everything_once(machines: Machines) -> None:
    machines.write("2.0")
    version = machines.release()
    machines.on("two", "sync")
    machines.index.taken.clear()
    both = [machines.start(name, "publish", version) for name in ("one", "two")]
    said = [process.communicate(timeout=50)[1].decode() for process in both]
    assert {process.returncode for process in both} <= {0, 3}, said
    for name in ("one", "two"):
        machines.finish(name, version)
    machines.on("two", "sync")
    machines.holds(version)
    assert len(machines.index.taken) == 1
