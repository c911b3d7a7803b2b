"""What a rehearsal carries in place of a version, and which places take it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.version import Version

from cxlocal.numbers.rehearsal import marked_text, plain_text, wants_plain
from cxlocal.numbers.schemes import SCHEMES
from cxlocal.numbers.stamp import Stamp, takes

TEXT = marked_text("f9452754-b268-4146-a0ac-a36d282f9033")
SEMVER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\w.-]+)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
RULES = {
    "SemVer, npm, Cargo, Helm": SEMVER,
    "RPM, Version:": r"[A-Za-z0-9._+%{}~^]+",
    "Debian, upstream without a revision": r"\d[A-Za-z0-9.+~]*",
    "Maven, <version>": r'[^\\/:"<>|?*${}]+',
}
PLAIN_RULES = {
    "CMake": r"\d+(\.\d+){0,3}",
    "tag of an image": r"\w[\w.-]{0,127}",
    "RubyGems": r"\d+(\.[0-9a-zA-Z]+)*(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?",
    "Cabal": r"\d+(\.\d+)*",
    "Apple": r"\d+(\.\d+){0,2}",
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_marked_text_is_taken_by_usual_places(rule: str) -> None:
    assert re.fullmatch(rule, TEXT)


def test_it_is_a_local_version_which_indexes_refuse() -> None:
    assert str(Version(TEXT)) == TEXT and Version(TEXT).local


@pytest.mark.parametrize("rule", {**RULES, **PLAIN_RULES}.values(), ids={**RULES, **PLAIN_RULES})
def test_plain_numbers_are_taken_by_all(rule: str) -> None:
    assert re.fullmatch(rule, plain_text("3.2.0"))


@pytest.mark.parametrize(
    ("scheme", "line", "text"),
    [("semver", "3.2", "0.0.0"), ("pep440", "3", "0.0"), ("calver", "2026.11", "0.0.0"),
     ("counter", "", "0"), ("counter", "nightly", "0")],
)  # fmt: skip
def test_plain_numbers_are_as_many_as_a_release_has(scheme: str, line: str, text: str) -> None:
    assert plain_text(SCHEMES[scheme].render(line, 41)) == text


@pytest.mark.parametrize(
    ("file", "pattern", "content", "taken"),
    [
        ("v.h", r'VERSION "([^"]*)"', '#define VERSION "1.2.3"\n', True),
        ("v.h", r'VERSION "([0-9.]+)"', '#define VERSION "1.2.3"\n', False),
        ("v.txt", r"^(.*)$", "1.2.3", True),
        ("v.txt", r"^([\w.+-]+)$", "1.2.3", True),
        ("v.txt", r"^([\w.-]+)$", "1.2.3", False),
        ("build.gradle", r"versionCode (\d+)", "versionCode 12\n", False),
        ("pom.xml", r"<version>(.*?)</version>", "<version>1</version>", True),
        ("a.spec", r"^Version:\s*(\S+)", "Version: 1.0\n", True),
        ("x.cfg", r"v = ([0-9.]+)", "v = 1.0\nw = 2\n", False),
    ],
)
def test_a_pattern_says_what_its_place_holds(
    tmp_path: Path, file: str, pattern: str, content: str, taken: bool
) -> None:
    (tmp_path / file).write_text(content)
    assert takes(tmp_path, [Stamp(file, pattern=pattern)], TEXT) is taken
    assert takes(tmp_path, [Stamp(file, pattern=pattern)], "0") is True
    assert (tmp_path / file).read_text() == content


@pytest.mark.parametrize(
    ("files", "commands", "plain"),
    [
        ([], [], False),
        (["package.json", "Cargo.toml", "pom.xml", "pyproject.toml", "x.spec"], [], False),
        (["CMakeLists.txt"], [], True),
        (["lib/CMakeLists.txt"], [], True),
        (["a.cabal"], [], True),
        (["lib/demo/version.rb"], [], True),
        (["src/manifest.json"], [], True),
        ([], ["docker build -t shop:$CXLOCAL_VERSION ."], True),
        ([], ["make\n/usr/bin/podman build -t shop:${CXLOCAL_VERSION} ."], True),
        ([], ["docker build -t shop ."], False),
        ([], ["cmake -B b -DV=$CXLOCAL_VERSION"], True),
        ([], ["npm version $CXLOCAL_VERSION", "mvn versions:set -DnewVersion=$CXLOCAL_VERSION"], False),
        ([], ["echo $CXLOCAL_VERSION > docker-notes.txt"], False),
    ],
)  # fmt: skip
def test_files_and_programs_that_take_numbers_only(
    files: list[str], commands: list[str], plain: bool
) -> None:
    assert wants_plain("3.2.0", files, commands) is plain
    assert wants_plain("12", files, commands)
