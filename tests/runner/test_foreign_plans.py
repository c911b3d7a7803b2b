"""A plan that another machine recorded is carried out only where it is what its commit says."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.events.belonging import mark_id
from cxlocal.events.document import Draft
from cxlocal.events.machines import version_skipped
from cxlocal.events.outputs import artifact_packaged
from cxlocal.events.resources import Intent, run_intended
from cxlocal.events.runs import RunRef, run_queued
from cxlocal.exchange.receive import take_event
from cxlocal.journal.blobs import keep_chunks
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events
from cxlocal.journal.whereabouts import machine_mark

CONFIG = """
[version]
line = "2.7"
[stages]
unit = { kind = "test", command = "true" }
late = { command = "test -e FLAG", needs = ["unit"] }
[stages.live]
kind = "deploy"
command = "echo real"
needs = ["unit"]
environment = "production"
requires = ["READY"]
[promotions]
READY = {}
[environments]
production = { protected = true }
"""


def bring(home: Path, far: Path) -> None:
    """All that one journal holds, as it comes to another."""
    with (
        Journal.open(far / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal,
        Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds()) as other,
        journal.write() as transaction,
    ):
        for _, event in all_events(other):
            take_event(transaction, event, None)


def tell_any(home: Path, elsewhere: Path, *drafts: Draft, place: int = 60) -> None:
    """What a member with every right may record on a machine of its own, as it comes to this one. The
    greater position in a chain holds."""
    with Journal.open(elsewhere / "journal.db", clock=SystemClock(), ids=SystemIds()) as other:
        other.append(
            *[version_skipped(deliverable="x", line="1", lo=n, hi=n, why="") for n in range(place)]
        )
        other.append(*drafts)
    bring(elsewhere, home)


def tell(
    home: Path, elsewhere: Path, run: str, *changes: tuple[str, str], place: int = 60, **more: Any
) -> None:
    """The run again, with a plan whose digest is right."""
    with Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        row = journal.one("SELECT document ->> '$.customData.cxlocal' AS facts FROM event e"
                          " JOIN run_lookup r ON r.id = e.run WHERE r.name = ? ORDER BY e.id", (run,))  # fmt: skip
    assert row is not None
    facts = json.loads(row["facts"])
    plan = facts["plan"]
    for old, new in changes:
        assert old in plan
        plan = plan.replace(old, new)
    facts = {**facts, "plan": plan, "plan_sha256": sha256(plan.encode()).hexdigest(), **more}
    ref = RunRef("shop", run, "shop", f"urn:uuid:{run}")
    tell_any(home, elsewhere, run_queued(ref, facts), place=place)


def elsewhere(shop: Any, root: Path) -> dict[str, str]:
    """Another machine that has heard of all that the first one did."""
    far = {"CXLOCAL_HOME": str(root / "far"), "CXLOCAL_STORE": f"sqlite://{shop.home}/store.db"}
    assert shop.command("sync", env=far).code == 0
    return far


def ways_of(run: str) -> list[tuple[str, ...]]:
    return [
        ("deploy", "2.7.0", "--env", "production"),
        ("promote", "2.7.0", "READY"),
        ("run", "--resume", run[:8], "--no-input"),
    ]


def test_what_another_machine_planned_is_compared_with_its_commit(
    shop: Any, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    shop.write(CONFIG.replace("FLAG", str(tmp_path / "flag")))
    assert shop.run().code == 1
    run, far = shop.last(), elsewhere(shop, tmp_path)
    ways = ways_of(run)
    assert shop.command(*ways[1], env=far).code == 0, "what the commit says may come from anywhere"
    tell(
        tmp_path / "far", tmp_path / "two", run, ("echo real", f"touch {mark}"),
        ('"command":"true"', f'"command":"touch {mark}"'), place=70,
    )  # fmt: skip
    for way in ways:
        done = shop.command(*way, env=far)
        assert done.code == 3, (way, done.err)
        assert "is not what its commit says" in done.err
        assert f'stage unit: command is "touch {mark}" in the plan' in " ".join(done.err.split())
    assert not mark.exists()


@pytest.mark.parametrize("other", ["plan", "commit"])
def test_what_this_machine_recorded_of_its_run_holds(shop: Any, tmp_path: Path, other: str) -> None:
    """Its plan and its commit, whatever others say of the run later."""
    mark = tmp_path / "mark"
    config = CONFIG.replace("FLAG", str(tmp_path / "flag")).replace("echo real", "sh live.sh")
    shop.write(config, {"live.sh": "echo real"})
    assert shop.run().code == 1
    run = shop.last()
    shop.write(config, {"live.sh": f"touch {mark}"})
    later = shop.git("rev-parse", "HEAD")
    if other == "plan":
        tell(shop.home, tmp_path / "one", run, ("sh live.sh", f"touch {mark}"))
    else:
        tell(shop.home, tmp_path / "two", run, revision={"commit": later})
        assert shop.command("log").code == 0
        assert shop.query("SELECT revision FROM run WHERE id = ?", run) == [later], (
            "history shows it"
        )
    shop.git("reset", "-q", "--hard", "HEAD~1")
    (tmp_path / "flag").touch()
    for way in sorted(ways_of(run), reverse=True):
        done = shop.command(*way)
        assert done.code == 0, (way, done.err)
    assert not mark.exists()


def test_a_run_of_another_machine_is_one_of_a_commit_that_a_remote_holds(
    shop: Any, tmp_path: Path
) -> None:
    """A commit that was fetched to be looked at is in the clone, and nobody pushed it."""
    shop.write(CONFIG.replace("FLAG", str(tmp_path / "flag")))
    assert shop.run().code == 1
    run, far = shop.last(), elsewhere(shop, tmp_path)
    shop.git("checkout", "-q", "--detach")
    (shop.tree / "more").touch()
    shop.git("add", "more")
    shop.git("commit", "-qm", "of a fork")
    fork = shop.git("rev-parse", "HEAD")
    shop.git("checkout", "-q", "-")
    tell(tmp_path / "far", tmp_path / "two", run, place=70, revision={"commit": fork})
    for way in ways_of(run):
        done = shop.command(*way, env=far)
        assert done.code == 3 and "pushed" in done.err, (way, done.err)


BYTES = """
[stages]
make = { kind = "build", command = "echo honest > out.bin", produces = { out = "out.bin" } }
[stages.live]
kind = "deploy"
command = "cat $CXLOCAL_ARTIFACT_OUT; sh deploy.sh"
needs = ["make"]
environment = "production"
[environments]
production = { uri = "https://ours.example.org" }
"""


@pytest.mark.parametrize("name", ["deploy.sh", "GNUmakefile", "out.bin;touch x", "out.bin"])
@pytest.mark.parametrize("begun", ["here", "elsewhere"])
def test_other_bytes_and_names_of_an_artifact(
    shop: Any, tmp_path: Path, name: str, begun: str
) -> None:
    """Another machine says that an artifact of a run has other bytes, or another name."""
    shop.write(BYTES, {"deploy.sh": "echo the script"})
    assert shop.run().code == 0
    home, env = shop.home, {}
    if begun == "elsewhere":
        home, env = tmp_path / "far", elsewhere(shop, tmp_path)
        shutil.copytree(shop.home / "blobs", home / "blobs", dirs_exist_ok=True)
    run = shop.last()
    (old,) = shop.query("SELECT sha256 FROM artifact WHERE run = ?", run)
    evil, size = keep_chunks(home, [b"echo evil"], "out")
    facts = {"name": "out", "purl": "pkg:generic/shop@0.1.0", "version": "0.1.0", "revision": "", "repository": ""}  # fmt: skip
    again = begun == "elsewhere"
    tell_any(
        home, tmp_path / "other",
        artifact_packaged(
            RunRef("shop", run, "shop", f"urn:uuid:{run}"), **facts, stage="make", attempt=1,
            sha256=old if again else evil, size=size, file_name=name, media_type="", locations=[],
            replaces="" if again else old, turn=0 if again else 1,
        ),
    )  # fmt: skip
    done = shop.command("deploy", "0.1.0", "--to", "production", env=env)
    assert done.code == 0, done.err
    log = shop.command("show", "--log", "live", env=env).out
    assert "honest" in log and "the script" in log and "evil" not in log
    out = tmp_path / "got"
    assert shop.command("artifact", "get", "0.1.0", "--to", str(out), env=env).code == 0
    assert [one.name for one in out.iterdir()] in (["out.bin"], ["out"])


def test_the_address_of_a_place_is_that_of_the_file(shop: Any, tmp_path: Path) -> None:
    """Where another machine says that it answers is not where secrets go."""
    shop.write(BYTES.replace("sh deploy.sh", "echo to $CXLOCAL_ENVIRONMENT_URI"))
    assert shop.run("--to", "production").code == 0
    with Journal.open(shop.home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        journal.connection.execute("UPDATE deployment SET uri = 'https://theirs.example.org'")
        journal.connection.commit()
    assert shop.run("--to", "production").code == 0
    assert "to https://ours.example.org" in shop.command("show", "--log", "live").out


def test_what_others_say_was_made_is_taken_away_as_the_commit_says(
    shop: Any, tmp_path: Path
) -> None:
    """A tool's options are commands, and an intent of another journal may claim to be of this machine."""
    mark, gone = tmp_path / "mark", tmp_path / "gone"
    shop.write(f"""
[stages]
try = {{ command = "true", environment = "test" }}
[environments.test]
lifetime = "per-run"
tool = "commands"
with = {{ provision = "true", destroy = "touch {gone}" }}
""")
    assert shop.run().code == 0
    gone.unlink()
    planned = {"provision": "true", "destroy": f"touch {gone}"}
    forged = {**planned, "destroy": f"touch {mark}"}
    for number, (options, tool, machine) in enumerate(
        [(forged, "commands", machine_mark()), (forged, "commands", ""), (planned, "cloud", "")]
    ):
        tell_made(shop, tmp_path / str(number), options, tool, machine)
        assert shop.run().code == 0
        done = shop.command("env", "reap")
        assert done.code == 9 and "is not in the plan of its run" in done.err, done.err
    assert not mark.exists()
    gone.unlink()
    tell_made(shop, tmp_path / "true", planned, "commands", "")
    assert shop.command("env", "reap").code == 9, "what is not as planned stays due"
    assert gone.exists() and not mark.exists(), "what the commit says is taken away"
    done = shop.command("-C", str(tmp_path), "env", "reap")
    assert done.code == 9 and not mark.exists(), done.err


