"""What stages left in their checkout, and which of them must run again to bring it back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.config.load import parse
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan, Stage
from cxlocal.plan.working_files import (
    FEW,
    MOST,
    Left,
    compare,
    may_be_repeated,
    may_be_wanted,
    missing,
    planned_beside,
    read_left,
)

M = (1, 1, 1)
FRESH = {"": {"src": None, "lock": M}, "src": {"a.c": M}}


def with_changes(**changes: Any) -> dict[str, Any]:
    return {**FRESH, **{name.replace("_", "/"): value for name, value in changes.items()}}


@pytest.mark.parametrize(
    ("later", "left"),
    [
        (FRESH, Left()),
        # a file at the top, one in a folder of the commit
        ({**FRESH, "": {**FRESH[""], "out": None}}, Left(("out",))),
        ({**FRESH, "src": {"a.c": M, "a.o": None}}, Left(("src/a.o",))),
        # a new folder: by its files where they are few
        ({**FRESH, "": {**FRESH[""], "dist": None}, "dist": {"x.whl": None}}, Left(("dist/x.whl",))),
        ({**FRESH, "": {**FRESH[""], "dist": None}, "dist": {"in": None}, "dist/in": {"y": None}},
         Left(("dist/in/y",))),
        ({**FRESH, "": {**FRESH[""], "empty": None}, "empty": {}}, Left(("empty/",))),
        ({**FRESH, "": {**FRESH[""], "deps": None}, "deps": dict.fromkeys(map(str, range(FEW + 1)))},
         Left(("deps/",))),
        # a file of the commit: another content, gone, or its folder gone
        ({**FRESH, "": {**FRESH[""], "lock": (1, 2, 1)}}, Left((), ("lock",))),
        ({**FRESH, "src": {}}, Left((), ("src/a.c",))),
        ({"": {"lock": M}}, Left((), ("src",))),
    ],
)  # fmt: skip
def test_what_a_stage_left(later: dict[str, Any], left: Left) -> None:
    assert compare(FRESH, later) == left
    assert read_left(left.as_json()) == left


def test_of_very_many_files_it_is_known_that_there_were_more() -> None:
    later = {**FRESH, "src": {"a.c": M, **dict.fromkeys(map(str, range(MOST + 1)))}}
    left = compare(FRESH, later)
    assert left.more and len(left.new) == MOST
    assert missing(Stage(name="s"), left._replace(new=()), (), lambda cache: True) == ("…",)


@pytest.mark.parametrize("found", [None, 1, [], {}, {"new": 1, "changed": []}, {"new": []}, "x"])
def test_what_is_no_such_record_is_none(found: Any) -> None:
    assert read_left(found) is None


NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.dictionaries(NAMES, NAMES, max_size=3)


@given(TREES, TREES)
def test_nothing_new_is_passed_over(one: dict[str, str], other: dict[str, str]) -> None:
    def seen(tree: dict[str, str]) -> dict[str, dict[str, None]]:
        return {"": dict.fromkeys(tree), **{name: {inner: None} for name, inner in tree.items()}}

    earlier, later = seen(one), seen(other)
    left = compare(earlier, later)
    assert (left == Left()) is (earlier == later)


STAGES = """
deps = { command = "npm ci", caches = [{ path = "node_modules", key_files = ["lock"] }] }
get = { command = "npm ci --cache .npm", caches = [{ path = ".npm", key_files = ["lock"] }] }
build = { command = "make", needs = ["deps"], kind = "build", produces = { app = "dist/app-*.tgz" } }
open = { command = "make", kind = "build", produces = { lib = "out-*/lib.a" } }
check = { kind = "test", command = "make check", needs = ["build"], reports = { junit = "r.xml" } }
lint = { command = "lint", reports = { junit = "lint/*.xml" } }
tag = { command = "git tag x && git push origin x", needs = ["check"] }
put = { kind = "publish", command = "put", needs = ["check"] }
alone = { command = "x", isolated = true }
place = { command = "x", environment = "lab" }
last = { command = "x", needs = ["tag", "put", "get", "open", "lint", "alone", "place"] }
apart = { command = "x", isolated = true, needs = ["build"] }
"""


def plan() -> Plan:
    text = f'cx=1\n[deliverable]\nname="x"\n[stages]{STAGES}[environments.lab]\n'
    return resolve(parse(text + 'lifetime = "per-run"\n'))


DONE = ["deps", "get", "build", "open", "check", "lint", "tag", "put", "alone", "place"]


@pytest.mark.parametrize(
    ("pending", "done", "wanted"),
    [
        (["last"], DONE, ["deps", "get", "build", "open", "lint", "tag", "put", "place"]),
        (["check"], ["deps", "build"], ["deps", "build"]),
        (["build"], ["deps", "get"], ["deps"]),
        (["check"], ["build"], ["build"]),
        (["apart"], DONE, []),
        (["lint"], [one for one in DONE if one != "lint"], []),
        ([], DONE, []),
    ],
)
def test_whose_files_may_be_wanted(pending: list[str], done: list[str], wanted: list[str]) -> None:
    assert [stage.name for stage in may_be_wanted(plan(), pending, done)] == wanted


def test_what_happens_once_is_never_repeated() -> None:
    again = [stage.name for stage in plan().stages if may_be_repeated(stage)]
    assert again == ["deps", "get", "build", "open", "lint", "alone", "last", "apart"]


@pytest.mark.parametrize(
    ("stage", "left", "cached", "gone"),
    [
        ("deps", Left(("node_modules/",)), True, ()),
        ("deps", Left(("node_modules/a", "node_modules/b/c")), True, ()),
        ("deps", Left(("node_modules/",)), False, ("node_modules/",)),
        ("deps", Left(("node_modules/", "other")), True, ("other",)),
        ("deps", Left(("node_modules2/",)), True, ("node_modules2/",)),
        ("deps", Left(("node_modules/",), ("package-lock.json",)), True, ("package-lock.json",)),
        ("get", Left((".npm/", "node_modules/")), True, ("node_modules/",)),
        ("build", Left(("dist/app-1.0.tgz",)), True, ()),
        ("build", Left(("dist/app-1.0.tgz", "dist/app.o")), True, ("dist/app.o",)),
        ("build", Left(("dist/",)), True, ("dist/",)),
        ("build", Left(("dist/app-1/x.tgz",)), True, ("dist/app-1/x.tgz",)),
        ("build", Left(("sub/dist/app-1.tgz",)), True, ("sub/dist/app-1.tgz",)),
        ("open", Left(("out-1/lib.a",)), True, ("out-1/lib.a",)),
        ("lint", Left(("lint/a.xml",)), True, ()),
        ("lint", Left(), False, ()),
    ],
)
def test_what_nothing_brings_back(
    stage: str, left: Left, cached: bool, gone: tuple[str, ...]
) -> None:
    assert missing(plan().stage(stage), left, ["app", "lib"], lambda cache: cached) == gone


def test_an_artifact_that_was_not_recorded_is_missing() -> None:
    left = Left(("dist/app-1.0.tgz",))
    assert missing(plan().stage("build"), left, [], lambda cache: True) == left.new


BESIDE = """
a = { command = "x", produces = { a = "a.out" } }
b = { kind = "test", command = "x", reports = { junit = "./b.xml" } }
many = { kind = "test", command = "x", reports = { junit = "reports/*.xml" } }
c = { kind = "build", command = "x", produces = { c = "dist/**/*.whl", both = "both.out" } }
deps = { command = "x", caches = [{ path = "modules/", key_files = ["lock"] }] }
apart = { kind = "test", command = "x", isolated = true, reports = { junit = "apart.xml" } }
earlier = { command = "x", produces = { e = "earlier.out" } }
me = { command = "x", needs = ["earlier"], produces = { mine = "both.*" } }
later = { command = "x", needs = ["me"], produces = { l = "later.out" } }
"""


@pytest.mark.parametrize(
    ("paths", "new"),
    [
        (["a.out"], ()),  # an artifact of a stage beside
        (["b.xml"], ()),  # a report
        (["dist/in/x.whl"], ()),  # by a pattern over folders; the new folders are theirs, too
        (["reports/1.xml", "reports/2.xml"], ()),
        ([f"reports/{number}.xml" for number in range(FEW + 5)], ()),  # more than are named
        (["modules/m/index.js"], ()),  # a cache
        (["reports/1.xml", "reports/1.log"], ("reports/1.log",)),  # not known whose
        (["other.out"], ("other.out",)),
        (["both.out"], ("both.out",)),  # mine as well
        (["earlier.out"], ("earlier.out",)),  # of a stage that cannot run beside: I wrote over it
        (["later.out"], ("later.out",)),
        (["apart.xml"], ("apart.xml",)),  # that stage works elsewhere
    ],
)
def test_what_the_plan_says_is_of_a_stage_beside_is_not_left_by_this_one(
    paths: list[str], new: tuple[str, ...]
) -> None:
    plan = resolve(parse(f'cx=1\n[deliverable]\nname="x"\n[stages]{BESIDE}'))
    theirs = planned_beside(plan, plan.stage("me"))
    assert compare({"": {}}, tree(paths), theirs) == Left(new)
    marked = {"": dict.fromkeys(paths, M)}  # as files of the commit that were changed
    assert compare(marked, {"": dict.fromkeys(paths, (1, 2, 1))}, theirs).changed == new


def tree(paths: list[str]) -> dict[str, dict[str, None]]:
    seen: dict[str, dict[str, None]] = {"": {}}
    for path in paths:
        parts = path.split("/")
        for depth, name in enumerate(parts):
            seen.setdefault("/".join(parts[:depth]), {})[name] = None
    return seen
