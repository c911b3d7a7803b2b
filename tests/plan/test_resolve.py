"""From configuration to plan: defaults, names, the graph, and the words for what does not fit."""

from __future__ import annotations

import pytest

from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.plan.graph import edges, order
from cxlocal.plan.render import COLUMNS, render
from cxlocal.plan.resolve import resolve
from cxlocal.plan.select import select
from cxlocal.plan.types import Output, Plan, ReportRule

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n'

SHOP = (
    HEAD
    + """
[defaults]
timeout = "15m"
retries = 2
pass_env = ["LC_*"]
[stages]
build = { tool = "wheel", produces = ["wheel"] }
unit = { tool = "pytest", needs = ["build"], reports = { junit = ["a.xml", "b.xml"] }, retries = 0 }
up = { kind = "deploy", needs = ["build"], environment = "test", tool = "local-service" }
smoke = { command = ["pytest", "-q"], needs = ["up", "unit"], environment = "test", timeout = "1h 30m" }
live = { kind = "deploy", environment = "production", requires = "PASSED_TEST", tool = "local-service", secrets = ["TOKEN"], with = { module = "{artifact.wheel.path}" } }
[promotions]
PASSED_TEST = { title = "Tested", after = ["smoke", "unit"] }
APPROVED = {}
[environments.test]
lifetime = "per-run"
[environments.production]
title = "Live"
[secrets]
TOKEN = { cmd = ["pass", "show", "token"] }
"""
)


def plan_of(text: str) -> Plan:
    return resolve(parse(text))


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        plan_of(text)
    return caught.value


@pytest.mark.parametrize(
    ("stage", "seen"),
    [
        ('requires = ["OK"]', ("app", "doc")),
        ('requires = ["OK"], needs = ["smoke"]', ("app", "doc")),
        ('requires = ["OK"], produces = { own = "o" }', ("app", "doc")),
        ('requires = ["OK"], needs = ["manual"]', ("doc",)),
        ('requires = ["TESTED"]', ("app", "doc")),
        ('needs = ["smoke"]', ()),
        ("", ()),
    ],
)
def test_what_requires_a_promotion_may_use_what_that_is_about(
    stage: str, seen: tuple[str, ...]
) -> None:
    """Where the stages it waits for make no artifacts: those of the version, but none made later."""
    plan = plan_of(
        HEAD
        + f"""
[stages]
build = {{ command = "make", produces = {{ app = "app" }} }}
manual = {{ command = "make doc", produces = {{ doc = "doc" }} }}
smoke = {{ command = "true" }}
live = {{ kind = "deploy", command = "true", environment = "production"{f", {stage}" if stage else ""} }}
note = {{ command = "true", needs = ["live"], produces = {{ note = "n" }} }}
[promotions]
OK = {{}}
TESTED = {{ after = ["smoke"] }}
[environments.production]
"""
    )
    assert plan.stage("live").artifacts == seen


def test_defaults_are_applied() -> None:
    plan = plan_of(SHOP)
    unit, smoke = plan.stage("unit"), plan.stage("smoke")
    assert (unit.retries, unit.timeout_seconds) == (0, 900)
    assert (smoke.retries, smoke.timeout_seconds) == (2, 5400)
    assert smoke.pass_env == ("LC_*",)
    assert unit.reports == (
        ReportRule(format="junit", path="a.xml"),
        ReportRule(format="junit", path="b.xml"),
    )
    assert plan.stage("build").produces == (Output(name="wheel"),)
    assert plan.title == "shop"


def test_a_stage_waits_for_what_earns_its_promotion() -> None:
    plan = plan_of(SHOP)
    assert plan.stage("live").waits_for == ("unit", "smoke")
    assert plan.stage("live").artifacts == ("wheel",)
    assert plan.stage("build").artifacts == ()