def test_what_another_machine_made_keeps_an_environment_of_a_run_open(
    shop: Any, tmp_path: Path
) -> None:
    """It is neither left nor gone when this machine has taken away its own."""
    stuck = tmp_path / "stuck"
    planned = {"provision": "true", "destroy": f"test ! -e {stuck}"}
    shop.write(f"""
[stages]
try = {{ command = "true", environment = "test" }}
[environments.test]
lifetime = "per-run"
tool = "commands"
with = {{ provision = "true", destroy = "{planned["destroy"]}" }}
""")
    stuck.touch()
    assert "It stays owed" in shop.run().err
    [run] = shop.query("SELECT id FROM run")
    tell_made(shop, tmp_path / "other", planned, "commands", "")
    stuck.unlink()
    assert shop.run().code == 0
    found = "SELECT coalesce(gone_how, '') FROM resource WHERE run = ? ORDER BY 1"
    assert shop.query(found, run) == ["", "removed"]
    ended = "SELECT coalesce(deleted_how, '') FROM environment WHERE instance = ?"
    assert shop.query(ended, f"test-{run[:8]}") == [""]
    done = shop.command("env", "reap")
    assert done.code == 0, done.err
    assert shop.query(found, run) == ["removed", "removed"]
    assert shop.query(ended, f"test-{run[:8]}") == ["destroyed"]


