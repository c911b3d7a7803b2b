"""How a repository of each kind is usually built and tested, for ``cxlocal init``. Pure.

Each recipe looks at a survey and answers None when the repository is of another kind. The first
answer wins; the order goes from the definite to the general.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from cxlocal.config.survey import Survey, part, words

Inline = Mapping[str, object]
"""A table on one line: texts, lists of texts, or such tables again."""


class Recipe(NamedTuple):
    """What is proposed for a repository."""

    title: str
    """What it was taken for, in words."""
    stages: Mapping[str, Inline]
    name: str = ""
    version: str = ""
    """The version it says it has."""
    said_by: str = ""
    """The file that says so."""
    scheme: str = "semver"
    stamp: tuple[Inline, ...] = ()
    tests: tuple[str, ...] = ()
    """The stages that earn PASSED_TEST."""


def recognise(survey: Survey) -> Recipe:
    """The recipe that fits; the last one fits everything."""
    for recipe in RECIPES:
        found = recipe(survey)
        if found is not None:
            return found
    return _anything(survey)


def _slug(name: str) -> str:
    """A name that can stand in a file name and in a shell command as it is."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "app"


def _archive(name: str, *, of: str = ".") -> dict[str, object]:
    """A stage that packs a folder, its version in the file name."""
    file = f"dist/{name}-$CXLOCAL_VERSION.tar.gz"
    # `./dist` itself is left out: tar would read the file it is writing.
    return {
        "command": f'mkdir -p dist && tar --exclude=./dist --exclude=./.git -czf "{file}" {of}',
        "produces": {"package": f"dist/{name}-*.tar.gz"},
    }


def python(survey: Survey) -> Recipe | None:
    """A Python package: a wheel, and pytest where there are tests."""
    project = survey.toml("pyproject.toml")
    has_project = bool(part(project, "project") or part(project, "tool", "poetry"))
    if not has_project and not {"setup.py", "setup.cfg"} & survey.names:
        return None
    if not has_project and "package.json" in survey.names:
        return None
    name = words(part(project, "project", "name") or part(project, "tool", "poetry", "name"))
    version, said_by, stamp = _python_version(survey)
    build: dict[str, object] = {"tool": "wheel", "produces": ["wheel"]}
    if _from_tags(survey):
        build = {
            "command": 'SETUPTOOLS_SCM_PRETEND_VERSION="$CXLOCAL_VERSION"'
            " python3 -m pip wheel --no-deps --wheel-dir dist .",
            "produces": {"wheel": "dist/*.whl"},
        }
    stages: dict[str, Inline] = {"build": build}
    tested = bool({"tests/", "test/", "conftest.py", "pytest.ini"} & survey.names) or bool(
        part(project, "tool", "pytest")
    )
    if tested:
        stages["unit"] = {"tool": "pytest", "needs": ["build"], "reports": {"junit": "junit.xml"}}
    return Recipe(
        "a Python package",
        stages,
        name=name,
        version=version,
        said_by=said_by,
        scheme="pep440",
        stamp=stamp,
        tests=("unit",) if tested else (),
    )


def _from_tags(survey: Survey) -> bool:
    """Whether the build takes the version from git tags: then no file can be stamped."""
    return bool(
        re.search(r"setuptools[_-]scm|hatch-vcs", survey.text("pyproject.toml"))
        or "use_scm_version" in survey.text("setup.py")
    )


MODULES = ("/__init__.py", "/__about__.py", "/_version.py", "/version.py")
"""Where Python packages keep ``__version__``."""

_ASSIGNED = r"^__version__\s*(?::\s*\w+\s*)?=\s*[\"']([^\"']*)[\"']"
_IN_CFG = r"^version\s*=\s*([0-9][^\s]*)"
_IN_SETUP = r"\bversion\s*=\s*[\"']([^\"']*)[\"']"


