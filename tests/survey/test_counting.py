"""Where counting starts: tags and files of every form that versions have in public repositories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.survey.counting import Said, Standing, Start, point, standing
from cxlocal.survey.tree import Survey, Tag

Made = tuple[str, ...]


def known(
    tags: Made,
    tree: str = "",
    *,
    name: str = "shop",
    scheme: str = "semver",
    strict: bool = False,
    alone: bool = True,
    prefix: str = "",
    days: Made = (),
) -> Standing:
    dates = [tuple(map(int, day.split("-"))) for day in days] or [(0, 0, 0)] * len(tags)
    made = tuple(Tag(one, *day) for one, day in zip(tags, dates, strict=True))
    folder = prefix.rpartition("/")[2] or "checkout"
    survey = Survey(folder, tags=made, prefix=prefix)
    said = [Said(tree, "file")] if tree else []
    return standing(survey, name, said, scheme=scheme, strict=strict, alone=alone)


def start(tags: Made, tree: str = "", **rest: Any) -> tuple[str, str, int]:
    found: Start = known(tags, tree, **rest).start
    return found.scheme, found.line, found.first


@pytest.mark.parametrize(
    ("text", "release", "early"),
    [
        ("1.2.3", (1, 2, 3), False), ("v4.2", (4, 2), False), ("41", (41,), False),
        ("3.2.0.dev", (3, 2, 0), True), ("3.2.0.dev3", (3, 2, 0), True),
        ("3.2rc1", (3, 2), True), ("3.2.0-beta.2", (3, 2, 0), True), ("1.0-SNAPSHOT", (1, 0), True),
        ("2.0.0-0", (2, 0, 0), True), ("1.2.3-alpha", (1, 2, 3), True), ("4.0.0-M2", (4, 0, 0), True),
        ("1.2.3.Final", (1, 2, 3), False), ("1.2.3+build.5", (1, 2, 3), False),
        ("1.2.3.post1", (1, 2, 3), False), ("1.2.3.4", (1, 2, 3, 4), False),
    ],
)  # fmt: skip
def test_a_text_is_read(text: str, release: tuple[int, ...], early: bool) -> None:
    found = point(text, "x")
    assert found is not None
    assert (found.release, found.early) == (release, early)


@pytest.mark.parametrize(
    "text", ["", "latest", "1.2-docs", "1.2.x", "2021-01-01", "v", "1..2", "x1"]
)
def test_what_is_no_version(text: str) -> None:
    assert point(text, "x") is None


@pytest.mark.parametrize(
    ("tags", "tree", "expected"),
    [
        ((), "", ("semver", "0.1", 0)),
        # what a template begins with was not released
        ((), "0.1.0", ("semver", "0.1", 0)), ((), "1.0.0", ("semver", "1.0", 0)),
        ((), "7.0.0", ("semver", "7.0", 1)), ((), "0.0.0", ("semver", "0.1", 0)),
        ((), "0.0.0-development", ("semver", "0.1", 0)),
        (("v0.1.0",), "", ("semver", "0.1", 1)),
        (("v0.9.4",), "0.1.0", ("semver", "0.9", 5)),
        # the highest, not the last, and nothing that is only announced
        (("v1.2.0", "v1.10.3", "v1.9.9", "v2.0.0-rc.1", "latest"), "", ("semver", "2.0", 0)),
        (("v2.0.0-rc.1", "v2.0.0"), "", ("semver", "2.0", 1)),
        (("4.1.1",), "4.2.0", ("semver", "4.2", 1)), (("4.2.0",), "4.1.1", ("semver", "4.2", 1)),
        (("3.1.3",), "3.2.0-dev", ("semver", "3.2", 0)),
        (("1.4",), "1.5-SNAPSHOT", ("semver", "1.5", 0)),
        # two numbers: kept where all have two
        (("4.1.1", "4.2"), "", ("semver", "4.2", 1)),
        (("4.0", "4.1", "4.2"), "", ("counter", "4", 3)),
        (("4.0", "4.1", "4.2"), "4.3-dev", ("counter", "4", 3)),
        # bare counters, and marks beside versions
        (("v1.0.0", "39", "40", "41"), "", ("counter", "", 42)),
        (("r60", "r61", "r62"), "62", ("counter", "", 63)),
        (("v3.1.4", "v3"), "", ("semver", "3.1", 5)), (("v3.1.4", "v2", "v3"), "", ("semver", "3.1", 5)),
        (("1.2.3.4", "1.2.3.5"), "", ("counter", "1.2.3", 6)),
        # other spellings
        (("shop-1.2.9", "shop@1.3.0", "release/1.2.30", "2021-01-01"), "", ("semver", "1.3", 1)),
        (("REL_1_4_2", "REL_1_4_1"), "", ("semver", "1.4", 3)),
        (("curl-8_1_2", "curl-8_1_1"), "", ("semver", "8.1", 3)),
        (("libfoo-1.2.0", "libfoo-1.3.0"), "", ("semver", "1.3", 1)),
        (("v1.0.0+build7",), "", ("semver", "1.0", 1)), (("5.0.0.Final",), "", ("semver", "5.0", 1)),
        # years
        (("2026.11.3",), "", ("calver", "YYYY.MM", 0)), (("2026.03.1",), "", ("calver", "YYYY.0M", 0)),
        (("2026.1", "2026.2"), "", ("calver", "YYYY", 0)),
    ],
)  # fmt: skip
def test_counting_goes_on_above_all_of_it(
    tags: Made, tree: str, expected: tuple[str, str, int]
) -> None:
    assert start(tags, tree) == expected


@pytest.mark.parametrize(
    ("tags", "tree", "expected"),
    [
        (("4.0", "4.1", "4.2"), "", ("pep440", "4", 3)),
        (("4.1.1", "4.2"), "", ("pep440", "4.2", 1)),
        (("3.1.3",), "3.2.0.dev", ("pep440", "3.2", 0)),
        ((), "2.0", ("pep440", "2.0", 1)), ((), "2", ("pep440", "2.0", 1)),
        (("1.2.3-1",), "", ("pep440", "1.2", 4)), (("1.2.3.post1",), "", ("pep440", "1.2", 4)),
        (("1.2.3.4",), "", ("pep440", "1.2.3", 5)), (("2.0.0rc1", "1.9"), "", ("pep440", "2.0", 0)),
    ],
)  # fmt: skip
def test_counting_of_python(tags: Made, tree: str, expected: tuple[str, str, int]) -> None:
    assert start(tags, tree, scheme="pep440") == expected


@pytest.mark.parametrize("tags", [("41", "40", "39"), ("4.1", "4.0"), ("1.2.3.4",), ("4",)])
def test_three_numbers_where_tools_take_nothing_else(tags: Made) -> None:
    scheme, line, _ = start(tags, strict=True)
    assert (scheme, line.count(".")) == ("semver", 1)


def test_two_digits_are_a_year_only_where_tags_were_made_in_it() -> None:
    tags = ("24.1.0", "24.9.2", "25.1.0", "25.11.1")
    monthly = ("2024-01-09", "2024-09-30", "2025-01-02", "2025-11-05")
    assert start(tags, days=monthly) == ("calver", "YY.MM", 0)
    # A year, but no month: counted on as numbers.
    assert start(tags, days=("2024-03-09", "2024-12-30", "2025-03-02", "2025-12-05")) == (
        "semver", "25.11", 2,
    )  # fmt: skip
    assert start(tags, days=("2019-01-09", "2020-01-09", "2021-01-09", "2021-04-09")) == (
        "semver", "25.11", 2,
    )  # fmt: skip
    assert start(tags) == ("semver", "25.11", 2)
    daily = ("2025.01.09", "2025.02.11", "2025.03.30")
    assert start(daily, days=("2025-01-09", "2025-02-11", "2025-03-30")) == (
        "calver", "YYYY.0M.0D", 0,
    )  # fmt: skip


CLI = ("cli@2.0.1", "core@15.0.1", "v9.9.9")


@pytest.mark.parametrize(
    ("tags", "name", "prefix", "expected"),
    [
        (CLI, "cli", "packages/cli", ("2.0", 2)), (CLI, "core", "packages/core", ("15.0", 2)),
        (CLI, "new", "packages/new", ("0.1", 0)), (CLI, "@acme/cli", "packages/cli", ("2.0", 2)),
        (("@acme/cli@2.0.1", "@acme/core@15.0.1"), "@acme/cli", "packages/cli", ("2.0", 2)),
        (("@acme/cli@2.0.1", "@acme/core@15.0.1"), "cli", "packages/cli", ("2.0", 2)),
        (("services/cart/v1.4.0", "services/shop/v3.0.0"), "cart", "services/cart", ("1.4", 1)),
        (("cart/v1.4.0", "shop/v3.0.0"), "cart", "services/cart", ("1.4", 1)),
        (("cart-v1.4.0", "cart-api-v3.0.0"), "cart", "services/cart", ("1.4", 1)),
        (("core-v1.4.0", "core-utils-v3.0.0"), "core-utils", "packages/core-utils", ("3.0", 1)),
        # one version for all of the repository
        (("v1.4.0", "v1.5.0"), "cart", "services/cart", ("1.5", 1)),
    ],
)  # fmt: skip
def test_tags_of_neighbours_do_not_count(
    tags: Made, name: str, prefix: str, expected: tuple[str, int]
) -> None:
    found = known(tags, name=name, prefix=prefix, alone=False).start
    assert (found.line, found.first) == expected


@pytest.mark.parametrize(
    ("tags", "tree", "prefix", "expected"),
    [
        # A line of which its own tags speak is its own: plain tags are the whole's or a neighbour's.
        (("remark@15.0.1", "parse@11.0.0", "11.0.2", "11.0.1"), "", "packages/parse", ("11.0", 1)),
        (("parse@11.0.0", "11.0.2"), "11.0.0", "packages/parse", ("11.0", 1)),
        (("parse/v11.0.0", "v11.0.2"), "", "parse", ("11.0", 1)),
        (("@acme/parse@11.0.0", "v11.0.2"), "", "packages/parse", ("11.0", 1)),
        # Of this line they do not speak: a release would be refused for the plain ones.
        (("parse@11.0.0", "12.0.2"), "12.0.0", "packages/parse", ("12.0", 3)),
        (("parse@11.0.0", "remark@12.0.5", "12.0.2"), "12.0.0", "packages/parse", ("12.0", 3)),
        # One version for all, after each had its own: the files say so.
        (("parse@3.2.0", "parse@3.2.1", "v4.0.0"), "4.0.0", "packages/parse", ("4.0", 1)),
        # The top of the repository has its own and the plain ones.
        (("parse@11.0.0", "cli@3.0.0", "12.0.2", "12.0.1"), "", "", ("12.0", 3)),
        (("cli@3.0.0", "12.0.2", "12.0.1"), "", "", ("12.0", 3)),
        (("cli@3.0.0", "cli@3.0.1"), "", "", ("0.1", 0)),
    ],
)  # fmt: skip
def test_whose_the_tags_without_a_name_are(
    tags: Made, tree: str, prefix: str, expected: tuple[str, int]
) -> None:
    found = known(tags, tree, name="parse", prefix=prefix, alone=False).start
    assert (found.line, found.first) == expected


def test_both_sources_and_what_the_other_would_be() -> None:
    found = known(("4.1.1",), "4.2.0")
    assert found.tag is not None and found.tree is not None and found.other is not None
    assert (found.tag.by, found.tree.by) == ("the tag 4.1.1", "file")
    assert (found.start.example, found.other.example) == ("4.2.1", "4.1.2")
    assert known(("4.2.0",), "4.2.0").other is None
    assert known(("4.2.0",), "1.0.0").other is None


@given(
    st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=6),
    st.sampled_from(["semver", "pep440"]),
)
def test_what_comes_next_lies_above_every_release(
    releases: list[tuple[int, int, int]], scheme: str
) -> None:
    tags = tuple(f"v{a}.{b}.{c}" for a, b, c in releases)
    found = known(tags, scheme=scheme).start
    assert tuple(map(int, found.example.split("."))) > max(releases)