def tell_made(shop: Any, elsewhere: Path, options: Any, tool: str, machine: str) -> None:
    """What a journal elsewhere records of a run of this one that is over, as it comes to this one."""
    run = shop.query("SELECT id FROM run ORDER BY queued_at LIMIT 1")[0]
    intent = Intent(
        resource=mark_id(SystemIds().uuid(), "shop"), component="", environment="test",
        instance=f"test-{run[:8]}", lifetime="per-run", stage="provision-test",
        stage_run="", tool=tool, verb="provision", options=options, handle={"resource": "x"},
        machine=machine,
    )  # fmt: skip
    ref = RunRef("shop", run, "shop", f"urn:uuid:{run}")
    tell_any(shop.home, elsewhere, run_intended(ref, intent), place=1)


@pytest.mark.parametrize(("lifetime", "instance"), [("per-run", "production"), ("per-run", "run")])
def test_what_is_live_is_no_thing_of_a_run_that_is_over(
    shop: Any, tmp_path: Path, lifetime: str, instance: str
) -> None:
    """With the tool, the options and the handle that are right, and another place or lifetime."""
    gone = tmp_path / "gone"
    shop.write(f"""
[stages.live]
kind = "deploy"
tool = "commands"
environment = "production"
with = {{ apply = "true", destroy = "touch {gone}" }}
[environments.production]
""")
    assert shop.run("--to", "production").code == 0
    ((run, handle),) = shop.query("SELECT run, handle FROM resource")
    intent = Intent(
        resource=mark_id(SystemIds().uuid(), "shop"), component="shop", environment="production",
        instance=f"production-{run[:8]}" if instance == "run" else instance, lifetime=lifetime,
        stage="live", stage_run="", tool="commands", verb="provision",
        options={"apply": "true", "destroy": f"touch {gone}"}, handle=json.loads(handle),
        machine=machine_mark(),
    )  # fmt: skip
    ref = RunRef("shop", run, "shop", f"urn:uuid:{run}")
    tell_any(shop.home, tmp_path / "other", run_intended(ref, intent), place=1)
    assert "could not destroy" in shop.run().err, "a release looks for what is due first"
    assert shop.command("env", "reap").code == 9
    assert not gone.exists()
    assert shop.query("SELECT version FROM deployments_now") == ["0.1.0"]


