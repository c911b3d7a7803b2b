"""How the tests of a Python project get what they need: the way the project itself describes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from cxlocal.survey.tree import Survey, all_of, part, table, texts, words
from cxlocal.values import NamedTuple

NAMES = ("test", "tests", "testing", "unittest", "unit", "pytest", "dev", "develop", "development",
    "devel", "all-tests", "ci")  # fmt: skip
"""What groups, extras and files of test dependencies are called, the narrowest first."""

REQUIREMENTS = (
    "requirements-{}.txt", "requirements_{}.txt", "{}-requirements.txt", "{}_requirements.txt",
    "requirements/{}.txt", "requirements.{}.txt", "{}/requirements.txt", "requirements/{}.in",
)  # fmt: skip

PYTHON = ".venv/bin/python"


class Setup(NamedTuple):
    """How the test environment ``.venv`` is made."""

    command: str
    program: str = ""
    """What else must be on the machine: uv, poetry, pdm, pipenv."""
    wheel: bool = False
    """It installs the wheel of the run, so it comes after the build."""
    by: str = ""
    """The file that says what is installed."""


def has_tests(survey: Survey) -> bool:
    """Whether pytest would find something, by the names of files."""
    found = survey.below("test_*.py", "*/test_*.py", "*_test.py", "*/*_test.py")
    named = survey.below("tests/*.py", "test/*.py", "*/tests/*.py", "tests.py", "*/tests.py")
    own = survey.ini("setup.cfg").get("tool:pytest", {}).get("python_files", "") or words(
        part(survey.toml("pyproject.toml"), "tool", "pytest", "ini_options", "python_files")
    )
    return bool(found) or bool(named and own)


def setup(survey: Survey, *, builds: bool) -> Setup | None:
    """What makes ``.venv``; None where tests need nothing beyond pytest. ``builds``: there is a
    wheel to install."""
    locked = _by_lock(survey)
    if locked is not None:
        return locked
    arguments, extra, by = _arguments(survey)
    runtime = builds and has_dependencies(survey)
    files = [] if builds else [one for one in ("requirements.txt",) if survey.has(one)]
    if not (arguments or extra or runtime or files):
        return None
    wheel = f'"$CXLOCAL_ARTIFACT_WHEEL{f"[{extra}]" if extra else ""}"' if builds else ""
    groups = "--group" in arguments
    plain = [item for file in files for item in ("-r", file)]
    wanted = [*plain, *arguments]
    # pytest comes with what is named, or is added.
    wanted += [] if any(re.match(r"pytest(?![\w-])", one) for one in wanted) else ["pytest"]
    install = " ".join(filter(None, [shlex.join(wanted), wheel]))
    # Groups are read by pip 25.1 and later, which few systems bring.
    newer = f"{PYTHON} -m pip install -q -U 'pip>=25.1' && " if groups else ""
    return Setup(
        f"python3 -m venv .venv && {newer}{PYTHON} -m pip install -q {install}",
        wheel=builds,
        by=by or ("requirements.txt" if files else "pyproject.toml"),
    )


def _by_lock(survey: Survey) -> Setup | None:
    """Where a lock says it all, the program that wrote the lock installs it.

    The project itself stays out: tests import the wheel of this run.
    """
    up = "" if survey.has("uv.lock") else survey.up("uv.lock")
    if survey.has("uv.lock") or up:
        extra = "".join(f" --extra {one}" for one in _extras(survey)[:1])
        group = "".join(f" --group {one}" for one in _groups(survey)[:1] if one != "dev")
        member = " --no-install-workspace" if up else ""
        # The environment of a member of a workspace is put beside it, where the tests look.
        here = 'UV_PROJECT_ENVIRONMENT="$PWD/.venv" ' if up else ""
        command = f"{here}uv sync --frozen --no-install-project{member}{group}{extra}"
        return Setup(command, "uv", by=f"{up}/uv.lock".lstrip("/"))
    if survey.has("poetry.lock"):
        groups = [one for one in table(survey.toml("pyproject.toml"), "tool", "poetry", "group")]
        optional = [one for one in groups if one in NAMES and _optional(survey, one)]
        more = f" --with {','.join(optional)}" if optional else ""
        extra = "".join(f" --extras {one}" for one in _extras(survey)[:1])
        command = f"POETRY_VIRTUALENVS_IN_PROJECT=true poetry install --no-root{more}{extra}"
        return Setup(command, "poetry", by="poetry.lock")
    if survey.has("pdm.lock"):
        return Setup("pdm sync --dev --no-self --venv in-project", "pdm", by="pdm.lock")
    if survey.has("Pipfile.lock"):
        return Setup("PIPENV_VENV_IN_PROJECT=1 pipenv sync --dev", "pipenv", by="Pipfile.lock")
    return None


def _optional(survey: Survey, group: str) -> bool:
    project = survey.toml("pyproject.toml")
    return bool(part(project, "tool", "poetry", "group", group, "optional"))


def _arguments(survey: Survey) -> tuple[list[str], str, str]:
    """What pip is told beside the project itself, the extra of the project, and who says so."""
    groups = _groups(survey)
    if groups:
        return ["--group", groups[0]], "", "pyproject.toml"
    extras = _extras(survey)
    if extras:
        return [], extras[0], _where_extras(survey)
    for name in NAMES:
        for form in REQUIREMENTS:
            file = form.format(name)
            if survey.has(file):
                return ["-r", file], "", file
    for read, by in ((_hatch, "pyproject.toml"), (_tox, "tox.ini"), (_nox, "noxfile.py")):
        found = read(survey)
        if found:
            return found, "", by
    return [], "", ""


def _chosen(names: Iterable[str]) -> list[str]:
    known = {re.sub(r"[-_.]+", "-", name).lower(): name for name in names}
    return [known[one] for one in NAMES if one in known]


def _groups(survey: Survey) -> list[str]:
    return _chosen(table(survey.toml("pyproject.toml"), "dependency-groups"))


def _extras(survey: Survey) -> list[str]:
    project = survey.toml("pyproject.toml")
    found: dict[str, Any] = table(project, "project", "optional-dependencies")
    found = found or table(project, "tool", "poetry", "extras")
    found = found or table(project, "tool", "flit", "metadata", "requires-extra")
    found = found or survey.ini("setup.cfg").get("options.extras_require", {})
    if found:
        return _chosen(found)
    text = survey.text("setup.py")
    block = re.search(r"extras_require\s*=\s*\{(.*?)\}", text, re.DOTALL)
    return _chosen(re.findall(r"[\"']([\w.-]+)[\"']\s*:", block[1])) if block else []


def _where_extras(survey: Survey) -> str:
    for name, word in (
        ("pyproject.toml", "optional-dependencies"),
        ("setup.cfg", "extras_require"),
    ):
        if word in survey.text(name):
            return name
    return survey.first("setup.py", "pyproject.toml")


def _plain(found: Iterable[str]) -> list[str]:
    """Requirements that can be written down as they are: no paths, addresses or variables."""
    return all_of(one.strip() for one in found if _is_requirement(one.strip()))


def _is_requirement(text: str) -> bool:
    try:
        return not Requirement(text).url
    except InvalidRequirement:
        return False


def _hatch(survey: Survey) -> list[str]:
    environments = table(survey.toml("pyproject.toml"), "tool", "hatch", "envs")
    found = []
    for name in ("hatch-test", "test", "tests", "default", "dev"):
        one = table(environments, name)
        found += texts(one.get("dependencies")) + texts(one.get("extra-dependencies"))
        if found:
            break
    return _plain(found)


def _tox(survey: Survey) -> list[str]:
    """``deps`` of ``[testenv]``: ``-r FILE`` and plain requirements. Factors (``py39: x``) and
    what holds variables stay out."""
    deps = survey.ini("tox.ini").get("testenv", {}).get("deps", "")
    found: list[str] = []
    for line in filter(None, map(str.strip, deps.splitlines())):
        file = re.fullmatch(r"-r\s*(?:\{toxinidir\}/)?([\w./-]+)", line)
        if file and survey.has(file[1]):
            found += ["-r", file[1]]
        else:
            found += _plain([line])
    return found


def _nox(survey: Survey) -> list[str]:
    """What the first session whose name speaks of tests installs."""
    body = re.search(
        r"^def\s+\w*test\w*\s*\([^)]*\)[^:\n]*:(.*?)(?=^\S|\Z)",
        survey.text("noxfile.py"),
        re.MULTILINE | re.DOTALL,
    )
    if body is None:
        return []
    found: list[str] = []
    for call in re.findall(r"session\.install\(([^()]*)\)", body[1]):
        items = re.findall(r"[\"']([^\"']+)[\"']", call)
        files = [one for before, one in pairwise(items) if before == "-r"]
        found += [word for one in files if survey.has(one) for word in ("-r", one)]
        found += _plain(one for one in items if one not in files and not one.startswith(("-", ".")))
    return found


DESCRIBING = ("pyproject.toml", "setup.cfg", "setup.py", "tox.ini", "noxfile.py")
"""Files that may say what tests need, beside those of ``REQUIREMENTS``."""


def describing() -> list[str]:
    """The names of all files that may say what tests need."""
    return [*DESCRIBING, *(form.format(name) for name in NAMES for form in REQUIREMENTS)]


def requirements(survey: Survey) -> list[str]:
    """What the project and its tests need, as far as it stands there one by one."""
    project = survey.toml("pyproject.toml")
    arguments, extra, _ = _arguments(survey)
    found = texts(part(project, "project", "dependencies"))
    found += texts(part(project, "project", "optional-dependencies", extra)) if extra else []
    for before, word in pairwise(["", *arguments]):
        if before == "--group":
            found += texts(part(project, "dependency-groups", word))
        elif before == "-r":
            found += [line.partition("#")[0] for line in survey.text(word).splitlines()]
        elif not word.startswith("-"):
            found.append(word)
    return _plain(found)


def has_dependencies(survey: Survey) -> bool:
    """Whether the project itself needs others, or compiles something."""
    project = survey.toml("pyproject.toml")
    poetry = table(project, "tool", "poetry", "dependencies")
    return bool(
        texts(part(project, "project", "dependencies"))
        or [one for one in poetry if one != "python"]
        or "dependencies" in texts(part(project, "project", "dynamic"))
        or survey.ini("setup.cfg").get("options", {}).get("install_requires", "").strip()
        or re.search(r"install_requires\s*=(?!\s*\[\s*\])", survey.text("setup.py"))
        or texts(part(project, "tool", "flit", "metadata", "requires"))
    )
