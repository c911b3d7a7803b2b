"""``cxlocal init`` in small repositories of every kind: what it writes holds, and fits."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.config.load import parse
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan
from cxlocal.survey.propose import LINES_MAX, quoted

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


def terminal(cx: Any, folder: Path, words: str, answers: str) -> str:
    """What ``init`` said at a terminal where a person gave these answers."""
    done = subprocess.run(
        ["script", "-qec", f"{cx.program} {words}", os.devnull], cwd=folder, input=answers,
        capture_output=True, text=True, check=False, timeout=40,
    )  # fmt: skip
    return done.stdout


def test_a_repository_with_tags_and_a_remote(cx: Any, repository: Path) -> None:
    fill(repository, KINDS["make"])
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "tag", "v0.9.4")
    git(repository, "remote", "add", "origin", "https://example.com/shop.git")
    result = cx.ok("init", cwd=repository)
    assert "the tag v0.9.4 says v0.9.4" in result.err
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
    assert tomllib.loads(f"a = {quoted(text)}")["a"] == text


def test_sources_that_disagree_are_said(cx: Any, repository: Path) -> None:
    fill(repository, {"pyproject.toml": '[project]\nname = "shop"\nversion = "1.2.0"\n'})
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "tag", "1.4.1")
    result = cx.ok("init", cwd=repository)
    assert "the tag 1.4.1 says 1.4.1, pyproject.toml says 1.2.0. Next is 1.4.2." in result.err
    assert written(repository).version.first == 2
    text = (repository / "cx.toml").read_text()
    assert "# the tag 1.4.1 is the last before; 1.2.0 (pyproject.toml)" in text


@pytest.mark.needs("script")
@pytest.mark.parametrize(("answer", "first"), [("y\n", ("1.4", 2)), ("n\n", ("1.2", 1))])
def test_a_person_is_asked_which_holds(
    cx: Any, repository: Path, answer: str, first: tuple[str, int]
) -> None:
    fill(repository, {"pyproject.toml": '[project]\nname = "shop"\nversion = "1.2.0"\n'})
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "tag", "1.4.1")
    said = terminal(cx, repository, "init", answer)
    assert "Count on with 1.4.2 (no: 1.2.1)?" in said
    plan = written(repository)
    assert (plan.version.line, plan.version.first) == first


def test_tags_that_only_the_remote_has(cx: Any, repository: Path, tmp_path: Path) -> None:
    fill(repository, KINDS["make"])
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repository, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "tag", "v0.9.4")
    git(repository, "push", "-q", "--tags", "origin", "HEAD")
    git(repository, "tag", "-d", "v0.9.4")
    cx.ok("init", "--print", "--offline", cwd=repository)
    assert "the tag" not in cx.ok("init", "--print", "--offline", cwd=repository).out
    assert 'from = "0.9.5"' in cx.ok("init", "--print", cwd=repository).out


WORKSPACE = {
    "package.json": '{"private": true, "workspaces": ["packages/*"]}',
    "packages/cli/package.json": '{"name": "cli", "version": "2.0.0", "main": "a.js"}',
    "packages/core/package.json": '{"name": "core", "version": "15.0.0", "main": "a.js"}',
    "packages/docs/package.json": '{"name": "docs", "version": "1.0.0", "private": true}',
}


def test_a_workspace_gets_a_file_for_each(cx: Any, repository: Path) -> None:
    fill(repository, WORKSPACE)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "tag", "cli@2.0.1")
    git(repository, "tag", "core@15.0.1")
    refused = cx("init", cwd=repository)
    assert refused.code == 2
    assert "packages/cli  a Node package" in refused.err
    assert "cxlocal init --all" in refused.err
    result = cx.ok("init", "--all", cwd=repository)
    assert "Wrote packages/core/cx.toml" in result.err
    assert not (repository / "cx.toml").exists()
    assert not (repository / "packages/docs/cx.toml").exists()
    plans = {one: written(repository / "packages" / one) for one in ("cli", "core")}
    assert {name: plan.version.first for name, plan in plans.items()} == {"cli": 2, "core": 2}
    assert plans["core"].paths == ("packages/core",)


@pytest.mark.needs("script")
def test_a_person_chooses_among_the_members(cx: Any, repository: Path) -> None:
    fill(repository, WORKSPACE)
    terminal(cx, repository, "init", "n\ny\n")
    assert not (repository / "packages/cli/cx.toml").exists()
    assert written(repository / "packages/core").version.line == "15.0"


def test_what_a_person_must_see_to_is_said(cx: Any, repository: Path) -> None:
    fill(repository, {**KINDS["helm"], "apt.txt": "libxml2-dev  # parser\nxvfb\n"})
    result = cx.ok("init", cwd=repository, env={"PATH": "/usr/bin:/bin"})
    assert "apt.txt names packages of the system; they are yours to install" in result.err
    assert "libxml2-dev xvfb" in result.err
    assert "its stages need it: helm" in result.err


def test_an_untested_release_says_so_each_time(cx: Any, repository: Path, tmp_path: Path) -> None:
    fill(repository, {"VERSION": "1.4.0\n"})
    assert "No tests were found" in cx.ok("init", cwd=repository).err
    assert "# Nothing tests this" in (repository / "cx.toml").read_text()
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(repository, "remote", "add", "origin", str(tmp_path / "remote.git"))
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "first")
    git(repository, "push", "-q", "origin", "HEAD")
    for words in (["rehearse"], ["run"]):
        assert "not tested" in cx.ok(*words, cwd=repository).err