def test_lasting_environments_are_protected_unless_said_otherwise() -> None:
    plan = plan_of(SHOP)
    assert plan.environment("production").protected
    assert not plan.environment("test").protected
    open_one = SHOP.replace('title = "Live"', "protected = false")
    assert not plan_of(open_one).environment("production").protected


def test_secrets_stand_as_sources() -> None:
    assert plan_of(SHOP).secrets == {"TOKEN": {"cmd": ["pass", "show", "token"]}}


def test_the_deliverable_is_normalised() -> None:
    assert plan_of(HEAD.replace("shop", "cafe\u0301")).deliverable == "caf\u00e9"


@pytest.mark.parametrize(
    ("version", "line"),
    [
        ("", "0.1"),
        ('[version]\nscheme = "pep440"', "0.1"),
        ('[version]\nscheme = "counter"', ""),
        ('[version]\nscheme = "calver"', "2026.11"),
        ('[version]\nscheme = "calver"\nline = "YY.0M"', "26.11"),
        ('[version]\nscheme = "semver"\nline = "3.0"', "3.0"),
    ],
)
def test_the_line(version: str, line: str) -> None:
    assert resolve(parse(HEAD + version), today=(2026, 11, 23)).version.line == line


def test_a_line_that_does_not_suit_its_scheme() -> None:
    assert "does not suit the scheme 'semver'" in refused(HEAD + '[version]\nline = "two"').what


def test_suffix_needs_a_scheme_that_has_room() -> None:
    error = refused(HEAD + '[version]\nscheme = "pep440"\nwhen_empty = "suffix"')
    assert error.what == (
        "cx.toml, [version]: when_empty = \"suffix\" does not go with the scheme 'pep440'"
    )


CIRCLES = [
    ("a = { command = 'x', needs = ['a'] }", "a → a"),
    (
        ("a = { command = 'x', needs = ['c'] }\nb = { command = 'x', needs = ['a'] }\n"
        "c = { command = 'x', needs = ['b'] }"),
        "a → c → b → a",
    ),
    (
        ("a = { command = 'x' }\nb = { command = 'x', needs = ['c'] }\n"
        "c = { command = 'x', requires = 'P' }\n[promotions]\nP = { after = ['a', 'b'] }"),
        "b → c → (P) → b",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "path"), CIRCLES, ids=[one[1] for one in CIRCLES])
def test_a_circle_is_named_with_its_path(stages: str, path: str) -> None:
    error = refused(f"{HEAD}[stages]\n{stages}")
    assert error.what == f"cx.toml: the stages wait for each other in a circle: {path}"