def _python_version(survey: Survey) -> tuple[str, str, tuple[Inline, ...]]:
    """The version, the file it is in, and how to stamp it."""
    project = survey.toml("pyproject.toml")
    for keys in (("project", "version"), ("tool", "poetry", "version")):
        found = words(part(project, *keys))
        if found:
            key = ".".join(keys)
            return found, "pyproject.toml", ({"file": "pyproject.toml", "key": key},)
    if _from_tags(survey):
        return "", "", ()
    tries = [("setup.cfg", _IN_CFG), ("setup.py", _IN_SETUP)]
    tries += [(path, _ASSIGNED) for path in sorted(survey.texts) if path.endswith(MODULES)]
    for path, pattern in tries:
        match = re.search(pattern, survey.text(path), re.MULTILINE)
        if match:
            return match[1], path, ({"file": path, "pattern": pattern},)
    return "", "", ()


def node(survey: Survey) -> Recipe | None:
    """A Node package: ``npm test`` and ``npm pack``."""
    if "package.json" not in survey.names:
        return None
    package = survey.json("package.json")
    name, version = words(package.get("name")), words(package.get("version"))
    stages: dict[str, Inline] = {}
    before: list[str] = []
    if package.get("dependencies") or package.get("devDependencies"):
        stages["install"] = {"command": _node_install(survey)}
        before = ["install"]
    scripts = package.get("scripts")
    if words(part(scripts, "build")):
        stages["build"] = {"command": "npm run build", **_needs(before)}
        before = ["build"]
    test = words(part(scripts, "test"))
    tested = bool(test) and "no test specified" not in test
    if tested:
        stages["unit"] = {"kind": "test", "command": "npm test", **_needs(before)}
        before = ["unit"]
    # npm names the archive of @scope/name scope-name-1.2.3.tgz.
    archive = _slug(name.lstrip("@").replace("/", "-")) if name else "*"
    stages["pack"] = {
        "kind": "build",
        "command": "npm pack",
        **_needs(before),
        "produces": {"package": f"{archive}-*.tgz"},
    }
    stamp: tuple[Inline, ...] = ({"file": "package.json", "key": "version"},) if version else ()
    return Recipe(
        "a Node package", stages, name=name.rpartition("/")[2], version=version,
        said_by="package.json", stamp=stamp, tests=("unit",) if tested else (),
    )  # fmt: skip


def _node_install(survey: Survey) -> str:
    if "pnpm-lock.yaml" in survey.names:
        return "pnpm install --frozen-lockfile"
    if "yarn.lock" in survey.names:
        return "yarn install --frozen-lockfile"
    return "npm ci" if "package-lock.json" in survey.names else "npm install"


def _needs(names: list[str]) -> dict[str, object]:
    return {"needs": names} if names else {}


def cargo(survey: Survey) -> Recipe | None:
    """A Rust crate: ``cargo build``, ``cargo test``."""
    package = part(survey.toml("Cargo.toml"), "package")
    if not package:
        return None
    name, version = words(package.get("name")), words(package.get("version"))
    binary = "fn main" in survey.text("src/main.rs")
    makes = {"program": f"target/release/{name}"} if binary else {"crate": "target/package/*.crate"}
    build = "cargo build --release" if binary else "cargo package --allow-dirty --no-verify"
    extra = ["CARGO_*", "RUSTUP_*"]
    stages: dict[str, Inline] = {
        "build": {"kind": "build", "command": build, "pass_env": extra, "produces": makes},
        "unit": {"kind": "test", "command": "cargo test", "needs": ["build"], "pass_env": extra},
    }
    stamp: tuple[Inline, ...] = (
        ({"file": "Cargo.toml", "key": "package.version"},) if version else ()
    )
    return Recipe(
        "a Rust crate", stages, name=name, version=version, said_by="Cargo.toml", stamp=stamp,
        tests=("unit",),
    )  # fmt: skip


def go(survey: Survey) -> Recipe | None:
    """A Go module: ``go build``, ``go test``."""
    match = re.search(r"^module\s+(\S+)", survey.text("go.mod"), re.MULTILINE)
    if not match:
        return None
    parts = [one for one in match[1].split("/") if not re.fullmatch(r"v\d+", one)]
    name = _slug(parts[-1])
    extra = ["GO*"]
    stages: dict[str, Inline] = {}
    if "main.go" in survey.names:
        stages["build"] = {
            "kind": "build",
            "command": f'go build -ldflags "-X main.version=$CXLOCAL_VERSION" -o dist/{name} .',
            "pass_env": extra,
            "produces": {"program": f"dist/{name}"},
        }
    stages["unit"] = {
        "kind": "test",
        "command": "go test ./...",
        **_needs(list(stages)),
        "pass_env": extra,
    }
    return Recipe("a Go module", stages, name=name, tests=("unit",))


