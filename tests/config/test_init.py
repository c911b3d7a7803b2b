"""``cxlocal init`` in small repositories of every kind: what it writes holds, and fits."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.config.load import parse
from cxlocal.config.propose import LINES_MAX, propose, quoted
from cxlocal.config.survey import Survey, highest_tag
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan

MAKEFILE = """\
PROGRAM = hello
OBJECTS = hello.o
CFLAGS ?= -O2

$(PROGRAM): $(OBJECTS)
\t$(CC) -o $@ $(OBJECTS)

check: $(PROGRAM)
\t./$(PROGRAM)
"""

KINDS: dict[str, dict[str, str]] = {
    "python": {
        "pyproject.toml": '[project]\nname = "shop"\nversion = "0.3.1"\n',
        "tests/test_a.py": "",
    },
    "python-dynamic": {
        "pyproject.toml": '[project]\nname = "shop"\ndynamic = ["version"]\n',
        "src/shop/__init__.py": '"""Shop."""\n__version__ = "1.4.0"\n',
    },
    "python-tags": {
        "pyproject.toml": '[build-system]\nrequires = ["setuptools-scm"]\n[project]\nname = "shop"\n',
    },
    "python-old": {"setup.py": "from setuptools import setup\nsetup(name='shop', version='2.0')\n"},
    "node": {
        "package.json": '{"name": "@scope/shop", "version": "2.1.3",'
        ' "scripts": {"test": "node test.js", "build": "tsc"}, "dependencies": {"a": "1"}}',
        "package-lock.json": "{}",
    },
    "node-bare": {"package.json": '{"name": "shop"}'},
    "cargo": {
        "Cargo.toml": '[package]\nname = "shop"\nversion = "0.2.0"\n',
        "src/main.rs": "fn main() {}\n",
    },
    "cargo-library": {"Cargo.toml": '[package]\nname = "shop"\nversion = "0.2.0"\n'},
    "go": {"go.mod": "module example.com/team/shop/v2\n", "main.go": "package main\n"},
    "maven": {
        "pom.xml": "<project><parent><artifactId>p</artifactId><version>9</version></parent>"
        "<artifactId>shop</artifactId><version>1.2.0-SNAPSHOT</version></project>"
    },
    "gradle": {
        "build.gradle.kts": "",
        "settings.gradle.kts": 'rootProject.name = "shop"\n',
        "gradlew": "",
    },
    "cmake": {"CMakeLists.txt": "project(shop VERSION 1.2.3)\nenable_testing()\n"},
    "make": {"Makefile": MAKEFILE},
    "make-plain": {"Makefile": "all:\n\techo hello\ntest:\n\ttrue\n"},
    "helm": {"Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.4.2\n"},
    "docker": {"Dockerfile": "FROM scratch\n"},
    "nothing": {"README": "hello\n"},
    "broken": {"pyproject.toml": "[project\n", "package.json": "{", "Cargo.toml": "\0"},
}


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    return folder


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def written(folder: Path) -> Plan:
    text = (folder / "cx.toml").read_text()
    assert len(text.splitlines()) <= LINES_MAX
    return resolve(parse(text))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gets_a_file_that_holds(cx: Any, repository: Path, kind: str) -> None:
    fill(repository, KINDS[kind])
    result = cx.ok("init", cwd=repository)
    plan = written(repository)
    assert plan.deliverable == "shop"
    assert plan.stages
    assert any(stage.produces for stage in plan.stages)
    assert result.out == ""
    assert "cxlocal rehearse" in result.err


def made(files: dict[str, str], **rest: Any) -> Plan:
    tops = {name.partition("/")[0] + ("/" if "/" in name else "") for name in files}
    survey = Survey("shop", frozenset(tops), files, **rest)
    return resolve(parse(propose(survey).text))


def test_python() -> None:
    plan = made(KINDS["python"])
    assert (plan.version.scheme, plan.version.line, plan.version.first) == ("pep440", "0.3", 2)
    assert plan.version.stamp[0].key == "project.version"
    assert [(stage.name, stage.tool) for stage in plan.stages] == [
        ("build", "wheel"), ("unit", "pytest"),
    ]  # fmt: skip
    assert plan.promotion("PASSED_TEST").after == ("unit",)


def test_python_with_its_version_in_a_module() -> None:
    plan = made(KINDS["python-dynamic"])
    assert plan.version.stamp[0].file == "src/shop/__init__.py"
    assert (plan.version.line, plan.version.first) == ("1.4", 1)
    assert [stage.name for stage in plan.stages] == ["build"]
    assert made(KINDS["python-old"]).version.stamp[0].file == "setup.py"


def test_python_with_its_version_from_tags() -> None:
    plan = made(KINDS["python-tags"], tags=("v1.2.0", "v1.10.3", "v1.9.9", "v2.0.0rc1", "latest"))
    assert (plan.version.line, plan.version.first, plan.version.stamp) == ("1.10", 4, ())
    assert "SETUPTOOLS_SCM_PRETEND_VERSION" in str(plan.stage("build").command)


def test_node() -> None:
    plan = made(KINDS["node"])
    assert [stage.name for stage in plan.stages] == ["install", "build", "unit", "pack"]
    assert plan.stage("install").command == "npm ci"
    assert plan.stage("pack").waits_for == ("unit",)
    assert plan.stage("pack").produces[0].path == "scope-shop-*.tgz"
    assert (plan.version.line, plan.version.first) == ("2.1", 4)
    assert plan.version.stamp[0].key == "version"


@pytest.mark.parametrize(("version", "first"), [("0.1.0", 0), ("1.0.0", 0), ("7.0.0", 1)])
def test_a_version_in_a_file_may_be_published(version: str, first: int) -> None:
    plan = made({"package.json": f'{{"name": "shop", "version": "{version}"}}'})
    assert plan.version.first == first
    assert made({"package.json": "{}"}, tags=("v0.1.0",)).version.first == 1


def test_make() -> None:
    plan = made(KINDS["make"])
    assert plan.stage("build").produces[0].path == "hello"
    assert plan.stage("unit").command == "make check"
    plain = made(KINDS["make-plain"])
    assert plain.stage("pack").produces[0].path == "dist/shop-*.tar.gz"


def test_tags_of_this_deliverable_among_others() -> None:
    found = highest_tag(["v1.2", "shop-1.2.9", "shop@1.3.0", "release/1.2.30", "2021-01-01", "x"])
    assert found is not None
    assert (found.line, found.number, found.said_by) == ("1.3", 0, "the tag shop@1.3.0")
    assert highest_tag(["latest", "v1"]) is None


def test_dates_as_versions() -> None:
    plan = made(KINDS["make"], tags=("2026.11.3",))
    assert (plan.version.scheme, plan.version.line) == ("calver", "YYYY.MM")


def test_several_remotes_and_a_monorepo() -> None:
    plan = made(KINDS["node"], remotes=("origin", "backup"), prefix="services/shop")
    assert plan.remotes == ("origin", "backup")
    assert plan.paths == ("services/shop",)


def test_a_repository_with_tags_and_a_remote(cx: Any, repository: Path) -> None:
    fill(repository, KINDS["make"])
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "tag", "v0.9.4")
    git(repository, "remote", "add", "origin", "https://example.com/shop.git")
    result = cx.ok("init", cwd=repository)
    assert "the tag v0.9.4 says 0.9.4" in result.err
    assert "no remote" not in result.err
    plan = written(repository)
    assert (plan.version.line, plan.version.first) == ("0.9", 5)


def test_a_folder_below_the_top(cx: Any, repository: Path) -> None:
    below = repository / "services" / "cart"
    below.mkdir(parents=True)
    cx.ok("init", cwd=below)
    plan = written(below)
    assert (plan.deliverable, plan.paths) == ("cart", ("services/cart",))


def test_nothing_is_overwritten(cx: Any, repository: Path) -> None:
    (repository / "cx.toml").write_text("mine = 1\n")
    result = cx("init", cwd=repository)
    assert result.code == 3
    assert "-mine = 1" in result.err
    assert "cxlocal init --force" in result.err
    assert (repository / "cx.toml").read_text() == "mine = 1\n"
    cx.ok("init", "--force", cwd=repository)
    again = cx.ok("init", cwd=repository)
    assert "already there" in again.err
    assert sorted(os.listdir(repository)) == [".git", ".gitignore", "cx.toml"]


def test_a_link_is_replaced_and_not_followed(cx: Any, repository: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("keep me\n")
    (repository / "cx.toml").symlink_to(target)
    (repository / ".gitignore").symlink_to(target)
    assert cx("init", cwd=repository).code == 3
    result = cx.ok("init", "--force", cwd=repository)
    assert target.read_text() == "keep me\n"
    assert ".gitignore is a link" in result.err
    written(repository)


def test_git_is_told_what_to_ignore(cx: Any, repository: Path) -> None:
    (repository / ".gitignore").write_text("/dist\n/cx.local.toml")
    cx.ok("init", cwd=repository)
    assert (repository / ".gitignore").read_text() == "/dist\n/cx.local.toml\n.cx/run\n"
    cx.ok("init", "--force", cwd=repository)
    assert (repository / ".gitignore").read_text().count(".cx/run") == 1


def test_only_shown(cx: Any, repository: Path) -> None:
    result = cx.ok("init", "--print", cwd=repository)
    resolve(parse(result.out))
    assert os.listdir(repository) == [".git"]


def test_without_git(cx: Any, tmp_path: Path) -> None:
    result = cx.ok("init", cwd=tmp_path)
    assert "git init" in result.err
    assert not (tmp_path / ".gitignore").exists()


def test_a_pipe_in_place_of_a_file_does_not_hang(cx: Any, repository: Path) -> None:
    os.mkfifo(repository / "Makefile")
    cx.ok("init", cwd=repository)
    written(repository)


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_survives_quoting(text: str) -> None:
    import tomllib

    assert tomllib.loads(f"a = {quoted(text)}")["a"] == text


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=20),
    st.sampled_from(list(KINDS)),
    st.lists(
        st.text("v0123456789.-@/rc", max_size=12) | st.from_regex(r"v\d+\.\d+\.\d+"), max_size=5
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_no_folder_and_no_tag_breaks_the_file(
    folder: str, kind: str, tags: list[str], name: str
) -> None:
    import json

    files = {**KINDS[kind]}
    if kind == "node":
        files["package.json"] = json.dumps({"name": name, "version": name})
    tops = {one.partition("/")[0] + ("/" if "/" in one else "") for one in files}
    survey = Survey(folder, frozenset(tops), files, ("a", "b"), tuple(tags), "x/y")
    text = propose(survey).text
    assert len(text.splitlines()) <= LINES_MAX
    resolve(parse(text))
