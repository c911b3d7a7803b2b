"""Plans as bytes: the same plan, the same bytes; what newer and older versions wrote."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.errors import ConfigError
from cxlocal.plan.freeze import freeze, thaw
from cxlocal.plan.types import (
    FORMAT,
    Cache,
    Environment,
    Output,
    Plan,
    Promotion,
    ReportRule,
    Stage,
    Stamp,
    VersionRule,
)  # fmt: skip

names = st.text("abcXYZ09_.-", min_size=1, max_size=8)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tuples = st.lists(names, max_size=3).map(tuple)
numbers = st.integers(0, 10**6)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | texts
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
options = st.dictionaries(texts, values, max_size=3)
stages = st.builds(
    Stage,
    name=names, kind=names, command=st.none() | texts | tuples, tool=texts, verb=texts,
    options=options, needs=tuples, requires=tuples, waits_for=tuples, environment=texts,
    produces=st.lists(st.builds(Output, name=names, path=texts), max_size=2).map(tuple),
    artifacts=tuples,
    reports=st.lists(st.builds(ReportRule, format=names, path=texts), max_size=2).map(tuple),
    retries=numbers, timeout_seconds=numbers, secrets=tuples, pass_env=tuples,
    isolated=st.booleans(),
    caches=st.lists(st.builds(Cache, path=texts, key_files=tuples), max_size=2).map(tuple),
)  # fmt: skip
plans = st.builds(
    Plan,
    deliverable=texts, title=texts, owner=texts, paths=tuples,
    version=st.builds(
        VersionRule, scheme=names, line=texts, first=numbers, reserve=numbers, ahead=numbers,
        stamp=st.lists(st.builds(Stamp, file=texts, key=texts, pattern=texts), max_size=2).map(tuple),
    ),
    remotes=tuples, workspace=names,
    stages=st.lists(stages, max_size=3).map(tuple),
    promotions=st.lists(st.builds(Promotion, name=names, title=texts, after=tuples), max_size=2).map(tuple),
    environments=st.lists(
        st.builds(Environment, name=names, title=texts, protected=st.booleans(), options=options),
        max_size=2,
    ).map(tuple),
    secrets=st.dictionaries(names, options, max_size=2),
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(plans)
def test_a_plan_comes_back_as_it_was(plan: Plan) -> None:
    content, digest = freeze(plan)
    again = thaw(content)
    assert again == plan
    assert freeze(again) == (content, digest)
    assert thaw(content.decode()) == plan


def reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reversed_keys(value[key]) for key in reversed(value)}
    return [reversed_keys(one) for one in value] if isinstance(value, list) else value


@settings(deadline=None, max_examples=50)
@given(plans)
def test_the_bytes_do_not_depend_on_the_order_of_keys(plan: Plan) -> None:
    turned = msgspec.convert(reversed_keys(msgspec.to_builtins(plan)), Plan)
    assert freeze(turned) == freeze(plan)


def test_unknown_fields_of_the_same_format_are_left_aside() -> None:
    raw = json.loads(freeze(Plan(deliverable="x", stages=(Stage(name="a"),)))[0])
    raw["weather"] = "fine"
    raw["stages"][0]["colour"] = "red"
    assert thaw(json.dumps(raw)) == Plan(deliverable="x", stages=(Stage(name="a"),))


def test_an_older_plan_takes_the_defaults_of_what_it_lacks() -> None:
    old = thaw('{"format": 1, "deliverable": "x", "stages": [{"name": "a"}]}')
    assert old == Plan(deliverable="x", stages=(Stage(name="a"),))


def test_a_newer_plan_is_refused_by_name() -> None:
    with pytest.raises(ConfigError) as caught:
        thaw(json.dumps({"format": FORMAT + 1, "shape": "different"}))
    assert caught.value.what == "this plan was frozen by a newer cxlocal"
    assert caught.value.name == "newer-plan"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"format": 1}', "\udc80", '{"format": "x"}']
)
def test_what_is_not_a_plan(content: str) -> None:
    with pytest.raises(ConfigError) as caught:
        thaw(content)
    assert caught.value.name == "bad-plan"


def test_the_digest_of_a_plan_is_part_of_the_format() -> None:
    # Journals hold these digests: a change here is a change of the format.
    content, digest = freeze(Plan(deliverable="x"))
    assert content.startswith(b'{"deliverable":"x","environments":[],"filters":[],"format":1,')
    assert digest == "4077648a8e5d91335b181ff068d37765404a377797fbd21d80fc58717ebc5088"
