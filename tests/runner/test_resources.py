"""What tools made: known on every machine, never mixed up, and taken away by whoever can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.events.resources import Intent, run_intended
from cxlocal.events.runs import RunRef
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.tables import PROJECTION_VERSION
from cxlocal.runner.resources import standing

CLOUD = """
from pathlib import Path
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Created, Done, Observed, ObservedResource, Tool, ToolFailure

DESK = Path("@DESK@")

def say(text):
    with (DESK / "said").open("a") as file:
        file.write(text + "\\n")

class Cloud(Tool):
    name = "cloud"
    api = 2
    class Options(Tool.Options, frozen=True):
        service: str = "web"

    def provision(self, ctx):
        ctx.intend({"vm": ctx.environment.instance})
        say(f"provision {sorted(ctx.secrets)}")
        (DESK / ctx.environment.instance).touch()
        return Done()

    def create(self, ctx):
        name = f"{ctx.options.service}-{ctx.version}"
        say(f"create {name}")
        ctx.intend({"vm": name})
        (DESK / f"vm-{ctx.component}-{ctx.resource}").write_text(ctx.version)
        if (ctx.checkout / "BROKEN").exists():
            raise ToolFailure("unhealthy")
        return Created()

    def remove(self, ctx):
        say(f"remove {ctx.handle['vm']}")
        (DESK / f"vm-{ctx.component}-{ctx.resource}").unlink(missing_ok=True)
        return Done()

    def observe(self, ctx):
        start = f"vm-{ctx.component}-"
        there = {path.name[len(start):]: path.read_text() for path in DESK.glob(start + "*")}
        say(f"observe {sorted(there.values())}")
        return Observed(resources=tuple(ObservedResource(id=k, version=v) for k, v in there.items()))

    def destroy(self, ctx):
        say(f"destroy {ctx.handle['vm']} {sorted(ctx.secrets.values())}")
        if (DESK / "stuck").exists():
            raise ToolFailure("it is stuck")
        (DESK / ctx.handle["vm"]).unlink(missing_ok=True)
        return Done()

class Local(Cloud):
    name = "local"
    here = True

@hookimpl
def cxlocal_register_tools():
    return [Cloud, Local]
