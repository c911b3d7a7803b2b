"""Schemes: different numbers, different texts; keys that sort as the versions do."""

from __future__ import annotations

import pytest
import semver
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from cxlocal.errors import ConfigError
from cxlocal.numbers.schemes import (
    NUMBER_MAX,
    SCHEMES,
    final_of,
    first_number,
    lines_in_tags,
    number_in,
    numbers_in_tags,
    resolve_line,
    scheme_named,
    suffix_text,
)

LINES = {
    "semver": ("2.7", "0.0", "10.20", "3.2.0-rc", "3.2.1-alpha", "0.1.0-feature.new-cart"),
    "pep440": ("2.7", "3", "1!2.0", "2.7.1.0", "3.2.0rc", "1!3.2a", "3.2.0b", "3.2.0.dev"),
    "calver": ("2026.11", "2026", "26.4.5"),
    "counter": ("", "nightly", "build-7"),
}
PLACES = [(name, line) for name, lines in LINES.items() for line in lines]
numbers = st.integers(0, NUMBER_MAX)
small = st.integers(0, 30)


@settings(deadline=None, max_examples=100)
@given(st.sampled_from(PLACES), numbers, numbers)
def test_texts_are_distinct_and_keys_sort_by_number(place: tuple[str, str], a: int, b: int) -> None:
    name, line = place
    scheme = SCHEMES[name]
    scheme.check_line(line)
    first, second = scheme.render(line, a), scheme.render(line, b)
    assert (first == second) == (a == b)
    assert (scheme.sort_key(first) < scheme.sort_key(second)) == (a < b)
    assert number_in(scheme, line, first) == a


