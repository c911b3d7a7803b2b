"""What a CI job built and others go on with: its bytes are where they reach them, or it says so."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.domain import Outcome
from cxlocal.errors import Conflict
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft
from cxlocal.events.outputs import artifact_packaged, artifact_published
from cxlocal.events.runs import RunRef, run_finished, run_queued, stage_finished, stage_started
from cxlocal.journal.blobs import keep_file
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.runner.pieces import attach, free_stage
from cxlocal.runner.products import artifact_drafts
from cxlocal.runner.waiting import HERE, LOCATION, waiting

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


def made(ref: RunRef, digest: str, *locations: str) -> Draft:
    return artifact_packaged(
        ref, name="app", purl="pkg:generic/app", sha256=digest, size=1, version="1", revision="c",
        repository="", stage="build", attempt=1, file_name="app", media_type="",
        locations=list(locations),
    )  # fmt: skip


def published(ref: RunRef, digest: str) -> Draft:
    return artifact_published(
        ref, purl="pkg:generic/app", name="app", sha256=digest, location="https://x/app", user="m"
    )


@pytest.mark.parametrize("how", ["published", "packaged"])
@pytest.mark.parametrize(
    ("whose", "where"), [("engine", LOCATION), ("shop", HERE), ("", HERE), ("engine2", HERE)]
)
def test_where_bytes_are_is_said_by_their_own_deliverable(
    tmp_path: Path, how: str, whose: str, where: str
) -> None:
    """Of the same bytes, which whoever knows the source may know before."""
    (tmp_path / "app").write_text("reproducible")
    run, other = mark_id(SystemIds().uuid(), "engine"), mark_id(SystemIds().uuid(), whose)
    ref, theirs = (RunRef(name, id, name, f"urn:uuid:{id}") for name, id in (("engine", run), (whose, other)))  # fmt: skip
    with Journal.open(tmp_path / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        digest, _ = keep_file(tmp_path, tmp_path / "app")
        tried = [
            stage_started(ref, stage="build", attempt=count, facts={
                "kind": "build", "part": "", "replaces": [ref.stage_run("build", 1)][: count - 1]
            }) for count in (1, 2)
        ]  # fmt: skip
        says = (
            published(theirs, digest) if how == "published" else made(theirs, digest, "https://x/a")
        )
        journal.append(
            run_queued(ref, {"kind": "release"}), tried[0], made(ref, digest),
            stage_finished(ref, stage="build", attempt=1, outcome=Outcome.FAILURE, reason="", facts={}),
            tried[1], says,
            run_finished(ref, outcome=Outcome.SUCCESS, reason="", version="1", seconds=1,
                         stopped_before="live"),
        )  # fmt: skip
        catch_up(journal)
        assert [one.where for one in waiting(journal, "engine")] == [where]
        (tmp_path / "app").write_text("other bytes")
        record = attach(journal, run, deliverable="engine")
        arguments = (record, free_stage("build"), 2, "app", tmp_path / "app", "app")
        if where == LOCATION:
            with pytest.raises(Conflict, match="a publication is about the former"):
                artifact_drafts(*arguments)
        else:
            assert len(artifact_drafts(*arguments)[1]) == 1
