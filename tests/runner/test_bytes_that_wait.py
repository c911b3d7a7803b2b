"""What a CI job built and others go on with: its bytes are where they reach them, or it says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

JOB = {"CI": "true", "GITHUB_ACTIONS": "true", "CXLOCAL_PATIENCE": "2s"}
STOPS = """
[stages]
build = { kind = "build", command = "echo $CXLOCAL_VERSION > app.txt", produces = { app = "app.txt" } }
live = { kind = "deploy", command = "cat $CXLOCAL_ARTIFACT_APP > @LIVE@", needs = ["build"], environment = "production" }
[environments]
production = {}
"""
HOLDS = (
    STOPS.replace("production = {}", "production = { protected = false }").replace(
        'environment = "production" }', 'environment = "production", requires = "READY" }'
    )
    + """
[promotions]
READY = {}
PASSED = { after = ["build"] }
"""
)
LARGE = STOPS.replace("echo $CXLOCAL_VERSION >", "truncate -s 65M")


class Farm:
    """Jobs with empty homes, laptops, and a store."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop, self.root = shop, root
        self.store = {"CXLOCAL_STORE": f"sqlite://{root}/shared/store.db"}
        assert self.on("laptop", "store", "create", self.store["CXLOCAL_STORE"]).code == 0

    def write(self, config: str) -> None:
        self.shop.write(
            config.replace("@LIVE@", str(self.root / "live")), {".gitignore": "app.txt\n"}
        )

    def on(self, machine: str, *words: str, **more: str) -> Any:
        env = {**self.store, "CXLOCAL_HOME": str(self.root / machine), **more}
        return self.shop.command(*words, env=env)

    def job(self, *words: str) -> Any:
        """A job, whose home goes with it."""
        done = self.on("ci", *words, **JOB)
        shutil.rmtree(self.root / "ci")
        return done

    def live(self) -> str:
        return (self.root / "live").read_text().strip()


@pytest.fixture
def farm(shop: Any, tmp_path: Path) -> Farm:
    return Farm(shop, tmp_path)


GO_ON = {
    "deploy": ("deploy", "0.1.0", "--to", "production"),
    "resume": ("run", "--resume", "0.1.0", "--to", "production"),
}


@pytest.mark.parametrize("how", GO_ON)
def test_a_laptop_goes_on_with_what_a_job_stopped_before(farm: Farm, how: str) -> None:
    farm.write(STOPS)
    assert farm.job("run", "--no-input").code == 0
    assert farm.on("laptop", "sync").code == 0
    [found] = farm.on("laptop", "status", "--json").json()["waiting_versions"]
    assert (found["version"], found["artifact"]) == ("0.1.0", "app")
    done = farm.on("laptop", *GO_ON[how])
    assert done.code == 0, done.err
    assert farm.live() == "0.1.0"


def test_a_laptop_goes_on_with_what_a_job_promoted(farm: Farm) -> None:
    farm.write(HOLDS)
    farm.job("run", "--no-input", "--to", "build")
    farm.on("laptop", "sync")
    prepared = farm.on("laptop", "prepare", "--json").json()
    assert {row["name"]: row["state"] for row in prepared}["artifact app 0.1.0"] == "ok"
    assert farm.on("laptop", "promote", "0.1.0", "READY", "-m", "looked at").code == 0
    (farm.root / "shared" / "store.db").rename(farm.root / "gone")
    done = farm.on("laptop", "deploy", "0.1.0", "--to", "production", "--offline")
    assert done.code == 0, done.err
    assert farm.live() == "0.1.0"


def test_single_commands_leave_their_bytes_too(farm: Farm) -> None:
    farm.write(
        STOPS.replace(
            "[environments]", '[promotions]\nPASSED = { after = ["build"] }\n[environments]'
        )
    )
    run = farm.on("ci", "run", "start", "--json", **JOB).json()["run"]
    words = ("sh", "-c", "echo made > app.txt")
    assert farm.on("ci", "stage", "build", "--", *words, **JOB, CXLOCAL_RUN=run).code == 0
    done = farm.on("ci", "run", "finish", **JOB, CXLOCAL_RUN=run)
    assert done.code == 0, done.err
    shutil.rmtree(farm.root / "ci")
    farm.on("laptop", "sync")
    assert farm.on("laptop", "deploy", "0.1.0", "--to", "production").code == 0
    assert farm.live() == "made"


def test_what_no_store_takes_is_said_before_it_is_lost(farm: Farm) -> None:
    farm.write(LARGE)
    done = farm.job("run", "--no-input")
    assert done.code == 6, done.err
    assert "68.2 MB" in done.err and "app 0.1.0" in done.err and "64 MiB" in done.err
    assert 'kind = "publish"' in done.err


def test_a_machine_that_stays_sends_them_with_the_run_and_loses_nothing(farm: Farm) -> None:
    farm.write(STOPS)
    assert farm.on("one", "run", "--no-input").code == 0
    farm.on("laptop", "sync")
    assert farm.on("laptop", "deploy", "0.1.0", "--to", "production").code == 0
    assert farm.live() == "0.1.0"
    farm.write(LARGE)
    done = farm.on("one", "run", "--no-input")
    assert done.code == 0 and "68.2 MB of what waits are here alone" in done.err, done.err
    assert farm.on("one", "sync", "--require-sync").code == 6
    told = farm.on("one", "status")
    assert "app of 0.1.1, 68.2 MB: here alone" in told.out


def test_what_nobody_is_to_go_on_with_is_not_sent(farm: Farm) -> None:
    farm.write(LARGE[: LARGE.index("live =")])
    assert farm.job("run", "--no-input").code == 0