def test_a_final_version_is_of_what_this_machine_tested(shop: Any, tmp_path: Path) -> None:
    """Another machine says that the pre-release has another commit, or other bytes."""
    shop.write(
        '[version]\nscheme = "pep440"\nline = "3.2.0rc"\n'
        '[stages]\nmake = { command = "cat /proc/sys/kernel/random/uuid > out.bin",'
        ' produces = { out = "out.bin" } }\n'
    )
    assert shop.run().code == 0
    run, tested = shop.last(), shop.git("rev-parse", "HEAD")
    (good,) = shop.query("SELECT sha256 FROM artifact")
    shop.push("another commit")
    evil, size = keep_chunks(shop.home, [b"evil"], "out")
    tell(shop.home, tmp_path / "one", run, revision={"commit": shop.git("rev-parse", "HEAD")})
    tell_any(
        shop.home, tmp_path / "two",
        artifact_packaged(
            RunRef("shop", run, "shop", f"urn:uuid:{run}"), name="out", purl="pkg:generic/out@1",
            version="3.2.0rc1", revision="", repository="", stage="make", attempt=1, sha256=evil,
            size=size, file_name="out.bin", media_type="", locations=[], replaces=good, turn=1,
        ),
    )  # fmt: skip
    done = shop.run("--final", "3.2.0rc1", "--json")
    assert done.code == 0, done.err
    assert done.json()["revision"] == tested
    assert shop.query("SELECT sha256 FROM artifact WHERE run = ?", done.json()["run"]) == [good]
