"""What runs of machines that are gone left behind: another machine knows of it and takes it away."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOOL = """
import os
from pathlib import Path
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Applied, Done, Tool

DESK = Path("@DESK@")

class Cloud(Tool):
    name = "cloud"
    api = 2
    class Options(Tool.Options, frozen=True):
        pass

    def _make(self, ctx):
        ctx.intend({"vm": ctx.environment.instance})
        (DESK / ctx.environment.instance).touch()
        if (DESK / "deadly").exists():
            stem = Path(f"/proc/{os.getppid()}/stat").read_text()
            os.kill(int(stem.rpartition(")")[2].split()[1]), 9)  # cxlocal itself
            os._exit(9)

    def provision(self, ctx):
        self._make(ctx)
        return Done()

    def apply(self, ctx):
        self._make(ctx)
        return Applied()

    def destroy(self, ctx):
        (DESK / ctx.handle["vm"]).unlink(missing_ok=True)
        return Done()

@hookimpl
def cxlocal_register_tools():
    return [Cloud]
"""
PROVISIONED = """
[stages]
smoke = { command = "true", environment = "test" }
[environments.test]
lifetime = "per-run"
tool = "cloud"
"""
DEPLOYED = """
[stages]
up = { kind = "deploy", tool = "cloud", environment = "test" }
[environments.test]
lifetime = "per-run"
"""
JOB = {"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "77", "GITHUB_RUN_ATTEMPT": "1",
       "GITHUB_SERVER_URL": "https://git.example", "GITHUB_REPOSITORY": "a/b",
       "CXLOCAL_PATIENCE": "2s"}  # fmt: skip


class Cloud:
    """A CI server whose jobs lose their homes, a laptop, a store, and what stands in the cloud."""

    def __init__(self, shop: Any, tools: Any, root: Path) -> None:
        self.shop, self.root, self.desk = shop, root, root / "desk"
        self.desk.mkdir()
        self.source = TOOL.replace("@DESK@", str(self.desk))
        tools(self.source)
        self.laptop = {
            "CXLOCAL_HOME": str(shop.home), "CXLOCAL_STORE": f"sqlite://{root}/shared/store.db",
        }  # fmt: skip
        assert self("store", "create", self.laptop["CXLOCAL_STORE"]).code == 0

    def __call__(self, *words: str) -> Any:
        return self.shop.command(*words, env=self.laptop)

    def job(self, **more: str) -> Any:
        """One job on a new machine, which is lost with its home afterwards."""
        home = self.root / "ci"
        env = {**self.laptop, **JOB, "CXLOCAL_HOME": str(home), **more}
        done = self.shop.command("run", "--no-input", env=env)
        shutil.rmtree(home)
        return done

    def loses_a_machine(self, config: str) -> str:
        """A job is killed with its home right after it made something; its run."""
        self.shop.write(config)
        (self.desk / "deadly").touch()
        assert self.job().code == -9
        (self.desk / "deadly").unlink()
        assert len(self.standing()) == 1
        assert self("sync").code == 0
        [run] = self.known("SELECT run FROM resources_now")
        return str(run["run"])

    def standing(self) -> list[str]:
        return sorted(path.name for path in self.desk.glob("test-*"))

    def known(self, sql: str) -> Any:
        return json.loads(self("sql", sql, "--json").out)


@pytest.fixture
def cloud(shop: Any, tools: Callable[[str], None], tmp_path: Path) -> Cloud:
    return Cloud(shop, tools, tmp_path)


@pytest.mark.parametrize("config", [PROVISIONED, DEPLOYED], ids=["provisioned", "deployed"])
def test_a_lost_machine_leaves_nothing_for_ever(cloud: Cloud, config: str) -> None:
    run = cloud.loses_a_machine(config)
    looked = cloud("env", "reap")
    assert looked.code == 0 and f"env reap --run {run[:8]}" in looked.err, looked.err
    assert len(cloud.standing()) == 1, "it may be at work"
    done = cloud("env", "reap", "--run", run[:8], "-m", "its machine is gone")
    assert done.code == 0 and "Taken away: test-" in done.err, done.err
    assert cloud.standing() == []
    assert cloud.known("SELECT outcome FROM run_board") == [{"outcome": "given up"}]
    assert cloud.known("SELECT deleted_how FROM environment WHERE created_at IS NOT NULL") in (
        [], [{"deleted_how": "destroyed"}],
    )  # fmt: skip
    assert "Left behind" not in cloud("status").out + cloud("status").err
    assert cloud("env", "list", "--json").json() == []
    assert cloud("verify").code == 0


def test_what_is_not_heard_of_for_long_counts_as_left_behind(cloud: Cloud) -> None:
    cloud.loses_a_machine(PROVISIONED + 'expires = "2s"\n')
    until = time.monotonic() + 20
    while cloud.standing() and time.monotonic() < until:
        assert cloud("env", "reap").code == 0
    assert cloud.standing() == []
    [run] = cloud.known("SELECT given_up_why FROM run")
    assert run["given_up_why"] == "nothing was heard of it for 2.0 s"


def test_a_later_attempt_of_the_same_ci_run_ends_the_earlier_one(cloud: Cloud) -> None:
    cloud.loses_a_machine(PROVISIONED)
    assert cloud.job(GITHUB_RUN_ID="78", GITHUB_RUN_ATTEMPT="2").code == 0
    cloud("sync")
    assert cloud("env", "reap").code == 0 and len(cloud.standing()) == 1, "that is another run"
    assert cloud.job(GITHUB_RUN_ATTEMPT="2").code == 0
    cloud("sync")
    assert cloud("env", "reap").code == 0
    assert cloud.standing() == []


def test_what_a_run_at_work_made_is_left_alone(cloud: Cloud) -> None:
    stopped = '[stages]\nsmoke = { command = "@", environment = "test" }\n'
    again = f"{cloud.shop.cx.program} env reap --run $CXLOCAL_RUN -m impatient"
    stage = stopped.replace("@", f"{again} || test $? = 3")
    cloud.shop.write(stage + PROVISIONED[PROVISIONED.index("[environments") :])
    done = cloud("run")
    assert done.code == 0, done.err
    assert cloud.known("SELECT given_up_at FROM run") == [{"given_up_at": None}]


@pytest.mark.parametrize(
    "words", [("--run", "latest"), ("-m", "why"), ("--run", "latest", "-m", "why", "--dry-run")]
)
def test_giving_up_needs_a_run_and_a_reason(cloud: Cloud, words: tuple[str, ...]) -> None:
    cloud.shop.write('[stages]\na = { command = "true" }\n')
    assert cloud("env", "reap", *words).code == 2


def test_a_store_that_is_away_keeps_nobody_from_making_it(cloud: Cloud) -> None:
    """What that risks is said once; the bundle tells it later."""
    gone = f"mv {cloud.root}/shared {cloud.root}/away; touch {cloud.root}/shared"
    cloud.shop.write(
        f"""
[stages]
build = {{ command = "{gone}" }}
one = {{ kind = "deploy", tool = "cloud", environment = "test", needs = ["build"] }}
[environments.test]
lifetime = "per-run"
"""
    )
    done = cloud.job()
    assert done.code == 6, done.err
    assert done.err.count("nobody else can take that away") == 1
    assert cloud.standing() == []
