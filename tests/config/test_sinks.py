"""``[sinks]``: what is taken, what is refused, whose word counts, and what an agreement is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxlocal.config.agreement import agree, sinks_digest
from cxlocal.config.load import parse, parse_local
from cxlocal.config.settings import settings
from cxlocal.errors import ConfigError
from cxlocal.sinks.chosen import BY_ANOTHER, COMMAND_TOKEN, NOT_AGREED, targets

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n[sinks]\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('logs = { to = "nowhere" }', "is no address of a sink"),
        ('logs = { to = "" }', "is no address of a sink"),
        ('logs = { to = "File:/x" }', "is no address of a sink"),
        ('logs = { to = "file:/x\\u0007" }', "is no address of a sink"),
        ('logs = { to = "https://me:secret@logs/x" }', "a password does not belong"),
        ('logs = { to = "https://me@logs/x?token=abc" }', "a password does not belong"),
        ('logs = [{ to = "file:/x" }, { to = "file:/x" }]', "logs names one address twice"),
        ('logs = { to = "file:/x", token = {} }', "a secret has one source"),
        ('logs = { to = "file:/x", of = "some" }', "of"),
        ('traces = { to = "file:/x" }', "there is no key 'traces'"),
        ('logs = { to = "file:/x", ask = "nowhere" }', "is no address of a sink"),
        ('logs = { to = "file:/x", ask = "postgresql://me:secret@db/x" }', "a password does not"),
        ('events = { to = "file:/x", ask = "file:/x" }', "only logs are asked for"),
        ("logs = 3", "logs"),
        ('hold = "soon"', "hold"),
    ],
)
def test_what_is_refused_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(HEAD + text)
    assert said in f"{caught.value}"
    with pytest.raises(ConfigError):
        parse_local("[sinks]\n" + text)


@pytest.mark.parametrize("layer", ["environment", "cx.local.toml", "cx.toml", "user file"])
def test_each_word_outranks_those_after_it(tmp_path: Path, layer: str) -> None:
    """For each kind by itself."""
    order = ["environment", "cx.local.toml", "cx.toml", "user file"]
    given = order[order.index(layer) :]
    local, user = tmp_path / "cx.local.toml", tmp_path / "config" / "cxlocal" / "config.toml"
    user.parent.mkdir(parents=True)
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    shared = HEAD + ('logs = { to = "file:/cx.toml" }' if "cx.toml" in given else "")
    if "cx.local.toml" in given:
        local.write_text('[sinks]\nlogs = { to = "file:/cx.local.toml" }')
    if "user file" in given:
        user.write_text('[sinks]\nlogs = { to = "file:/user file" }')
    if "environment" in given:
        environ["CXLOCAL_SINK_LOGS"] = "file:/environment"
    found = settings(parse(shared), local=str(local), environ=environ)
    assert [one.to for one in found.sinks["logs"]] == [f"file:/{layer}"]
    assert found.origins["sinks.logs"] == layer
    (target,) = targets(found, parse(shared), tmp_path, environ)
    assert target.deliverable == ("shop" if layer.startswith("cx.") else "")
    assert target.idle == (NOT_AGREED if layer == "cx.toml" else "")


def test_a_variable_that_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="CXLOCAL_SINK_LOGS"):
        settings(None, local=None, environ={"CXLOCAL_SINK_LOGS": "https://a:b@c"})


BASE = 'logs = { to = "file:/x" }\n'
OTHERS = [
    'logs = { to = "file:/y" }', 'events = { to = "file:/x" }',
    BASE + 'events = { to = "file:/x" }', 'logs = { to = "file:/x", of = "all" }',
    'logs = { to = "file:/x", token = { env = "T" } }',
    'logs = { to = "file:/x", with = { a = 1 } }', 'logs = { to = "file:/x", ask = "file:/x" }',
    'logs = { to = "file:/x", ask_token = { env = "T" } }',
]  # fmt: skip


@pytest.mark.parametrize("other", OTHERS)
def test_any_change_asks_again(tmp_path: Path, other: str) -> None:
    agreed = parse(HEAD + BASE)
    entry = {"what": "sinks", "folder": "/x", "at": "now"}
    agree(tmp_path, trusted={sinks_digest(agreed): entry})
    for config, idle in ((agreed, {""}), (parse(HEAD + other), {NOT_AGREED})):
        found = settings(config, local=None, environ={})
        assert {one.idle for one in targets(found, config, tmp_path, {})} == idle
    assert sinks_digest(parse(HEAD + 'hold = "3d"\n' + BASE)) == sinks_digest(agreed)


@pytest.mark.parametrize(
    ("text", "idle"),
    [
        ('logs = { to = "file:/x", of = "all" }', BY_ANOTHER),
        ('logs = { to = "file:/x", token = { cmd = ["pass"] } }', COMMAND_TOKEN),
        ('logs = { to = "file:/x", token = { file = "t" } }', COMMAND_TOKEN),
        ('logs = { to = "file:/x", ask_token = { cmd = ["pass"] } }', COMMAND_TOKEN),
        ('logs = { to = "file:/x", token = { env = "T" } }', ""),
    ],
)
def test_what_a_checkout_may_say_is_less_than_a_person(
    tmp_path: Path, text: str, idle: str
) -> None:
    config = parse(HEAD + text)
    environ = {"CXLOCAL_TRUST": sinks_digest(config)}
    found = settings(config, local=None, environ=environ)
    (target,) = targets(found, config, tmp_path, environ)
    assert (target.idle, target.all_nodes) == (idle, False)
    local = tmp_path / "cx.local.toml"
    local.write_text("[sinks]\n" + text)
    found = settings(None, local=str(local), environ={})
    (target,) = targets(found, None, tmp_path, {})
    assert (target.idle, target.all_nodes) == ("", idle == BY_ANOTHER)
