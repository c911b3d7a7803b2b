"""Components in cx.toml: what is refused and how it is put right, what differs, and plans without any."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.commands import Commands
from deployments import CONFIG, TOOLS

from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.hooks.options import check_options
from cxlocal.plan.bind import bind
from cxlocal.plan.components import components_in, differences_of, spec_sha256
from cxlocal.plan.freeze import freeze, thaw
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import PLAIN_FORMAT
from cxlocal.runner.payer import is_planned
from cxlocal.runner.resources import Made

DOCS = Path(__file__).resolve().parents[2] / "docs"
WEB = "[components.web]\n"
ENVIRONMENT = "[environments.production]\n"
SECRETS = '[secrets]\nKEY = { env = "KEY" }\n'
BAD = {
    "an unknown need": ('needs = ["db"]', 'needs = ["dbb"]', "did you mean 'db'"),
    "behind nothing": ('behind = "lb"', 'behind = "lbb"', "did you mean 'lb'"),
    "behind what is replaced": (
        '[components.lb]\nmutable = true', "[components.lb]", "add mutable = true to [components.lb]"
    ),
    "a circle": ("[components.lb]\n", '[components.lb]\nneeds = ["web"]\n', "circle: lb → web → lb"),
    "an unknown artifact": ('artifact = "app"', 'artifact = "apps"', "did you mean 'app'"),
    "an unknown secret": (WEB, WEB + 'secrets = ["KEY"]\n', 'KEY = { env = "KEY" }'),
    "a rollout that falls": ("weight = 50", "weight = 100", "end with { weight = 100 }"),
    "a rollout that does not end": ("{ weight = 100 }", "{ weight = 60 }", "end with { weight = 100 }"),
    "no path": ('health = "tcp"', 'health = "up"', "a path that begins with a slash, or 'tcp'"),
    "health of what is changed in place": (
        "[components.db]\n", '[components.db]\nhealth = "/"\n', "take health out, or mutable"
    ),
    "more hosts than there are": ("count = 2", 'count = 2\nhosts = ["a"]\nmin_hosts = 2', "name more hosts"),
    "a former name of what is replaced": (
        "count = 2", 'count = 2\nwas = "old"', "take was out, or add mutable = true"
    ),
    "a former name that is its own": (
        "[components.db]\n", '[components.db]\nwas = "db"\n', 'was = "db" names itself'
    ),
    "a former name that is still there": (
        "[components.db]\n", '[components.db]\nwas = "lb"\n', "names a component that is still in the file"
    ),
    "a host twice": ("count = 2", 'count = 2\nhosts = ["h1", "h2", "h1"]', "hosts names 'h1' twice"),
    "a host twice in one environment": (
        ENVIRONMENT, ENVIRONMENT + 'components.web = { hosts = ["h1", "h1"] }\n', "hosts names 'h1' twice"
    ),
    "none of them": ("count = 2", "count = 0", "at least 1"),
    "no host": ("count = 2", 'count = 2\nhosts = ["-v"]', "hosts"),
    "what it is differs": (ENVIRONMENT, ENVIRONMENT + "components.web = { mutable = true }\n", "mutable"),
    "what it runs differs": (ENVIRONMENT, ENVIRONMENT + 'components.web = { artifact = "x" }\n', "artifact"),
    "of no component": (ENVIRONMENT, ENVIRONMENT + "components.wbe = { count = 1 }\n", "did you mean 'web'"),
    "two ways": (
        "[environments", 'more = { kind = "deploy", environment = "production", command = "true" }\n[environments',
        "[components.more]",
    ),
    "two of them": (
        "[environments", 'more = { kind = "deploy", environment = "production" }\n[environments',
        "deploys into production, too",
    ),
    "before what it runs": (', needs = ["build"] }', " }", "add needs = ['build']"),
    "a placeholder of what it does not need": (
        "count = 2", 'count = 2\nenv = { A = "{component.other.url}" }', "add needs = ['other']"
    ),
    "a secret that it does not list": (
        "count = 2", 'count = 2\nenv = { K = "{secret.KEY}" }', 'add secrets = ["KEY"]'
    ),
    "a secret in an option": (
        WEB, SECRETS + WEB + 'with = { url = "http://{secret.KEY}@h" }\nsecrets = ["KEY"]\n',
        'instances get them by env = { KEY = "{secret.KEY}" }',
    ),
    "a secret as a variable": (
        WEB, SECRETS + WEB + 'env = { K = "{env.KEY}" }\nsecrets = ["KEY"]\n', 'write KEY = "{secret.KEY}"'
    ),
    "a variable that is not passed": (
        "count = 2", 'count = 2\nenv = { K = "{env.KEY}" }',
        'add pass_env = ["KEY"]; for a secret: secrets = ["KEY"] and env = { KEY = "{secret.KEY}" }',
    ),
    "a variable of ours": ("count = 2", 'count = 2\nenv = { CXLOCAL_RUN = "x" }', "set by cxlocal itself"),
    "an option of no tool": (ENVIRONMENT, ENVIRONMENT + "components.web = { overlap = true }\n", "overlap"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said_with_what_to_do(name: str) -> None:
    old, new, words = BAD[name]
    assert old in CONFIG
    with pytest.raises(ConfigError) as problem:
        bind(resolve(parse(CONFIG.replace(old, new, 1))), TOOLS.__getitem__, lambda *asked: None)
    said = f"{problem.value.what} {problem.value.why} {problem.value.hint}"
    assert words in said, said


@pytest.mark.parametrize(
    ("shared", "here", "hint"),
    [
        (
            'env = { K = "{secret.KEY}" }\nsecrets = ["KEY"]',
            "secrets = []",
            'add secrets = ["KEY"]',
        ),
        (
            'env = { K = "{env.KEY}" }\npass_env = ["KEY"]',
            "pass_env = []",
            'add pass_env = ["KEY"]',
        ),
        (
            'with = { a = "{env.KEY}" }\npass_env = ["KEY"]',
            "pass_env = []",
            'add pass_env = ["KEY"]',
        ),
        ("", 'env = { K = "{secret.KEY}" }', 'add secrets = ["KEY"]'),
    ],
)
def test_what_an_environment_gives_no_more_is_missed(shared: str, here: str, hint: str) -> None:
    text = CONFIG.replace("count = 2\n", f"count = 2\n{shared}\n") + SECRETS
    resolve(parse(text))
    with pytest.raises(ConfigError) as problem:
        resolve(parse(text.replace(ENVIRONMENT, f"{ENVIRONMENT}components.web = {{ {here} }}\n")))
    assert hint in problem.value.hint and "web in production" in problem.value.what


def test_an_environment_may_give_what_is_not_shared() -> None:
    here = 'components.web = { env = { K = "{secret.KEY}" }, secrets = ["KEY"] }\n'
    plan = resolve(parse(CONFIG.replace(ENVIRONMENT, ENVIRONMENT + here) + SECRETS))
    [web] = [one for one in components_in(plan, "production") if one.name == "web"]
    assert web.env == {"K": "{secret.KEY}"} and web.secrets == ("KEY",)


@pytest.mark.parametrize(
    ("key", "text", "words"),
    [
        ("env", "{component.db.ulr}", "did you mean 'url'?"),
        ("env", "{component.db.url} {component.db.what}", "outputs are 'url', 'host'"),
        ("with", "{component.db.Url}", "did you mean 'url'?"),
        ("here", "{component.db.hots}", "did you mean 'host'?"),
        ("env", "{component.lb.anything}", ""),
        ("env", "{component.db.user}:{component.db.port}", ""),
    ],
)
def test_what_a_tool_does_not_say_is_refused_beforehand(key: str, text: str, words: str) -> None:
    """As far as the tool tells what it says; ``lb`` has a tool that does not."""

    class Says(Every):
        outputs = ("url", "host", "port", "user")

    value = f'{{ A = "{text}" }}' if key != "with" else f'{{ a = "{text}" }}'
    said = f"{'env' if key == 'here' else key} = {value}"
    config = CONFIG.replace('mutable = true\ntool = "toy"', 'mutable = true\ntool = "says"', 1)
    if key == "here":
        config = config.replace(ENVIRONMENT, f"{ENVIRONMENT}components.web = {{ {said} }}\n")
    else:
        config = config.replace("count = 2\n", f"count = 2\n{said}\n")

    def bound() -> None:
        bind(resolve(parse(config)), {"says": Says, "toy": Every}.__getitem__, lambda *_: None)

    if not words:
        bound()
        return
    with pytest.raises(ConfigError) as problem:
        bound()
    assert words in problem.value.hint and problem.value.name == "unknown-output"


class Every(Commands):
    """Can do every verb, whatever its options are."""

    by_options = False
    shell = False


def test_a_former_name_may_be_unknown() -> None:
    text = CONFIG.replace("[components.db]\n", '[components.db]\nwas = "data"\n', 1)
    assert resolve(parse(text)).shared_components[0].was == "data"


def test_a_deploy_stage_without_anything_to_deploy() -> None:
    text = CONFIG.partition("[components")[0]
    with pytest.raises(ConfigError) as problem:
        resolve(parse(text))
    assert "[components]" in problem.value.hint


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"with": {"create": "true"}}, "cannot remove"),
        ({"with": {"apply": "true"}}, "mutable = true"),
        ({"with": {"apply": "true"}, "behind_it": True}, "cannot rotate"),
        ({"with": {"create": "true"}, "mutable": True}, "cannot apply"),
    ],
)
def test_the_tool_must_be_able(table: dict[str, Any], words: str) -> None:
    (verb, command), = table["with"].items()  # fmt: skip
    name = "lb" if table.get("behind_it") else "it"
    mutable = table.get("mutable") or table.get("behind_it")
    text = CONFIG.partition("[components")[0] + (
        f'[components.{name}]\ntool = "commands"\nmutable = {str(bool(mutable)).lower()}\n'
        f'with = {{ {verb} = "{command}" }}\n'
    )
    if name == "lb":
        text += (
            '[components.web]\ntool = "commands"\nbehind = "lb"\n'
            'with = { create = "true", remove = "true" }\n'
        )
    with pytest.raises(ConfigError) as problem:
        bind(resolve(parse(text)), lambda _: Commands, check_options)
    assert words in f"{problem.value.what} {problem.value.hint}"


def test_an_environment_says_only_what_differs() -> None:
    text = CONFIG.replace(
        ENVIRONMENT,
        '[environments.test]\nlifetime = "per-run"\n'
        'components.web = { count = 1, rollout = [], with = { create = "other" } }\n'
        + ENVIRONMENT + 'components.db = { with = { url = "postgresql://db" } }\n',
    )  # fmt: skip
    plan = resolve(parse(text))
    test = {one.name: one for one in components_in(plan, "test")}
    live = {one.name: one for one in components_in(plan, "production")}
    assert (test["web"].count, test["web"].rollout, live["web"].count) == (1, (), 2)
    assert live["db"].is_given and not test["db"].is_given
    assert list(live) == ["db", "lb", "web"], "each after those it needs"
    assert differences_of(plan, "production", "db") == {"options": {"url": "postgresql://db"}}
    assert differences_of(plan, "production", "web") == {}
    shared = {one.name: spec_sha256(one) for one in plan.shared_components}
    other = resolve(parse(text.replace('health = "tcp"', 'health = "/"')))
    changed = {one.name for one in other.shared_components if spec_sha256(one) != shared[one.name]}
    assert changed == {"web"}, "a changed spec is another, of that component alone"


def test_a_plan_comes_back_and_one_without_components_stays_what_it_was() -> None:
    plan = resolve(parse(CONFIG))
    assert thaw(freeze(plan)[0]) == plan
    assert plan.format > PLAIN_FORMAT, "an older cxlocal would not know what to do with it"
    plain = resolve(
        parse(
            'cx = 1\n[deliverable]\nname = "shop"\n[stages]\nbuild = { command = "true" }\n'
            "[environments]\nproduction = {}\n"
        )
    )
    content, _ = freeze(plain)
    assert b"components" not in content and plain.format == PLAIN_FORMAT


def test_the_example_of_the_page_is_a_plan() -> None:
    page = (DOCS / "environments.md").read_text(encoding="utf-8")
    example, _ = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    plan = bind(resolve(parse(example)), lambda _: Commands, partial(check_options))
    web = next(one for one in components_in(plan, "production") if one.name == "web")
    assert (web.count, web.keep_old_seconds, web.rollout[0].hold_seconds) == (4, 3600, 120)


@pytest.mark.parametrize(
    ("host", "ours"), [("app-1", True), ("", False), ("-oProxyCommand=x", False)]
)
def test_what_others_say_was_made_on_a_host(host: str, ours: bool) -> None:
    """Whoever takes it away goes to that host: it is one that the component names."""
    plan = resolve(parse("""
cx = 1
[deliverable]
name = "shop"
[stages]
make = { command = "true", produces = { image = "image" } }
live = { kind = "deploy", environment = "production", needs = ["make"] }
[components.web]
tool = "commands"
with = { create = "true", remove = "true" }
artifact = "image"
hosts = ["app-1", "app-2"]
[environments.production]
"""))  # fmt: skip
    fields: dict[str, Any] = dict.fromkeys(Made._fields, "")
    [web] = plan.components
    made = Made(**{
        **fields, "environment": "production", "instance": "production", "lifetime": "lasting",
        "component": "web", "tool": "commands", "options": web.options, "host": host, "handle": {},
        "serves": False, "due": True, "expires_seconds": 0, "verb": "create",
    })  # fmt: skip
    assert is_planned(plan, made) is ours