@settings(deadline=None, max_examples=100)
@given(st.tuples(small, small, small), st.tuples(small, small, small))
def test_semver_keys_across_lines(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    key = SCHEMES["semver"].sort_key
    first, second = (".".join(map(str, each)) for each in (a, b))
    assert (key(first) < key(second)) == (a < b)


identifiers = st.lists(
    st.one_of(small.map(str), st.sampled_from(["rc", "rc1", "alpha", "a-b", "offline", "Z"])),
    min_size=0, max_size=3,
)  # fmt: skip


@settings(deadline=None, max_examples=100)
@given(small, identifiers, small, identifiers)
def test_semver_keys_agree_with_the_standard(
    a: int, early_a: list[str], b: int, early_b: list[str]
) -> None:
    key = SCHEMES["semver"].sort_key
    first = f"2.7.{a}" + ("-" + ".".join(early_a) if early_a else "")
    second = f"2.7.{b}" + ("-" + ".".join(early_b) if early_b else "")
    wanted = semver.Version.parse(first).compare(second)
    assert (key(first) > key(second)) - (key(first) < key(second)) == wanted


pep_texts = st.builds(
    lambda epoch, release, pre, post, dev: epoch + ".".join(map(str, release)) + pre + post + dev,
    st.sampled_from(["", "1!"]),
    st.lists(small, min_size=1, max_size=4),
    st.sampled_from(["", "a1", "b2", "rc1", "rc10"]),
    st.sampled_from(["", ".post1", ".post12"]),
    st.sampled_from(["", ".dev0", ".dev3"]),
)


@settings(deadline=None, max_examples=200)
@given(pep_texts, pep_texts)
def test_pep440_keys_agree_with_packaging(first: str, second: str) -> None:
    key = SCHEMES["pep440"].sort_key
    a, b = Version(first), Version(second)
    assert (key(first) < key(second)) == (a < b)
    assert (key(first) == key(second)) == (a == b)


def test_a_changed_scheme_keeps_the_order() -> None:
    texts = [("semver", "2.7.9"), ("pep440", "2.7.10"), ("calver", "2026.1.3"), ("pep440", "1!0.1")]
    keys = [SCHEMES[name].sort_key(text) for name, text in texts]
    assert keys == sorted(keys)


def test_suffix_sorts_below_the_number_it_stands_for() -> None:
    scheme = SCHEMES["semver"]
    text = suffix_text(scheme, "2.7", 14, "00" * 16, 1)
    assert text == "2.7.15-offline.m0000000000000000.1"
    semver.Version.parse(text)
    below, above = scheme.sort_key("2.7.14"), scheme.sort_key("2.7.15")
    assert below < scheme.sort_key(text) < above
    counter = SCHEMES["counter"]
    text = suffix_text(counter, "", 14, "ab" * 16, 2)
    assert counter.sort_key("14") < counter.sort_key(text) < counter.sort_key("15")
    assert suffix_text(scheme, "2.7", 1, "ab" * 16, 1) != suffix_text(
        scheme, "2.7", 1, "cd" * 16, 1
    )
    early = suffix_text(scheme, "3.2.0-rc", 4, "00" * 16, 1)
    assert early == "3.2.0-rc.4.offline.m0000000000000000.1"
    semver.Version.parse(early)
    below, above = scheme.sort_key("3.2.0-rc.4"), scheme.sort_key("3.2.0-rc.5")
    assert below < scheme.sort_key(early) < above
    with pytest.raises(ConfigError, match="suffix"):
        suffix_text(SCHEMES["pep440"], "2.7", 14, "ab" * 16, 1)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("semver", "2"), ("semver", "2.07"), ("semver", "2.7.1"), ("semver", "٢.7"),
        ("pep440", ""), ("pep440", "2.7+local"), ("pep440", "v2"), ("calver", "november"),
        ("calver", "2026.111"), ("counter", "a b"), ("counter", "x" * 61), ("counter", "offline"),
        ("semver", "2.7\n"), ("semver", "3.2-rc"), ("semver", "3.2.0rc"), ("semver", "3.2.0-rc1"),
        ("semver", "3.2.0-rc."), ("semver", "3.2.0-1"), ("semver", "3.2.0-offline"),
        ("semver", "3.2.0-rc-"), ("semver", "3.2.0-" + "x" * 50), ("pep440", "3.2.0-rc"),
        ("pep440", "3.2.0rc1"), ("pep440", "3.2.0alpha"), ("pep440", "3.2.0c"), ("pep440", "rc"),
        ("pep440", "3.2.0dev"), ("calver", "2026.11-rc"),
    ],
)  # fmt: skip
def test_unfit_lines_are_refused(name: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SCHEMES[name].check_line(line)
    assert caught.value.why
    assert caught.value.hint


def test_lines_of_pre_releases_begin_with_one_and_lie_before_their_version() -> None:
    for name, line, first, tenth, final in (
        ("semver", "3.2.0-rc", "3.2.0-rc.1", "3.2.0-rc.10", "3.2.0"),
        ("semver", "3.2.0-beta", "3.2.0-beta.1", "3.2.0-beta.10", "3.2.0-rc.1"),
        ("pep440", "3.2.0rc", "3.2.0rc1", "3.2.0rc10", "3.2.0"),
        ("pep440", "3.2.0.dev", "3.2.0.dev1", "3.2.0.dev10", "3.2.0a1"),
        ("pep440", "1!3.2b", "1!3.2b1", "1!3.2b10", "1!3.2rc1"),
    ):
        scheme = SCHEMES[name]
        assert first_number(name, line) == 1
        assert scheme.render(line, 1) == first
        assert scheme.render(line, 10) == tenth
        keys = [scheme.sort_key(text) for text in (first, scheme.render(line, 9), tenth, final)]
        assert keys == sorted(keys)
        assert lines_in_tags(scheme, "shop", line, [f"v{tenth}"]) == {line: {10: f"v{tenth}"}}
    for name, line in (
        ("semver", "3.2"),
        ("pep440", "3.2"),
        ("counter", "nightly"),
        ("calver", "2026"),
    ):
        assert first_number(name, line) == 0


@pytest.mark.parametrize(
    ("name", "text", "final"),
    [
        ("pep440", "3.2.0rc2", ("3.2", 0, "3.2.0")), ("pep440", "3.2.5a1", ("3.2", 5, "3.2.5")),
        ("pep440", "1!3.2.0.dev4", ("1!3.2", 0, "1!3.2.0")), ("pep440", "3.2rc1", ("3", 2, "3.2")),
        ("semver", "3.2.0-rc.2", ("3.2", 0, "3.2.0")), ("semver", "0.1.7-x.y.3", ("0.1", 7, "0.1.7")),
        ("pep440", "3.2.0", None), ("pep440", "3.2.0.post1", None), ("semver", "3.2.0", None),
        ("semver", "3.2.0+build", None), ("counter", "14", None), ("calver", "2026.11.3", None),
        ("semver", "", None), ("pep440", "rc1", None), ("pep440", "3.2.0-rc.1", None),
    ],
)  # fmt: skip
def test_what_a_pre_release_leads_to(
    name: str, text: str, final: tuple[str, int, str] | None
) -> None:
    assert final_of(SCHEMES[name], text) == final


EARLY = [
    ("semver", "3.2.0-rc", tag)
    for tag in ("v3.2.0-rc.4", "3.2.0-rc4", "v3.2.0rc4", "shop-3.2.0-rc.4", "@acme/shop@3.2.0-rc.4",
                "release/v3.2.0-RC4", "v3.2.0.rc4", "3.2.0-rc-4", "v3.2.0_rc4", "v3.2.0-rc.4+build7")
] + [
    ("pep440", "3.2.0rc", tag)
    for tag in ("3.2.0rc4", "v3.2.0-rc.4", "v3.2.0-rc4", "shop-3.2.0.rc4", "3.2.0c4", "3.2.0-preview4",
                "v3.2.0-pre.4")
] + [
    ("pep440", "3.2.0a", "v3.2.0-alpha.4"), ("pep440", "3.2.0b", "3.2.0beta4"),
    ("pep440", "3.2.0.dev", "3.2.0.dev4"), ("pep440", "3.2.0.dev", "v3.2.0-dev4"),
    ("semver", "3.2.0-alpha", "3.2.0alpha4"), ("semver", "3.2.0-dev", "v3.2.0.dev4"),
    ("semver", "3.2.0-next", "v3.2.0-next.4"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "tag"), EARLY)
def test_tags_of_pre_releases(name: str, line: str, tag: str) -> None:
    scheme = SCHEMES[name]
    assert numbers_in_tags(scheme, "shop", line, [tag]) == {4}
    assert lines_in_tags(scheme, "shop", "9.9", [tag]) == {line: {4: tag}}
    assert numbers_in_tags(scheme, "shop", "3.2", [tag]) == set()


def test_foreign_texts_have_no_key() -> None:
    for name, text in [("semver", "2.7"), ("pep440", "2.7+x"), ("calver", "x"), ("counter", "a b")]:
        with pytest.raises(ValueError, match="not"):
            SCHEMES[name].sort_key(text)


OURS = [
    ("shop", "v1.0.11"), ("shop", "V1.0.11"), ("shop", "1.0.11"), ("shop", "shop-1.0.11"),
    ("shop", "shop@1.0.11"), ("shop", "shop_v1.0.11"), ("shop", "shop.1.0.11"),
    ("shop", "Shop-1.0.11"), ("shop", "SHOP/v1.0.11"), ("shop", "services/shop/v1.0.11"),
    ("shop", "services/shop-1.0.11"), ("shop", "@acme/shop@1.0.11"), ("shop", "release-1.0.11"),
    ("shop", "Release-v1.0.11"), ("shop", "release/1.0.11"), ("shop", "releases/1.0/v1.0.11"),
    ("shop", "rel_1_0_11"), ("shop", "REL1_0_11"), ("shop", "version-1.0.11"),
    ("shop", "v1.0.11+build5"), ("shop", "1.0.11+20240101.sha-1a2b3c4"), ("shop", "1.0.11.Final"),
    ("shop", "1.0.11.RELEASE"), ("shop", "v1.0.11-ga"), ("shop", "shop/release-1.0.11+b1"),
    ("@acme/shop", "@acme/shop@1.0.11"), ("@acme/shop", "@Acme/Shop@v1.0.11"),
    ("@acme/shop", "packages/@acme/shop/v1.0.11"), ("@acme/shop", "shop@1.0.11"),
    ("@acme/shop", "release/shop-1.0.11"), ("@acme/shop", "v1.0.11"),
    ("s3-tool2", "s3-tool2-1.0.11"), ("c++", "c++/1.0.11"),
]  # fmt: skip
FOREIGN = [
    ("web", "api/v1.0.11"), ("web", "@acme/api@1.0.11"), ("web", "api-v1.0.11"),
    ("web", "api@1.0.11"), ("web", "web-api-v1.0.11"), ("web", "web-api/v1.0.11"),
    ("web", "web/api/v1.0.11"), ("web", "myweb-1.0.11"), ("web", "myweb/1.0.11"),
    ("web", "services/api/v1.0.11"), ("web", "releases/api/v1.0.11"), ("@acme/web", "@other/web@1.0.11"),
    ("@acme/web", "@acme/api@1.0.11"), ("@acme/web", "libs/web@1.0.11"), ("a.b", "axb-1.0.11"),
    ("web", "v1.0.11-rc.1"), ("web", "1.0.11-SNAPSHOT"), ("web", "v1.0.11.5"), ("web", "v11.0.11"),
    ("web", "x1.0.11"), ("web", "1.0.11-final-rc2"),
]  # fmt: skip


@pytest.mark.parametrize(("deliverable", "tag"), OURS)
def test_tags_of_this_deliverable(deliverable: str, tag: str) -> None:
    assert numbers_in_tags(SCHEMES["semver"], deliverable, "1.0", [tag]) == {11}
    assert lines_in_tags(SCHEMES["semver"], deliverable, "9.9", [tag]) == {"1.0": {11: tag}}


@pytest.mark.parametrize(("deliverable", "tag"), FOREIGN)
def test_tags_of_others(deliverable: str, tag: str) -> None:
    assert numbers_in_tags(SCHEMES["semver"], deliverable, "1.0", [tag]) == set()


def test_tags_tell_what_is_in_use() -> None:
    tags = ["v2.7.3", "webshop-2.7.9", "webshop/v2.7.4", "2.6.99", "v2.7.x", "nonsense", "V2.7.1"]
    assert numbers_in_tags(SCHEMES["semver"], "webshop", "2.7", tags) == {1, 3, 4, 9}
    assert numbers_in_tags(SCHEMES["semver"], "webshop", "3.0", tags) == set()


@pytest.mark.parametrize(
    ("deliverable", "tags", "part", "whole"),
    [
        ("parse", ["parse@1.0.3", "v1.0.9"], {3}, {3, 9}),
        ("parse", ["libs/parse/v1.0.3", "1.0.9"], {3}, {3, 9}),
        ("parse", ["@acme/parse@1.0.3", "1.0.9"], {3}, {3, 9}),
        ("@acme/parse", ["parse-1.0.3", "release-1.0.9"], {3}, {3, 9}),
        # Its own tags speak of another line, or of none.
        ("parse", ["parse@2.0.3", "v1.0.9"], {9}, {9}),
        ("parse", ["parse-ast@1.0.3", "v1.0.9"], {9}, {9}),
        ("parse", ["cli@1.0.3", "v1.0.9"], {9}, {9}),
        ("parse", ["parse@1.0.3-rc.1", "v1.0.9"], {9}, {9}),
    ],
)
def test_plain_tags_beside_those_of_a_folder_of_the_repository(
    deliverable: str, tags: list[str], part: set[int], whole: set[int]
) -> None:
    semver = SCHEMES["semver"]
    for wanted, is_part in ((part, True), (whole, False)):
        assert numbers_in_tags(semver, deliverable, "1.0", tags, part=is_part) == wanted
        lines = lines_in_tags(semver, deliverable, "1.0", tags, part=is_part)
        assert set(lines["1.0"]) == wanted


def test_lines_of_dates() -> None:
    assert resolve_line("YYYY.MM", 2026, 4, 5) == "2026.4"
    assert resolve_line("YY.0M.0D", 2026, 4, 5) == "26.04.05"
    assert resolve_line("2.7", 2026, 4, 5) == "2.7"
    SCHEMES["calver"].check_line("YYYY.0M")


def test_unknown_scheme_and_plugins() -> None:
    with pytest.raises(ConfigError, match="romver"):
        scheme_named("romver")

    class Romver:
        name = "romver"

        def check_line(self, line: str) -> None:
            pass

        def render(self, line: str, number: int) -> str:
            return f"{line}-{number}"

        def sort_key(self, text: str) -> str:
            return text

    assert scheme_named("romver", [Romver()]).render("X", 1) == "X-1"