def maven(survey: Survey) -> Recipe | None:
    """A Maven project: ``mvn package``."""
    pom = survey.text("pom.xml")
    if not pom:
        return None
    own = re.sub(r"(?s)<(parent|dependencies|build|dependencyManagement)>.*?</\1>", "", pom)
    match = re.search(r"<artifactId>\s*([A-Za-z0-9_.-]+)\s*</artifactId>", own)
    name = match[1] if match else ""
    found = re.search(r"<version>\s*([0-9][^\s<]*)\s*</version>", own)
    program = "./mvnw" if "mvnw" in survey.names else "mvn"
    stages: dict[str, Inline] = {
        "build": {
            "command": f"{program} -B -q versions:set -DgenerateBackupPoms=false"
            f' "-DnewVersion=$CXLOCAL_VERSION" && {program} -B package',
            "kind": "build",
            "pass_env": ["JAVA_HOME", "MAVEN_*"],
            "produces": {"jar": f"target/{name or '*'}-*[0-9].jar"},
            "reports": {"junit": "target/surefire-reports/*.xml"},
        }
    }
    return Recipe(
        "a Maven project", stages, name=name, version=found[1] if found else "",
        said_by="pom.xml", tests=("build",),
    )  # fmt: skip


def gradle(survey: Survey) -> Recipe | None:
    """A Gradle project: ``gradle build``."""
    if not {"build.gradle", "build.gradle.kts"} & survey.names:
        return None
    settings = survey.text("settings.gradle") + survey.text("settings.gradle.kts")
    match = re.search(r"rootProject\.name\s*=\s*[\"']([^\"']+)[\"']", settings)
    program = "./gradlew" if "gradlew" in survey.names else "gradle"
    stages: dict[str, Inline] = {
        "build": {
            "command": f'{program} --no-daemon build "-Pversion=$CXLOCAL_VERSION"',
            "kind": "build",
            "pass_env": ["JAVA_HOME", "GRADLE_*"],
            "produces": {"jar": "build/libs/*[0-9].jar"},
            "reports": {"junit": "build/test-results/test/*.xml"},
        }
    }
    return Recipe("a Gradle project", stages, name=match[1] if match else "", tests=("build",))


def cmake(survey: Survey) -> Recipe | None:
    """A CMake project: configure, build, ``ctest``."""
    text = survey.text("CMakeLists.txt")
    if not text:
        return None
    match = re.search(r"(?i)\bproject\s*\(\s*([A-Za-z0-9_.-]+)", text)
    name = match[1] if match else ""
    version = re.search(r"(?i)\bproject\s*\([^)]*\bVERSION\s+([0-9.]+)", text)
    stages: dict[str, Inline] = {
        "build": {"command": "cmake -S . -B build && cmake --build build", "kind": "build"}
    }
    tests: tuple[str, ...] = ()
    if re.search(r"(?i)\b(enable_testing|add_test|include\s*\(\s*CTest)", text):
        stages["unit"] = {
            "kind": "test",
            "command": "ctest --test-dir build --output-on-failure --output-junit junit.xml",
            "needs": ["build"],
            "reports": {"junit": "build/junit.xml"},
        }
        tests = ("unit",)
    stages["pack"] = {
        "needs": [list(stages)[-1]],
        **_archive(_slug(name or survey.folder), of="build"),
    }
    stamp: tuple[Inline, ...] = ()
    if version:
        pattern = r"project\s*\([^)]*\bVERSION\s+([0-9.]+)"
        if re.search(pattern, text):
            stamp = ({"file": "CMakeLists.txt", "pattern": pattern},)
    return Recipe(
        "a CMake project", stages, name=name, version=version[1] if version else "",
        said_by="CMakeLists.txt", stamp=stamp, tests=tests,
    )  # fmt: skip


MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""In the order in which make looks for them."""


def make(survey: Survey) -> Recipe | None:
    """A Makefile: ``make``, ``make test`` or ``make check``, and what it makes."""
    text = next((survey.text(name) for name in MAKEFILES if survey.text(name)), "")
    if not text:
        return None
    text = _expanded(text)
    targets = re.findall(r"^([A-Za-z0-9_.-]+)\s*:(?![=:])", text, re.MULTILINE)
    name = _slug(survey.folder)
    command = 'make VERSION="$CXLOCAL_VERSION"'
    stages: dict[str, Inline] = {}
    program = _program(text)
    build: dict[str, object] = {"command": command, "kind": "build"}
    if program:
        build["produces"] = {"program": program}
    stages["build"] = build
    tests: tuple[str, ...] = ()
    for target in ("test", "check", "tests"):
        if target in targets:
            stages["unit"] = {"kind": "test", "command": f"make {target}", "needs": ["build"]}
            tests = ("unit",)
            break
    if not program:
        stages["pack"] = {"needs": [list(stages)[-1]], **_archive(name)}
    return Recipe("a Makefile", stages, tests=tests)


def _expanded(text: str) -> str:
    """The Makefile with its plain variables replaced, so that ``$(PROGRAM): …`` has a name."""
    pairs = re.findall(r"^([A-Za-z_]\w*)[ \t]*[:?]?=[ \t]*([^\n#]*)", text, re.MULTILINE)
    values = {name: value.strip() for name, value in pairs}
    # Three rounds: a variable of a variable of a variable; each at most 200 characters long.
    for _ in range(3):
        text = re.sub(
            r"\$[({](\w+)[)}]",
            lambda match: values.get(match[1], match[0])[:200],
            text,
        )
    return text


def _program(text: str) -> str:
    """The file that a rule of the Makefile links (``-o $@`` or ``-o name``), or an empty text."""
    rules = re.finditer(
        r"^([A-Za-z0-9_-]+)\s*:(?![=:])[^\n]*\n((?:\t[^\n]*\n?)+)", text, re.MULTILINE
    )
    for rule in rules:
        target, recipe = rule[1], rule[2]
        if re.search(r"-o\s+(\$@|\$\(@\)|" + re.escape(target) + r")(?=\s|$)", recipe):
            return target
    return ""


def helm(survey: Survey) -> Recipe | None:
    """A Helm chart: ``helm lint``, ``helm package``."""
    text = survey.text("Chart.yaml")
    match = re.search(r"^name:\s*[\"']?([A-Za-z0-9_.-]+)", text, re.MULTILINE)
    if not match:
        return None
    version = re.search(r"^version:\s*[\"']?([0-9][^\s\"']*)", text, re.MULTILINE)
    stages: dict[str, Inline] = {
        "lint": {"kind": "test", "command": "helm lint ."},
        "pack": {
            "kind": "build",
            "command": 'helm package . --version "$CXLOCAL_VERSION" --destination dist',
            "needs": ["lint"],
            "produces": {"chart": f"dist/{match[1]}-*.tgz"},
        },
    }
    return Recipe(
        "a Helm chart", stages, name=match[1], version=version[1] if version else "",
        said_by="Chart.yaml", tests=("lint",),
    )  # fmt: skip


def docker(survey: Survey) -> Recipe | None:
    """A Dockerfile alone: an image as a file."""
    if "Dockerfile" not in survey.names:
        return None
    name = _slug(survey.folder).lower()
    image = f"{name}:$CXLOCAL_VERSION"
    stages: dict[str, Inline] = {
        "build": {
            "kind": "build",
            "command": f'docker build -t "{image}" . && docker save -o image.tar "{image}"',
            "pass_env": ["DOCKER_*"],
            "produces": {"image": "image.tar"},
        }
    }
    return Recipe("a Dockerfile", stages)


def _anything(survey: Survey) -> Recipe:
    """Nothing we know: the files themselves, as an archive."""
    return Recipe(
        "a folder of files", {"pack": {"kind": "build", **_archive(_slug(survey.folder))}}
    )


RECIPES: tuple[Callable[[Survey], Recipe | None], ...] = (
    python, node, cargo, go, maven, gradle, cmake, make, helm, docker,
)  # fmt: skip
