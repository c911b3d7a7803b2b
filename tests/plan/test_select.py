"""Which stages run now: protection, --to, rehearsals."""

from __future__ import annotations

import pytest

from cxlocal.config.load import parse
from cxlocal.errors import Refused, UsageError
from cxlocal.plan.resolve import resolve
from cxlocal.plan.select import select

PLAN = resolve(
    parse("""
cx = 1
[deliverable]
name = "shop"
[stages]
build = { command = "x" }
unit = { command = "x", needs = ["build"] }
docs = { command = "x" }
up = { command = "x", needs = ["build"], environment = "test" }
smoke = { command = "x", needs = ["up"], environment = "test" }
stage = { command = "x", needs = ["smoke"], environment = "staging" }
load = { command = "x", needs = ["stage"], environment = "staging" }
live = { command = "x", requires = "TESTED", needs = ["load"], environment = "production" }
tell = { command = "x", needs = ["live"] }
upload = { kind = "publish", command = "x", needs = ["unit"] }
far = { command = "x", environment = "elsewhere" }
[promotions]
TESTED = { after = ["unit", "smoke"] }
BY_HAND = {}
[environments.test]
lifetime = "per-run"
[environments.staging]
[environments.production]
[environments.elsewhere]
[environments.unused]
""")
)


def test_a_plain_run_stops_before_protected_environments_and_what_waits_for_them() -> None:
    selection = select(PLAN)
    assert set(selection.now) == {"build", "unit", "docs", "up", "smoke", "upload"}
    assert set(selection.later) == {"stage", "load", "live", "tell", "far"}
    assert selection.stopped_by == "elsewhere"
    assert selection.arguments("r1") == ("cxlocal", "run", "--resume", "r1", "--to", "elsewhere")


def test_to_an_environment_goes_on_through_it_and_no_other() -> None:
    staging = select(PLAN, to="staging")
    assert set(staging.now) == {"build", "unit", "docs", "up", "smoke", "upload", "stage", "load"}
    live = select(PLAN, to="production")
    assert set(live.later) == {"far"}
    assert "tell" in live.now


PLACES = resolve(
    parse("""
cx = 1
[deliverable]
name = "shop"
[stages]
build = { command = "x", produces = { app = "app" } }
index = { target = "index", needs = ["build"] }
files = { target = "files", needs = ["build"] }
tag = { target = "tag", needs = ["index", "files"] }
live = { command = "x", environment = "live", needs = ["tag"] }
open = { target = "open", needs = ["build"] }
[environments.live]
[targets.index]
tool = "folder"
[targets.files]
tool = "folder"
[targets.tag]
tool = "git-tag"
[targets.open]
tool = "folder"
protected = false
""")
)


@pytest.mark.parametrize(
    ("to", "runs", "stopped_by"),
    [
        ("index", {"build", "index", "open"}, "files"),
        ("files", {"build", "files", "open"}, "index"),
        ("tag", {"build", "index", "files", "tag", "open"}, "live"),
        ("live", {"build", "index", "files", "tag", "open", "live"}, ""),
    ],
)
def test_a_stage_named_as_its_protected_place_leads_on_to_the_next_one(
    to: str, runs: set[str], stopped_by: str
) -> None:
    """The command that goes on names the place: what lies behind must not be forgotten."""
    chosen = select(PLACES, to=to)
    assert set(chosen.now) == runs
    assert chosen.stopped_by == stopped_by
    assert chosen.arguments("r1") == (
        ("cxlocal", "run", "--resume", "r1", "--to", stopped_by) if stopped_by else ()
    )


def test_a_stage_named_as_a_place_that_nothing_protects_ends_there() -> None:
    chosen = select(PLACES, to="open")
    assert (set(chosen.now), chosen.asked) == ({"build", "open"}, "open")


def test_to_a_stage_runs_it_and_what_it_waits_for() -> None:
    assert set(select(PLAN, to="smoke").now) == {"build", "up", "smoke"}
    assert set(select(PLAN, to="tell").now) == {
        "build", "unit", "up", "smoke", "stage", "load", "live", "tell",
    }  # fmt: skip


def test_to_a_per_run_environment_or_a_promotion() -> None:
    assert set(select(PLAN, to="test").now) == {"build", "up", "smoke"}
    assert set(select(PLAN, to="TESTED").now) == {"build", "unit", "up", "smoke"}


def test_everything_now_leaves_no_command_to_continue() -> None:
    everything = select(PLAN, to="production")
    assert everything.arguments("r")[-1] == "elsewhere"
    small = resolve(parse('cx=1\n[deliverable]\nname="x"\n[stages]\na={command="x"}'))
    assert select(small).arguments("r") == ()


@pytest.mark.parametrize(
    ("to", "what"),
    [
        (
            "prodution",
            "--to prodution: there is no stage, environment, target or promotion of this name",
        ),
        ("unused", "no stage works in the environment 'unused'"),
        ("BY_HAND", "no stage earns the promotion 'BY_HAND'"),
    ],
)
def test_a_target_that_leads_nowhere(to: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(PLAN, to=to)
    assert caught.value.what == what
    assert caught.value.hint


def test_a_rehearsal_touches_nothing_that_lasts() -> None:
    selection = select(PLAN, rehearsal=True)
    assert set(selection.now) == {"build", "unit", "docs", "up", "smoke"}
    assert selection.stopped_by == ""
    assert set(select(PLAN, to="smoke", rehearsal=True).now) == {"build", "up", "smoke"}


@pytest.mark.parametrize("to", ["production", "live", "tell", "upload"])
def test_a_rehearsal_cannot_be_sent_there(to: str) -> None:
    with pytest.raises(Refused, match=f"a rehearsal cannot go to {to}"):
        select(PLAN, to=to, rehearsal=True)


def test_the_order_is_one_in_which_stages_can_start() -> None:
    selection = select(PLAN, to="production")
    for index, name in enumerate(selection.now):
        assert set(PLAN.stage(name).waits_for) <= set(selection.now[:index])


def _one(text: str) -> tuple[str, ...]:
    plan = resolve(parse(f'cx=1\n[deliverable]\nname="x"\n[stages]\nb={{command="x"}}\n{text}'))
    selection = select(plan, rehearsal=True)
    assert set(selection.now) | {name for name, _ in selection.withheld} == {
        stage.name for stage in plan.stages
    }
    assert {name for name, _ in select(plan).withheld} == set()
    return selection.now


@pytest.mark.parametrize(
    ("stages", "now"),
    [
        ('t={command="git push"}', {"b"}),
        ('t={command="git push --dry-run"}', {"b", "t"}),
        ('t={command=["npm","publish"]}\nu={command="x",needs=["t"]}', {"b"}),
        ('t={kind="test",command="x && twine upload y"}', {"b"}),
        ('t={kind="build",command="docker build --push ."}', {"b"}),
        ('t={kind="publish",command="x"}', {"b"}),
        ('t={kind="deploy",command="docker push localhost:5000/x",environment="e"}\n[environments.e]\nlifetime="per-run"', {"b", "t"}),
    ],
)  # fmt: skip
def test_a_rehearsal_leaves_out_what_publishes_by_whatever_kind(stages: str, now: set[str]) -> None:
    assert set(_one(stages)) == now


def test_what_is_left_out_is_said_with_its_reason() -> None:
    withheld = dict(select(PLAN, rehearsal=True).withheld)
    assert withheld == {
        "upload": "publishes", "stage": "works in staging", "load": "works in staging",
        "live": "works in production", "tell": "waits for one of these",
        "far": "works in elsewhere",
    }  # fmt: skip
