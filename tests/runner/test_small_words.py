"""What commands say where little goes wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from cxlocal.api import _Silent
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.config.load import parse
from cxlocal.doctor.project import check_test_needs
from cxlocal.plan.resolve import resolve
from cxlocal.runner.recovery import _manager
from cxlocal.runner.source import Machine

CHAIN = """
[stages]
build = { command = "true" }
unit = { command = "true", needs = ["build"] }
live = { command = "true", needs = ["unit"], kind = "deploy", environment = "production" }

[environments.production]
protected = true
"""


def test_a_run_that_ends_where_it_was_asked_to(shop: Any) -> None:
    shop.write(CHAIN)
    planned = shop.run("--to", "unit", "--dry-run")
    assert "It ends with unit, as asked" in planned.out + planned.err
    assert "production is protected" not in planned.out + planned.err
    done = shop.run("--to", "unit")
    assert done.code == 0, done.err
    assert "protected" not in done.out + done.err
    assert "it ended where it was asked to. To go on:\n    cxlocal run --resume" in done.err, (
        done.err
    )
    assert "to try this commit again" not in done.err
    assert (
        "stops before production"
        in shop.run("--dry-run").err.lower() + shop.run("--dry-run").out.lower()
    )


@pytest.mark.parametrize(
    "options",
    [["-v"], ["-q"], ["-vv"], ["--color", "always"], ["--progress", "plain"], ["--debug"]],
)
def test_an_option_of_the_program_means_the_same_after_the_command(
    shop: Any, options: list[str]
) -> None:
    shop.write('[stages]\nsay = { command = "echo loud" }\nno = { command = "false" }\n')

    def said(*words: str) -> str:
        text = shop.command(*words).err
        return re.sub(r"[0-9a-f]{8,}(-[0-9a-f]{4,})*|\d+\.\d+ s", "…", text)

    assert said(*options, "run", "--dry-run") == said("run", "--dry-run", *options)
    before, after = said(*options, "rehearse"), said("rehearse", *options)
    assert sorted(before.splitlines()) == sorted(after.splitlines())
    assert ("say | loud" in after) is (options[0][:2] == "-v")
    if options == ["-v"]:
        assert "loud" in said("rehearse", "--to", "say", "-v")
        assert "No such option" not in said("env", "-v", "list", "-v")


def test_a_letter_that_a_command_uses_itself_stays_its_own(shop: Any) -> None:
    shop.run()
    assert "no such" not in shop.command("sql", "-q", "runs").err.lower()


def test_what_belongs_to_a_wrapped_command_stays_with_it(shop: Any) -> None:
    shop.write('[stages]\nunit = { kind = "test", command = "true" }\n')
    assert shop.command("run", "start").code == 0
    done = shop.command("stage", "unit", "-v", "--", "echo", "-v", "-q", "--debug")
    assert done.code == 0 and "-v -q --debug" in done.out, done
    assert shop.command("stage", "unit", "echo", "-v").code == 2


def test_an_option_with_a_value_after_the_command(shop: Any) -> None:
    done = shop.command("status", "-C", ".")
    assert (done.code, "cxlocal -C DIR status" in done.err) == (2, True), done.err


def test_status_after_a_release_that_deploys_nothing(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n[environments.far]\n')
    assert "'cxlocal run'" in shop.command("status").out
    assert shop.run().code == 0
    done = shop.command("status")
    assert "Nothing is live" in done.out and "'cxlocal log'" in done.out
    assert "'cxlocal run' makes a release" not in done.out


def test_a_library_is_not_told_that_nothing_is_live(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "echo > a", produces = { a = "a" } }\n')
    rehearsed = shop.command("rehearse")
    assert "Nothing is released yet" in shop.command("status").out
    done = shop.run()
    told = [shop.command("status").out, done.out + done.err, rehearsed.out + rehearsed.err]
    assert not any(" live" in one for one in told), told
    assert told[0].startswith("Last release: 0.1.0 success")
    assert "cxlocal artifact get 0.1.0  copies out what was made" in done.err


def test_a_store_that_is_away_is_told_of_once(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert shop.run().code == 0
    store = shop.home / "store.db"
    store.rename(shop.home / "elsewhere.db")
    store.mkdir()
    done = shop.command("sync")
    assert (done.code, done.err.lower().count("store cannot be reached")) == (5, 1), done.err


def test_questions_that_find_nothing(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert shop.run().code == 0
    done = shop.command("log", "-d", "nosuch")
    assert (done.code, "no deliverable is known here as 'nosuch'" in done.err) == (2, True)
    for statement in ("SELECT :a", "SELECT ?"):
        done = shop.command("sql", statement)
        assert (done.code, "-p a VALUE" in done.err) == (2, True)
    for number in ("0", "-3"):
        assert shop.command("log", "-n", number).code == 2
    assert json.loads(shop.command("trust", "--list", "--json").out) == []


def test_an_override_with_nothing_against_it_is_a_grant(shop: Any) -> None:
    """Only what was passed over is out of the ordinary; a denial is."""
    shop.write(
        '[stages]\nbuild = { command = "true" }\n[promotions]\nREADY = { title = "Ready" }\n'
    )
    assert shop.run().code == 0
    override = ("promote", "0.1.0", "READY", "--override", "-m", "to be sure")
    told = "SELECT decision || ' ' || reason FROM promotion ORDER BY decided_at DESC LIMIT 1"
    unusual = ("sql", "-q", "unusual", "--json")
    assert shop.command(*override).code == 0
    assert shop.query(told) == ["granted to be sure"] and shop.command(*unusual).json() == []
    assert shop.command("promote", "0.1.0", "READY", "--deny", "-m", "too slow").code == 0
    assert shop.command(*override).code == 0
    (reason,) = shop.query(told)
    assert reason.startswith("overridden to be sure (passed over: it was denied: "), reason
    assert [row["unusual"] for row in shop.command(*unusual).json()] == [
        "a decision was passed over"
    ]


def test_doctor_sees_what_the_commit_lacks_and_what_publishes(shop: Any) -> None:
    def look() -> dict[str, tuple[str, str]]:
        rows = shop.command("doctor", "--json").json()
        return {row["name"]: (row["state"], row["to_do"]) for row in rows}

    shop.write('[stages]\ntag = { command = "git push origin x" }\nmake = { command = "make" }\n')
    assert look()["process"][0] == "ok"
    assert look()["stage tag"] == ("note", 'write kind = "publish" there')
    assert "stage make" not in look()
    config = shop.tree / "cx.toml"
    config.write_text(config.read_text() + "# more\n")
    assert look()["process"] == ("note", "git commit cx.toml, and push it")
    shop.git("rm", "-q", "--cached", "cx.toml")
    shop.git("commit", "-qm", "without it")
    shop.git("push", "-q", "origin", "HEAD:main")
    assert look()["process"] == ("bad", "git add cx.toml && git commit && git push")
    assert shop.command("doctor").code == 1


@pytest.mark.parametrize(
    ("project", "python", "absent"),
    [
        ('dependencies = ["click", "no-such-thing>=2"]', "", "no-such-thing"),
        ('dependencies = ["click", "gone; python_version < \'3\'"]', "", ""),
        ('dependencies = ["no-such-thing"]', ".venv/bin/python", ""),
        ('[project.optional-dependencies]\ntest = ["one-thing", "another"]', "", "one-thing, another"),
    ],
)  # fmt: skip
def test_doctor_sees_what_tests_beside_it_lack(
    project: str, python: str, absent: str, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "shop"\n{project}\n')
    given = f', with = {{ python = "{python}" }}' if python else ""
    toml = f'cx = 1\n[deliverable]\nname = "shop"\n[stages]\nunit = {{ tool = "pytest"{given} }}\n'
    found = check_test_needs(resolve(parse(toml)), tmp_path)
    assert [(one.name, one.state) for one in found] == ([("stage unit", "note")] if absent else [])
    assert all(f"where {absent} is not installed" in one.found for one in found)


REPORT = """<testsuite name="s" tests="1" failures="1"><testcase name="it" classname="c">
<failure message="two lines&#10;of words">first\n\tsecond</failure></testcase></testsuite>"""


def test_what_goes_wrong_is_told_once_and_in_lines(shop: Any) -> None:
    shop.write(
        '[stages]\nunit = { kind = "test", command = "echo once-only; cat kept.xml > r.xml",'
        ' reports = { junit = "r.xml" } }\n',
        {"kept.xml": REPORT},
    )
    done = shop.run()
    assert done.code == 1 and done.err.count("once-only") == 1
    shown = shop.command("show").out
    assert "\\n" not in done.err + shown and "\\t" not in shown
    assert "failed  it" in shown.replace("failure", "failed")
    assert "    two lines\n    of words" in shown


def test_log_speaks_of_the_project_one_stands_in(shop: Any) -> None:
    shop.write('[stages]\na = { command = "true" }\n')
    assert shop.run().code == 0
    config = shop.tree / "cx.toml"
    config.write_text(config.read_text().replace('"shop"', '"other"'))
    shop.push("another")
    assert shop.run().code == 0
    assert shop.command("rehearse").code == 0

    def log(*words: str) -> list[str]:
        return [row["deliverable"] for row in shop.command("log", "--json", *words).json()]

    assert (log(), log("-d", "shop"), log("--all")) == (
        ["other"], ["shop"], ["other", "other", "shop"],
    )  # fmt: skip
    config.write_text("broken")
    assert log() == ["other", "shop"]


def test_deploy_and_rollback_name_their_environment_alike(shop: Any) -> None:
    shop.write(CHAIN.replace("protected = true", ""))
    for _ in range(2):
        assert shop.run("--to", "production").code == 0
    live = "SELECT version FROM deployments_now"
    for words, version in (
        (("rollback", "--env", "production"), "0.1.0"),
        (("deploy", "0.1.1", "--env", "production"), "0.1.1"),
        (("rollback", "production", "--to", "0.1.0"), "0.1.0"),
        (("deploy", "0.1.1", "production"), "0.1.1"),
    ):
        done = shop.command(*words)
        assert (done.code, shop.query(live)) == (0, [version]), done.err
    done = shop.command("deploy", "0.1.1", "--to", "a", "--env", "b")
    assert done.code == 2 and "cxlocal deploy 0.1.1 --env production" in done.err, done.err


def test_a_plan_that_is_shown_says_that_it_is_the_commits(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert "differs from that of the commit" not in shop.run("--dry-run").err
    config = (shop.tree / "cx.toml").read_text()
    (shop.tree / "cx.toml").write_text(config + 'more = { command = "true" }\n')
    planned = shop.run("--dry-run")
    assert "cx.toml differs from that of the commit" in planned.err
    assert "more" not in planned.out


def test_the_first_version_has_none_before_it(shop: Any) -> None:
    shop.write("""
[stages]
live = { command = "true", kind = "deploy", environment = "prod" }
[environments]
prod = { protected = false }
""")
    assert shop.run().code == 0
    done = shop.command("rollback", "prod")
    assert (done.code, "VERSION" in done.err) == (2, False), done.err
    assert "cxlocal env destroy prod" in done.err and "cxlocal log" in done.err


def test_doctor_looks_for_the_plugins_that_are_required(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n[plugins]\nrequire = ["no-such-gate"]\n')
    done = shop.command("doctor", "--json")
    [row] = [one for one in done.json() if one["name"] == "required plugins"]
    assert (done.code, row["state"], "no-such-gate" in row["found"]) == (1, "bad", True)
    assert "required plugins" in shop.command("doctor").err, "a release would be refused"


def test_what_a_project_blocks_takes_no_part_in_tidying_up(shop: Any, tmp_path: Path) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n[plugins]\nblock = ["local-service"]\n')
    machine = Machine(
        shop.tree, None, tmp_path, {}, SystemClock(), SystemIds(), (), _Silent(), "cxlocal", False
    )
    states = {row.name: row.state for row in _manager(machine).rows}
    assert states["local-service"] == "blocked"
