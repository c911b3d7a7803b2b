"""Which kind a repository is, and what is written for it: variants as public repositories have them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_init import KINDS

from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.plan.resolve import resolve
from cxlocal.plan.types import Plan
from cxlocal.survey.members import members
from cxlocal.survey.propose import LINES_MAX, propose
from cxlocal.survey.python_tests import requirements
from cxlocal.survey.recognise import recognise
from cxlocal.survey.tree import Survey, Tag

Files = dict[str, str]


def survey(files: Files, **rest: Any) -> Survey:
    return Survey("shop", frozenset(files), files, **rest)


def made(files: Files, **rest: Any) -> Plan:
    seen = survey(files, **rest)
    text = propose(seen, recognise(seen)).text
    assert len(text.splitlines()) <= LINES_MAX
    return resolve(parse(text))


def command(plan: Plan, stage: str) -> str:
    return str(plan.stage(stage).command)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_makes_something(kind: str) -> None:
    plan = made(KINDS[kind])
    assert any(stage.produces for stage in plan.stages)


PROJECT = '[project]\nname = "shop"\n'
TESTS = {"tests/test_a.py": ""}


@pytest.mark.parametrize(
    ("files", "file", "version"),
    [
        ({"pyproject.toml": PROJECT + 'version = "1.4.0"\n'}, "pyproject.toml", "1.4"),
        ({"pyproject.toml": '[tool.poetry]\nname = "shop"\nversion = "1.4.0"\n'}, "pyproject.toml", "1.4"),
        ({"pyproject.toml": PROJECT + '[tool.hatch.version]\npath = "lib/about.py"\n', "lib/about.py": 'VERSION = "1.4.0"\n'}, "lib/about.py", "1.4"),
        ({"pyproject.toml": PROJECT + '[tool.pdm.version]\nsource = "file"\npath = "a.py"\n', "a.py": "__version__ = '1.4.0'\n"}, "a.py", "1.4"),
        ({"pyproject.toml": PROJECT + '[tool.setuptools.dynamic]\nversion = {attr = "shop.v.NUMBER"}\n', "src/shop/v.py": 'NUMBER = "1.4.0"\n'}, "src/shop/v.py", "1.4"),
        ({"pyproject.toml": PROJECT + '[tool.setuptools.dynamic]\nversion = {file = "VERSION"}\n', "VERSION": "1.4.0\n"}, "VERSION", "1.4"),
        ({"setup.cfg": "[metadata]\nname = shop\nversion = attr: shop.__version__\n", "shop/__init__.py": '__version__ = "1.4.0"\n'}, "shop/__init__.py", "1.4"),
        ({"setup.cfg": "[metadata]\nname = shop\nversion = 1.4.0\n"}, "setup.cfg", "1.4"),
        ({"setup.py": "setup(name='shop', version='1.4.0')\n"}, "setup.py", "1.4"),
        ({"setup.py": "__version__ = '1.4.0'\nsetup(name='shop', version=__version__)\n"}, "setup.py", "1.4"),
        ({"pyproject.toml": PROJECT + 'dynamic = ["version"]\n', "shop.py": '"""Shop."""\n__version__ = "1.4.0"\n'}, "shop.py", "1.4"),
        ({"pyproject.toml": '[build-system]\nbuild-backend = "maturin"\n' + PROJECT, "Cargo.toml": '[package]\nname = "shop"\nversion = "1.4.0"\n'}, "Cargo.toml", "1.4"),
        ({"CMakeLists.txt": "project(\n  shop\n  VERSION 1.4.0)\n"}, "CMakeLists.txt", "1.4"),
        ({"CMakeLists.txt": 'set(SHOP_VERSION "1.4.0")\nproject(shop VERSION ${SHOP_VERSION})\n'}, "CMakeLists.txt", "1.4"),
        ({"CMakeLists.txt": "project(shop C)\n", "include/shop.h": '#define SHOP_VERSION "1.4.0"\n'}, "include/shop.h", "1.4"),
        ({"Makefile": "all:\n\ttrue\n", "version.h": '#define SERVER_SOFTWARE "shop/1.4.0 26Oct2018"\n'}, "version.h", "1.4"),
        ({"Makefile": "all:\n\ttrue\n", "shop.c": '#define PROTOCOL_SERVER "HTTP/1.1"\n#define USER_AGENT "Shop-cli 1.4.0"\n'}, "shop.c", "1.4"),
        ({"Makefile": "all:\n\ttrue\n", "a.c": '#define BANNER "shop/2.0"\n', "b.c": '#define VERSION "1.4.0"\n'}, "b.c", "1.4"),
        ({"meson.build": "project('shop', 'c',\n  version : '1.4.0')\n"}, "meson.build", "1.4"),
        ({"configure.ac": "AC_INIT([shop], [1.4.0], [x@example.org])\n"}, "configure.ac", "1.4"),
        ({"Makefile": "VERSION = 1.4.0\nall:\n\ttrue\n"}, "Makefile", "1.4"),
        ({"build.gradle": "version = '1.4.0'\n"}, "build.gradle", "1.4"),
        ({"build.gradle.kts": "", "gradle.properties": "version=1.4.0\n"}, "gradle.properties", "1.4"),
        ({"pom.xml": "<project><artifactId>shop</artifactId>\n<version>1.4.0</version></project>"}, "pom.xml", "1.4"),
        ({"shop.podspec": "Pod::Spec.new do |s|\n  s.version = '1.4.0'\nend\n"}, "shop.podspec", "1.4"),
        ({"go.mod": "module example.com/shop\n", "version.go": 'package shop\n\nconst Version = "1.4.0"\n'}, "version.go", "1.4"),
        ({"Cargo.toml": '[workspace]\nmembers = ["a"]\n[workspace.package]\nversion = "1.4.0"\n', "a/Cargo.toml": '[package]\nname = "a"\nversion.workspace = true\n'}, "Cargo.toml", "1.4"),
    ],
)  # fmt: skip
def test_the_version_is_stamped_where_it_stands(
    files: Files, file: str, version: str, tmp_path: Any
) -> None:
    from cxlocal.numbers.stamp import Stamp, apply_stamps

    plan = made(files)
    assert (plan.version.line, plan.version.first) == (version, 1)
    assert [one.file for one in plan.version.stamp] == [file]
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (stamp,) = plan.version.stamp
    apply_stamps(tmp_path, [Stamp(stamp.file, stamp.key, stamp.pattern)], "9.8.7")
    assert (tmp_path / file).read_text() == files[file].replace("1.4.0", "9.8.7")


def test_the_metadata_of_a_source_archive_is_stamped_too_where_the_build_believes_it() -> None:
    files = {
        "pyproject.toml": PROJECT + '[build-system]\nrequires = ["hatchling"]\n'
        '[tool.hatch.version]\npath = "shop.py"\n',
        "shop.py": '__version__ = "1.4.0"\n', "PKG-INFO": "Version: 1.4.0\n",
    }  # fmt: skip
    assert [one.file for one in made(files).version.stamp] == ["shop.py", "PKG-INFO"]


@pytest.mark.parametrize(
    ("folder", "name", "line"),
    [
        ("shop-1.30", "shop", "1.30"), ("shop_v2.0.4", "shop", "2.0"), ("web-shop-0.9.1", "web-shop", "0.9"),
        ("shop-2", "shop-2", "0.1"), ("shop", "shop", "0.1"), ("1.4.0", "1.4.0", "0.1"),
    ],
)  # fmt: skip
def test_the_folder_of_an_unpacked_archive_says_name_and_version(
    folder: str, name: str, line: str
) -> None:
    files = {"Makefile": "all:\n\ttrue\n"}
    seen = Survey(folder, frozenset(files), files)
    plan = resolve(parse(propose(seen, recognise(seen)).text))
    assert (plan.deliverable, plan.version.line) == (name, line)
    # What a file or a tag says counts before it.
    seen = seen._replace(tags=(Tag("v3.2.1"),))
    assert resolve(parse(propose(seen, recognise(seen)).text)).version.line == "3.2"


@pytest.mark.parametrize(
    "described",
    [
        '[build-system]\nrequires = ["setuptools-scm"]\n' + PROJECT,
        '[build-system]\nrequires = ["hatch-vcs"]\n[tool.hatch.version]\nsource = "vcs"\n'
        + PROJECT,
        PROJECT + '[tool.pdm.version]\nsource = "scm"\n',
    ],
)
def test_a_version_from_git_is_stamped_nowhere(described: str) -> None:
    plan = made({"pyproject.toml": described}, tags=(Tag("v1.2.0"), Tag("v1.10.3")))
    assert (plan.version.line, plan.version.first, plan.version.stamp) == ("1.10", 4, ())
    assert plan.stage("build").tool == "wheel"
    archive = made({"pyproject.toml": described, "PKG-INFO": "Name: shop\nVersion: 2.1.0\n"})
    assert (archive.version.line, archive.version.first) == ("2.1", 1)
    assert [one.file for one in archive.version.stamp] == ["PKG-INFO"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pyproject.toml": PROJECT + "[dependency-groups]\ntest = []\ndev = []\n"}, "--group test pytest"),
        ({"pyproject.toml": PROJECT + "[dependency-groups]\ndev = []\n"}, "--group dev pytest"),
        ({"pyproject.toml": PROJECT + "[project.optional-dependencies]\ntesting = []\n"}, '"$CXLOCAL_ARTIFACT_WHEEL[testing]"'),
        ({"setup.cfg": "[metadata]\nname = shop\n[options.extras_require]\ntests = x\n"}, '"$CXLOCAL_ARTIFACT_WHEEL[tests]"'),
        ({"setup.py": "setup(name='shop', extras_require={'dev': ['x']})\n"}, '"$CXLOCAL_ARTIFACT_WHEEL[dev]"'),
        ({"pyproject.toml": PROJECT, "requirements-dev.txt": "x\n"}, "-r requirements-dev.txt pytest"),
        ({"pyproject.toml": PROJECT, "tests/requirements.txt": "x\n"}, "-r tests/requirements.txt pytest"),
        ({"pyproject.toml": PROJECT, "tox.ini": "[testenv]\ndeps =\n  hypothesis>=6\n  -r{toxinidir}/t.txt\n  py38: old\n", "t.txt": ""}, "'hypothesis>=6' -r t.txt pytest"),
        ({"pyproject.toml": PROJECT, "noxfile.py": 'import nox\n\n@nox.session\ndef tests(session):\n    session.install("freezegun", "-r", "t.txt")\n', "t.txt": ""}, "-r t.txt freezegun pytest"),
        ({"pyproject.toml": PROJECT + '[tool.hatch.envs.test]\ndependencies = ["freezegun"]\n'}, "freezegun pytest"),
        ({"pyproject.toml": PROJECT + 'dependencies = ["click"]\n'}, 'pytest "$CXLOCAL_ARTIFACT_WHEEL"'),
        ({"pyproject.toml": PROJECT + "[dependency-groups]\ntests = []\n", "uv.lock": ""}, "uv sync --frozen --no-install-project --group tests"),
        ({"pyproject.toml": PROJECT, "poetry.lock": ""}, "poetry install --no-root"),
        ({"pyproject.toml": PROJECT, "pdm.lock": ""}, "pdm sync --dev --no-self"),
        ({"requirements.txt": "flask\n", "app.py": ""}, "-r requirements.txt pytest"),
    ],
)  # fmt: skip
def test_dependencies_of_python_tests(files: Files, words: str) -> None:
    plan = made({**files, **TESTS})
    assert words in command(plan, "deps")
    unit = plan.stage("unit")
    assert unit.options["python"] == ".venv/bin/python"
    assert "deps" in unit.waits_for
    # What needs the wheel comes after it.
    assert ("WHEEL" in command(plan, "deps")) <= ("build" in plan.stage("deps").waits_for)


def test_what_needs_nothing_gets_no_environment() -> None:
    plan = made({"pyproject.toml": PROJECT + 'version = "1.0.0"\n', **TESTS})
    assert [stage.name for stage in plan.stages] == ["build", "unit"]
    assert plan.promotion("PASSED_TEST").after == ("unit",)


@pytest.mark.parametrize(
    ("files", "needed"),
    [
        ({"pyproject.toml": PROJECT + 'dependencies = ["click>=8"]\n[dependency-groups]\ntest = ["tox", {include-group = "x"}]\n'}, ["click>=8", "tox"]),
        ({"pyproject.toml": PROJECT + '[project.optional-dependencies]\ntest = ["tox"]\ndocs = ["sphinx"]\n'}, ["tox"]),
        ({"pyproject.toml": PROJECT, "requirements-dev.txt": "tox==4  # old\n-r other.txt\n./here\n"}, ["tox==4"]),
        ({"pyproject.toml": PROJECT, "tox.ini": "[testenv]\ndeps =\n  freezegun\n"}, ["freezegun"]),
        ({"pyproject.toml": PROJECT}, []), ({}, []),
    ],
)  # fmt: skip
def test_what_tests_need_stands_in_the_project(files: Files, needed: list[str]) -> None:
    assert requirements(survey(files)) == needed


def test_a_requirement_that_a_shell_would_read_is_left_out() -> None:
    tox = "[testenv]\ndeps =\n  good\n  $(touch x)\n  a; rm -rf /\n  -r ../../etc/x\n"
    text = command(made({"pyproject.toml": PROJECT, "tox.ini": tox, **TESTS}), "deps")
    assert "good" in text
    assert not [one for one in ("touch", "rm ", "etc") if one in text]


@pytest.mark.parametrize(
    ("lock", "install", "pack"),
    [
        ({"package-lock.json": "{}"}, "npm ci", "npm pack"), ({}, "npm install", "npm pack"),
        ({"pnpm-lock.yaml": ""}, "pnpm install --frozen-lockfile", "pnpm pack"),
        ({"yarn.lock": "# v1\n"}, "yarn install --frozen-lockfile", "npm pack"),
        ({"yarn.lock": "__metadata:\n"}, "yarn install --immutable", "npm pack"),
    ],
)  # fmt: skip
def test_the_lock_says_who_installs(lock: Files, install: str, pack: str) -> None:
    package = '{"name": "@scope/shop", "version": "2.1.3", "scripts": {"test": "node t.js", "build": "tsc"}, "dependencies": {"a": "1"}}'
    plan = made({"package.json": package, **lock})
    assert [stage.name for stage in plan.stages] == ["install", "build", "unit", "pack"]
    assert command(plan, "install").startswith(install)
    assert command(plan, "pack") == pack
    assert plan.stage("pack").waits_for == ("unit",)
    assert plan.stage("pack").produces[0].path == "scope-shop-[0-9]*.tgz"


def test_a_script_that_publishes_is_named() -> None:
    package = '{"name": "shop", "scripts": {"build": "tsc && npm publish", "x": "npm publish"}}'
    recipe = recognise(survey({"package.json": package}))
    (note,) = recipe.notes
    assert "The script build runs 'npm publish'" in note


def test_a_member_is_installed_by_the_lock_of_its_workspace() -> None:
    files = {
        "package.json": '{"private": true, "workspaces": ["packages/*"]}',
        "package-lock.json": "{}",
        "packages/cli/package.json": '{"name": "cli", "version": "1.2.0", "main": "a.js"}',
    }
    assert command(made(files, prefix="packages/cli"), "install").startswith("cd ../.. && npm ci")


@pytest.mark.parametrize(
    ("files", "pack"),
    [
        ({"CMakeLists.txt": "project(shop)\ninstall(TARGETS a)\n"}, "cmake --install build"),
        ({"CMakeLists.txt": "project(shop)\ninclude(CPack)\n"}, "cpack"),
        ({"CMakeLists.txt": "project(shop)\nadd_executable(shop m.c)\n"}, "cp build/shop stage"),
        ({"CMakeLists.txt": "project(shop)\nadd_library(shop m.c)\n", "include/a.h": ""}, "cp -R include"),
        ({"meson.build": "project('shop', 'c')\n"}, "meson install"),
        ({"configure.ac": "AC_INIT([shop], [1.4.0])\n"}, 'make DESTDIR="$PWD/stage" install'),
        ({"Makefile": "PREFIX = /usr/local\nall:\n\ntrue\ninstall:\n\tcp a $(DESTDIR)$(PREFIX)\n"}, 'make DESTDIR="$PWD/stage" PREFIX=/usr install'),
    ],
)  # fmt: skip
def test_what_is_installed_is_packed_and_no_build_folder(files: Files, pack: str) -> None:
    plan = made(files)
    assert pack in command(plan, "pack")
    assert "-C build" not in command(plan, "pack").replace("install -C build", "")


def test_tests_of_cmake_that_are_off() -> None:
    text = 'project(shop)\noption(SHOP_BUILD_TESTS "tests" OFF)\nif(SHOP_BUILD_TESTS)\nenable_testing()\nendif()\n'
    assert "-DSHOP_BUILD_TESTS=ON" in command(made({"CMakeLists.txt": text}), "build")
    for name in ("SHOP_WITHOUT_TESTS", "DISABLE_TESTING", "NO_TESTS"):
        other = text.replace("SHOP_BUILD_TESTS", name)
        assert "=ON" not in command(made({"CMakeLists.txt": other}), "build")


@pytest.mark.parametrize(
    ("files", "title"),
    [
        ({"Dockerfile": "FROM scratch\n"}, "an image by Dockerfile"),
        ({"Dockerfile": "FROM x\n", "package.json": '{"private": true, "name": "web"}'}, "an image by Dockerfile"),
        ({"Dockerfile": "FROM x\n", "package.json": '{"name": "web", "main": "index.js"}'}, "an image by Dockerfile"),
        ({"Dockerfile": "FROM x\n", "package.json": '{"name": "web", "exports": "./index.js"}'}, "a Node package"),
        ({"Dockerfile": "FROM x\n", "requirements.txt": "flask\n", "app.py": ""}, "an image by Dockerfile"),
        ({"Dockerfile": "FROM x\n", "pyproject.toml": PROJECT}, "a Python package"),
        ({"Containerfile": "FROM x\n"}, "an image by Containerfile"),
        ({"go.mod": "module example.com/a\n", "cmd/a/main.go": "package main\n"}, "a Go module"),
        ({"go.mod": "module example.com/a\n", "a.go": "package a\n"}, "a Go library"),
        ({"setup.cfg": "[flake8]\n", "Makefile": "all:\n\ttrue\n"}, "a Makefile"),
        ({"manage.py": "", "shop/tests.py": ""}, "a Python service"),
    ],
)  # fmt: skip
def test_what_it_is_taken_for(files: Files, title: str) -> None:
    assert recognise(survey(files)).title.startswith(title)


def test_an_image_is_told_its_version() -> None:
    plan = made({"Dockerfile": "FROM scratch\nARG APP_VERSION\n"})
    assert '--build-arg "APP_VERSION=$CXLOCAL_VERSION"' in command(plan, "image")
    base = made({"Dockerfile": "ARG VERSION=3\nFROM debian:$VERSION\n"})
    assert "--build-arg" not in command(base, "image")


@pytest.mark.parametrize(
    ("file", "tools", "begins", "keeps"),
    [
        ("Dockerfile", set(), "docker build -t", "docker save -o image.tar"),
        ("Dockerfile", {"docker", "podman"}, "docker build", "docker save"),
        ("Dockerfile", {"podman", "buildah"}, "podman build", "podman save"),
        ("Containerfile", {"docker"}, "docker build", "docker save"),
        ("Containerfile", {"docker", "podman"}, "podman build", "podman save"),
        ("docker/Dockerfile", {"buildah"}, "buildah build -f docker/Dockerfile", 'buildah push "shop:$CXLOCAL_VERSION" "docker-archive:image.tar:shop:$CXLOCAL_VERSION"'),
    ],
)  # fmt: skip
def test_an_image_is_built_by_what_is_here(
    file: str, tools: set[str], begins: str, keeps: str
) -> None:
    built = command(made({file: "FROM scratch\n"}, tools=frozenset(tools)), "image")
    assert built.startswith(begins) and f"&& {keeps}" in built


UNTESTED: list[Files] = [
    {"Cargo.toml": '[package]\nname = "a"\n', "src/lib.rs": "pub fn a() {}\n"},
    {"go.mod": "module example.com/a\n", "a.go": "package a\n"},
    {"pyproject.toml": PROJECT}, {"package.json": '{"name": "a", "version": "1.0.0"}'},
    {"CMakeLists.txt": "project(a)\n"}, {"Makefile": "all:\n\ttrue\n"},
    {"pom.xml": "<project><artifactId>a</artifactId><version>1.0</version></project>"},
    {"package.json": '{"name": "a", "scripts": {"test": "echo \\"Error: no test specified\\" && exit 1"}}'},
]  # fmt: skip


@pytest.mark.parametrize("files", UNTESTED)
def test_what_has_no_tests_says_so_and_has_no_stage_that_pretends(files: Files) -> None:
    seen = survey(files)
    text = propose(seen, recognise(seen)).text
    plan = resolve(parse(text))
    assert "# Nothing tests this" in text
    assert not [stage for stage in plan.stages if stage.kind == "test"]
    assert plan.promotions == ()


CLI, CORE = (f'{{"name": "{one}", "version": "1.2.0", "main": "a.js"}}' for one in ("cli", "core"))
PY = '[build-system]\nrequires = ["hatchling"]\n[project]\nname = "a"\nversion = "1.2.0"\n'
C_MAKE = "VERSION = 1.2.0\na: a.c\n\tcc -o a a.c\n"
CRATE = '[package]\nname = "%s"\nversion = "1.2.0"\n'


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        ({"package.json": '{"private": true, "workspaces": ["packages/*"]}', "packages/cli/package.json": CLI, "packages/core/package.json": CORE}, ["packages/cli", "packages/core"]),
        ({"package.json": '{"private": true, "workspaces": {"packages": ["p/**", "!p/x"]}}', "p/a/cli/package.json": CLI, "p/x/package.json": CORE}, ["p/a/cli"]),
        ({"package.json": '{"private": true}', "pnpm-workspace.yaml": "packages:\n  # ours\n  - 'packages/*'\n  - tools/x\n", "packages/cli/package.json": CLI, "tools/x/package.json": CORE}, ["packages/cli", "tools/x"]),
        ({"package.json": CLI[:-1] + ', "main": "a.js"}', "pnpm-workspace.yaml": "packages:\n  - test/engines\n", "test/engines/package.json": '{"name": "engines", "devDependencies": {"x": "1"}}'}, [""]),
        ({"package.json": CLI[:-1] + ', "workspaces": ["sub"]}', "sub/package.json": CORE}, ["", "sub"]),
        ({"package.json": '{"private": true, "workspaces": ["p/*"]}', "p/a/package.json": CLI, "p/b/package.json": '{"name": "b", "private": true}'}, ["p/a"]),
        ({"pyproject.toml": '[tool.uv.workspace]\nmembers = ["libs/*"]\n', "libs/a/pyproject.toml": PY, "libs/b/pyproject.toml": PY}, ["libs/a", "libs/b"]),
        ({"Cargo.toml": '[workspace]\nmembers = ["a", "b"]\n', "a/Cargo.toml": CRATE % "a", "b/Cargo.toml": CRATE % "b"}, ["a", "b"]),
        ({"Cargo.toml": '[workspace]\nmembers = ["a"]\n[workspace.package]\nversion = "1.2.0"\n', "a/Cargo.toml": '[package]\nname = "a"\nversion.workspace = true\n'}, [""]),
        ({"Cargo.toml": '[workspace]\nmembers = ["b"]\n' + CRATE % "a", "b/Cargo.toml": CRATE % "b"}, ["", "b"]),
        ({"go.work": "go 1.22\nuse (\n\t./a\n\t./b\n)\n", "a/go.mod": "module x/a\n", "b/go.mod": "module x/b\n"}, ["a", "b"]),
        ({"README": "", "services/cart/package.json": CLI, "services/pay/pyproject.toml": PY, "docs/package.json": CORE}, ["services/cart", "services/pay"]),
        ({"pyproject.toml": PY, "docs/package.json": CORE}, [""]), ({"README": ""}, [""]),
        # make, Meson and configure, beside others; a Makefile that only calls them is none.
        ({"libs/a/pyproject.toml": PY, "tools/b/Makefile": C_MAKE}, ["libs/a", "tools/b"]),
        ({"libs/a/pyproject.toml": PY, "b/Makefile": "all:\n\ttrue\n", "b/version.h": '#define B_VERSION "1.2.0"\n'}, ["b", "libs/a"]),
        ({"a/meson.build": "project('a', 'c', version: '1.2.0')\n", "b/configure.ac": "AC_INIT([b], [1.2.0])\n"}, ["a", "b"]),
        ({"Makefile": "all:\n\tmake -C a\n", "a/pyproject.toml": PY, "b/package.json": CLI, "c/Makefile": "all:\n\ttrue\n"}, ["a", "b"]),
        ({"Makefile": C_MAKE, "python/pyproject.toml": PY, "js/package.json": CLI}, [""]),
        ({"configure.ac": "AC_INIT([a], [1.2.0])\n", "src/Makefile": C_MAKE, "lib/Makefile": C_MAKE}, [""]),
    ],
)  # fmt: skip
def test_the_deliverables_of_a_workspace(files: Files, folders: list[str]) -> None:
    assert [one.folder for one in members(survey(files))] == folders


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=20),
    st.sampled_from(list(KINDS)),
    st.lists(
        st.text("v0123456789.-@/rc", max_size=12) | st.from_regex(r"v\d+\.\d+\.\d+"), max_size=5
    ),
)
def test_no_folder_and_no_tag_breaks_the_file(folder: str, kind: str, tags: list[str]) -> None:
    files = {f"x/y/{name}": text for name, text in KINDS[kind].items()}
    seen = Survey(folder, frozenset(files), files, ("a", "b"), tuple(map(Tag, tags)), "x/y")
    text = propose(seen, recognise(seen), alone=False).text
    assert len(text.splitlines()) <= LINES_MAX
    resolve(parse(text))


@pytest.mark.parametrize(
    ("files", "stamped", "mentioned"),
    [
        ({"pyproject.toml": PROJECT + 'version = "1.4.0"\n', "src/shop/__init__.py": '__version__ = "1.4.0"\n', "src/shop/old.py": '__version__ = "1.4.0"\n'}, ["pyproject.toml", "src/shop/__init__.py"], ""),
        ({"pyproject.toml": PROJECT + 'version = "1.4.0"\n', "shop/__init__.py": '__version__ = "1.3.0"\n'}, ["pyproject.toml"], ""),
        ({"setup.py": "setup(name='shop', version='1.4.0')\n", "shop/version.py": "__version__ = '1.4.0'\n"}, ["setup.py", "shop/version.py"], ""),
        ({"CMakeLists.txt": "project(shop VERSION 1.4.0)\n", "Makefile": "LIBVERSION = 1.4.0\n", "CHANGELOG.md": "version 1.4.0\n", "x.h": "#define OTHER_VERSION 1.4.01\n"}, ["CMakeLists.txt"], "Makefile"),
        ({"package.json": '{"name": "shop", "version": "1.4.0"}', "manifest.json": '{"version": "1.4.0"}', "package-lock.json": '{"version": "1.4.0"}'}, ["package.json"], "manifest.json"),
    ],
)  # fmt: skip
def test_a_version_that_stands_twice(files: Files, stamped: list[str], mentioned: str) -> None:
    """A module of the package is stamped too; what stands elsewhere is said."""
    seen = survey(files)
    text = propose(seen, recognise(seen)).text
    assert [one.file for one in resolve(parse(text)).version.stamp] == stamped
    assert (f"# {mentioned} says it, too" in text) == bool(mentioned)
    assert text.count("says it, too") == bool(mentioned)


NAMED = {
    **KINDS,
    "programs in Go": {"go.mod": "module example.com/shop\n", "cmd/web/main.go": "package main\n",
                       "cmd/shop/main.go": "package main\nvar version = \"\"\n"},
    "autoconf": {"configure.ac": "AC_INIT([shop], [1.2.0])\n", "configure": "", "Makefile.in": "check:\n"},
}  # fmt: skip


@pytest.mark.parametrize("kind", NAMED)
@pytest.mark.parametrize("word", ["a;PWN", "$(PWN)", "a`PWN`", "a'PWN", 'a"$(PWN)"', "a b&PWN"])
def test_no_name_in_a_repository_becomes_a_command(kind: str, word: str) -> None:
    """Whatever names stand in files and folders, a shell sees them between single quotes, or not at all."""
    names = {"shop": word, "cmd/web": f"cmd/{word}"}

    def odd(text: str) -> str:
        for name, other in names.items():
            text = text.replace(name, other)
        return text

    files = {odd(file): odd(text) for file, text in NAMED[kind].items()}
    try:
        plan = made(files)
    except ConfigError:
        return  # it is said, and nothing runs
    for stage in plan.stages:
        outside = re.sub(r"'[^']*'", "", str(stage.command or "").replace("'\"'\"'", ""))
        assert not re.search(r"[;&(`\"]PWN", outside), stage.command