"""
LIVE = """
[stages]
web = { kind = "deploy", tool = "cloud", environment = "production" }
@MORE@
[environments]
production = {}
"""


@pytest.fixture
def desk(shop: Any, tools: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "desk"
    folder.mkdir()
    tools(CLOUD.replace("@DESK@", str(folder)))
    return folder


def said(desk: Path, about: str) -> list[str]:
    return [line for line in (desk / "said").read_text().splitlines() if line.startswith(about)]


def on(shop: Any, machine: str, *arguments: str) -> Any:
    """A command of one of two machines with one store, which has heard of all; it tells of all."""
    env = {
        "CXLOCAL_HOME": str(shop.root / machine),
        "CXLOCAL_STORE": f"sqlite://{shop.root}/shared/store.db",
    }
    if not (shop.root / "shared").exists():
        assert shop.command("store", "create", env["CXLOCAL_STORE"], env=env).code == 0
    shop.command("sync", env=env)
    done = shop.command(*arguments, env=env)
    shop.command("sync", env=env)
    return done


def test_a_handle_is_known_on_the_other_machine(shop: Any, desk: Path) -> None:
    shop.write(LIVE.replace("@MORE@", ""))
    for machine in ("one", "two", "one"):
        done = on(shop, machine, "run", "--to", "production")
        assert done.code == 0, done.err
    assert said(desk, "create") == ["create web-0.1.0", "create web-0.1.1", "create web-0.1.2"]
    assert said(desk, "remove") == ["remove web-0.1.0", "remove web-0.1.1"]
    # Before it begins, and once the new one is there.
    assert said(desk, "observe")[-2:] == ["observe ['0.1.1']", "observe ['0.1.1', '0.1.2']"]
    gone = "SELECT gone_how, count(*) AS n FROM resource GROUP BY 1 ORDER BY 1"
    assert on(shop, "two", "sql", gone, "--json").json() == [
        {"gone_how": None, "n": 1},
        {"gone_how": "removed", "n": 2},
    ]


def test_a_failed_deployment_is_not_what_was_before(shop: Any, desk: Path) -> None:
    shop.write(LIVE.replace("@MORE@", ""))
    assert shop.run("--to", "production").code == 0
    shop.write(LIVE.replace("@MORE@", ""), {"BROKEN": ""})
    assert shop.run("--to", "production").code == 1
    assert shop.query("SELECT serves FROM resources_now ORDER BY since") == [1]
    assert said(desk, "remove") == ["remove web-0.1.1"]
    shop.git("rm", "-q", "BROKEN")
    shop.push("mended")
    assert shop.run("--to", "production").code == 0
    assert said(desk, "remove")[1:] == ["remove web-0.1.0"]
    assert shop.query("SELECT handle, serves FROM resources_now") == [('{"vm":"web-0.1.2"}', 1)]


def test_two_services_of_one_tool_keep_apart(shop: Any, desk: Path) -> None:
    more = """job = { kind = "deploy", tool = "cloud", environment = "production", needs = ["web"], with = { service = "job" } }"""
    shop.write(LIVE.replace("@MORE@", more))
    for _ in range(2):
        done = shop.run("--to", "production")
        assert done.code == 0, done.err
    live = shop.query("SELECT service, version FROM deployments_now ORDER BY 1")
    assert live == [("job", "0.1.1"), ("web", "0.1.1")]
    assert said(desk, "remove") == ["remove web-0.1.0", "remove job-0.1.0"]
    done = shop.command("env", "destroy", "production", "--yes")
    assert done.code == 0, done.err
    assert sorted(line.split()[1] for line in said(desk, "remove")[2:]) == [
        "job-0.1.1", "web-0.1.1",
    ]  # fmt: skip
    assert shop.query("SELECT deleted_how FROM environment") == ["destroyed"]


TEST = """
[stages]
up = { kind = "deploy", @UP@, environment = "test" }
smoke = { command = "true", environment = "test", needs = [@NEEDS@] }
[environments.test]
lifetime = "per-run"
"""
MADE = {
    "a file": ('command = "touch @DESK@/file"', "closed, not destroyed"),
    "a program that hides": (
        """command = "env -i setsid -f sleep 30 </dev/null >/dev/null 2>&1" """,
        "closed, not destroyed",
    ),
    "a program": ('command = "sleep 30 >/dev/null 2>&1 &"', "destroyed"),
    "by a tool that takes nothing away": (
        'tool = "commands", with = { apply = "true" }',
        "closed, not destroyed",
    ),
    "by a tool": ('tool = "cloud"', "destroyed"),
}


@pytest.mark.parametrize("what", MADE)
def test_destroyed_is_said_where_something_was(shop: Any, desk: Path, what: str) -> None:
    up, how = MADE[what]
    shop.write(TEST.replace("@UP@", up.replace("@DESK@", str(desk))).replace("@NEEDS@", '"up"'))
    done = shop.run()
    assert done.code == 0, done.err
    assert shop.query("SELECT deleted_how FROM environment") == [how]
    assert shop.query("SELECT count(*) FROM deployments_now") == [0]
    written = shop.command("export", "--format", "cdevents").out
    assert ("environment.deleted" in written) == (how == "destroyed")
    assert ("service.removed" in written) == (how == "destroyed")
    flags = shop.query("SELECT kind FROM open_flags")
    assert flags == ([] if how == "destroyed" else ["closed-not-destroyed"])


def test_what_had_nothing_in_it_is_destroyed(shop: Any, desk: Path) -> None:
    stages = TEST.replace("@NEEDS@", "").splitlines()
    shop.write("\n".join(line for line in stages if not line.startswith("up")))
    assert shop.run().code == 0
    assert shop.query("SELECT deleted_how FROM environment") == ["destroyed"]


def test_a_place_has_one_id_in_every_event(shop: Any, desk: Path) -> None:
    report = '<testsuite name=\\"s\\"><testcase name=\\"a\\"/></testsuite>'
    smoke = f'smoke = {{ kind = "test", command = "echo \'{report}\' > r.xml", reports = {{ junit = "r.xml" }}, environment = "test", needs = ["up"] }}'
    lines = TEST.replace("@UP@", 'tool = "cloud"').splitlines()
    shop.write("\n".join(smoke if line.startswith("smoke") else line for line in lines))
    done = shop.run()
    assert done.code == 0, done.err
    written = shop.command("export", "--format", "cdevents").out.splitlines()
    subjects = [json.loads(line)["subject"] for line in written]
    told = {
        one["content"]["environment"]["id"] for one in subjects if "environment" in one["content"]
    }
    [instance] = shop.query("SELECT instance FROM environment")
    assert told == {instance}
    assert shop.query("SELECT DISTINCT environment FROM report") == ["test"]


SECRET = """
[stages]
smoke = { command = "true", environment = "test" }
[environments.test]
lifetime = "per-run"
tool = "cloud"
secrets = ["CLOUD_KEY"]
[secrets]
CLOUD_KEY = { env = "CLOUD_KEY" }
"""


def test_destroy_gets_the_secrets_of_the_creation_on_another_day_too(shop: Any, desk: Path) -> None:
    shop.write(SECRET)
    key = {"CLOUD_KEY": "abcdefghijkl"}
    assert shop.run(env=key).code == 0
    assert said(desk, "destroy")[0].endswith("['abcdefghijkl']")
    (desk / "stuck").touch()
    shop.run(env=key)
    (desk / "stuck").unlink()
    without = shop.command("env", "reap")
    assert without.code == 9 and "CLOUD_KEY" in without.err, without.err
    assert shop.query("SELECT due FROM resources_now") == [1]
    assert shop.command("env", "reap", env=key).code == 0
    assert said(desk, "destroy")[-1].endswith("['abcdefghijkl']")
    assert shop.query("SELECT count(*) FROM resources_now") == [0]
    assert b"abcdefghijkl" not in (shop.home / "journal.db").read_bytes()


def test_any_machine_takes_away_what_is_due(shop: Any, desk: Path) -> None:
    shop.write(SECRET[: SECRET.index("secrets =")])
    (desk / "stuck").touch()
    on(shop, "one", "run")
    (desk / "stuck").unlink()
    assert len(list(desk.glob("test-*"))) == 1
    done = on(shop, "two", "env", "reap")
    assert done.code == 0, done.err
    assert list(desk.glob("test-*")) == []
    assert json.loads(on(shop, "one", "env", "reap", "--json").out) == []


def test_what_lives_on_another_machine_is_left_there(shop: Any, desk: Path) -> None:
    shop.write('[stages]\na = { command = "true" }\n')
    assert shop.run().code == 0
    intent = Intent(
        resource="11111111-1111-4111-8111-111111111111", component="up", environment="test",
        instance="test-1", lifetime="per-run", stage="up", stage_run="", tool="local",
        verb="deploy", options={}, handle={"vm": "away"}, machine="another machine",
    )  # fmt: skip
    with Journal.open(shop.home / "journal.db", clock=SystemClock(), ids=SystemIds()) as journal:
        journal.append(run_intended(RunRef("shop", shop.last(), "shop", "urn:x:y"), intent))
    done = shop.command("env", "reap")
    assert done.code == 9 and "lives on the machine that made it" in done.err, done.err
    assert not (desk / "said").exists()
    assert shop.run().code == 0, "a release does not take away what others made"


OWED = """
CREATE TABLE owed (
  id INTEGER PRIMARY KEY, run TEXT NOT NULL, deliverable TEXT NOT NULL, environment TEXT NOT NULL,
  instance TEXT NOT NULL, stage TEXT NOT NULL, tool TEXT NOT NULL, options TEXT NOT NULL,
  handle TEXT NOT NULL, lifetime TEXT NOT NULL, since INTEGER NOT NULL, paid INTEGER
)
"""


def test_debts_of_an_earlier_version_become_events_once(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal.open(path, clock=SystemClock(), ids=SystemIds()) as journal:
        journal.connection.execute(OWED)
        rows = [
            ("provision-test", "test-1", '{"text": "{a}"}', "per-run", None),
            ("web", "production", "{}", "lasting", None),
            ("web", "production", "{}", "lasting", 5),
        ]
        for stage, instance, options, lifetime, paid in rows:
            journal.connection.execute(
                "INSERT INTO owed (run, deliverable, environment, instance, stage, tool, options,"
                " handle, lifetime, since, paid) VALUES ('r', 'shop', ?, ?, ?, 'kit', ?, '{\"n\":1}', ?, 1, ?)",
                (instance.partition("-")[0], instance, stage, options, lifetime, paid),
            )
        for _ in range(2):
            journal.connection.execute(
                "UPDATE projection_state SET version = ?", (PROJECTION_VERSION - 1,)
            )
            catch_up(journal)
        made = sorted(standing(journal), key=lambda one: one.instance)
    assert [(one.instance, one.component, one.lifetime, one.handle) for one in made] == [
        ("production", "web", "lasting", {"n": 1}),
        ("test-1", "", "per-run", {"n": 1}),
    ]
    assert made[1].options == {"text": "{{a}}"}, "what had been resolved is no placeholder"