UNKNOWN = [
    (
        "unit = { command = 'x' }\nb = { command = 'x', needs = ['untt'] }",
        "cx.toml, stage \"b\": needs names the stage 'untt', which is not in the file",
        "did you mean 'unit'?",
    ),
    (
        "b = { command = 'x', environment = 'test' }",
        "cx.toml, stage \"b\": environment names the environment 'test', which is not in the file",
        "add [environments.test]",
    ),
    (
        "b = { command = 'x', requires = ['PASED'] }\n[promotions]\nPASSED = {}",
        "cx.toml, stage \"b\": requires names the promotion 'PASED', which is not in the file",
        "did you mean 'PASSED'?",
    ),
    (
        "b = { command = 'x', secrets = ['TOKEN'] }",
        "cx.toml, stage \"b\": secrets names the secret 'TOKEN', which is not in the file",
        'add [secrets] with TOKEN = { env = "TOKEN" }',
    ),
    (
        "b = { command = 'x' }\n[promotions]\nP = { after = ['c'] }",
        "cx.toml, promotion \"P\": after names the stage 'c', which is not in the file",
        "stages are 'b'",
    ),
    (
        "b = { command = 'x' }\nc = { command = 'x', needs = ['b', 'b'] }",
        "cx.toml, stage \"c\": needs names 'b' twice",
        "",
    ),
    (
        "b = { command = 'x', pass_env = ['T'] }\n[secrets]\nT = { env = 'T' }",
        'cx.toml, stage "b": T is a secret and cannot be in pass_env',
        "write secrets = ['T']",
    ),
    (
        "b = { command = 'x', produces = { a = 'a' } }\nc = { tool = 'x', produces = ['a'] }",
        "cx.toml, stage \"c\": artifact 'a' is already made by stage \"b\"",
        "give one of them another name",
    ),
    (
        "b = { tool = 'x', produces = ['web-app', 'web_app'] }",
        ("cx.toml, [stages]: artifacts 'web-app' and 'web_app' would share the variable"
        " CXLOCAL_ARTIFACT_WEB_APP"),
        "rename one of them",
    ),
    (
        "b = { tool = 'x', produces = ['app', 'app.ref'] }",
        ("cx.toml, [stages]: artifacts 'app' and 'app.ref' would share the variable"
        " CXLOCAL_ARTIFACT_APP_REF"),
        "rename one of them",
    ),
    (
        "b = { command = 'x', timeout = '0s' }",
        'cx.toml, stage "b": timeout must be longer than nothing',
        "",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("stages", "what", "hint"), UNKNOWN, ids=[one[1] for one in UNKNOWN])
def test_names_and_values_that_do_not_fit(stages: str, what: str, hint: str) -> None:
    error = refused(f"{HEAD}[stages]\n{stages}")
    assert (error.what, error.hint) == (what, hint)


def test_the_rows_of_a_dry_run() -> None:
    plan = plan_of(SHOP)
    rows = render(plan, select(plan))
    assert [row["stage"] for row in rows] == list(order(edges(plan)))
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[3] == {
        "order": 4,
        "stage": "smoke",
        "kind": "task",
        "runs": "pytest -q",
        "waits_for": "unit, up",
        "environment": "test (per run)",
        "requires": "",
        "attempts": 3,
        "timeout": "1 h 30 min",
        "when": "now",
    }
    assert rows[4]["environment"] == "production (protected)"
    assert (rows[4]["requires"], rows[4]["when"]) == ("PASSED_TEST", "later")


def test_the_words_for_what_runs() -> None:
    text = (
        HEAD
        + "[stages]\na = { command = '''\nmake all\nmake test''' }\nb = { command = ['a b', 'c'] }"
    )
    plan = plan_of(text)
    assert [row["runs"] for row in render(plan, select(plan))] == ["make all …", "'a b' c"]


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ('line = "2.7"\nfrom = 4', 4),
        ('line = "2.7"\nfrom = "2.7.4"', 4),
        ('line = "2.8"\nfrom = "2.7.4"', 0),
        ('line = "2.7"\nfrom = "2.7.4-rc.1"', 0),
        ('line = "2.8"\nfrom = 4', 4),
        ('line = "2.8.0-rc"\nfrom = "2.7.4"', 1),
        ('line = "2.8.0-rc"\nfrom = "2.8.0-rc.3"', 3),
        ('scheme = "pep440"\nline = "3.2.0rc"\nfrom = "3.2.0rc5"', 5),
        ('scheme = "counter"\nfrom = "41"', 41),
        ('scheme = "calver"\nline = "YYYY.MM"\nfrom = "2026.11.3"', 3),
        ('scheme = "calver"\nline = "YYYY.MM"\nfrom = "2026.10.3"', 0),
    ],
)
def test_a_version_says_where_its_own_line_starts(version: str, first: int) -> None:
    plan = resolve(parse(f"{HEAD}[version]\n{version}\n"), today=(2026, 11, 30))
    assert plan.version.first == first


@pytest.mark.parametrize("said", ["", "abc", "2.7", "v2.7.4"])
def test_a_start_that_is_no_version_is_refused(said: str) -> None:
    text = f'{HEAD}[version]\nscheme = "semver"\nline = "2.7"\nfrom = "{said}"\n'
    with pytest.raises(ConfigError, match="not a version"):
        resolve(parse(text))
