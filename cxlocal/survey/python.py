"""Python packages and services."""

from __future__ import annotations

import re

from cxlocal.survey.python_tests import PYTHON, Setup, has_tests, setup
from cxlocal.survey.python_version import place
from cxlocal.survey.recipe import Inline, Recipe, archive, needs
from cxlocal.survey.tree import Survey, part, slug, words

INDEX = ["PIP_*", "UV_*"]
"""Variables that say where packages come from."""


def python(survey: Survey) -> Recipe | None:
    """A Python package (a wheel) or a service (its files); pytest where there are tests."""
    project = survey.toml("pyproject.toml")
    described = bool(part(project, "project") or part(project, "tool", "poetry"))
    described = described or bool(part(project, "tool", "flit", "metadata"))
    if not described and not survey.has("setup.py", "setup.cfg"):
        return _service(survey)
    if not described and (survey.has("package.json") or not _installs(survey)):
        return _service(survey)
    if part(project, "tool", "uv", "package") is False:
        return _service(survey)
    name = words(part(project, "project", "name") or part(project, "tool", "poetry", "name"))
    name = name or survey.ini("setup.cfg").get("metadata", {}).get("name", "")
    named = re.search(r"\bname\s*=\s*[\"']([\w.-]+)[\"']", survey.text("setup.py"))
    build: Inline = {"tool": "wheel", "produces": ["wheel"]}
    tests, program = _tests(survey, builds=True)
    return Recipe(
        "a Python package",
        {"build": build, **tests},
        name=name or (named[1] if named else ""),
        place=place(survey),
        scheme="pep440",
        tests=("unit",) if tests else (),
        needs=(program,) if program else (),
    )


def _installs(survey: Survey) -> bool:
    """Whether setup.py or setup.cfg describe a package: a setup.cfg may only configure tools."""
    text = survey.text("setup.py")
    return bool(re.search(r"\bsetup\s*\(", text)) or "metadata" in survey.ini("setup.cfg")


def _tests(survey: Survey, *, builds: bool) -> tuple[dict[str, Inline], str]:
    """The stages that make ``.venv`` and run the tests; the program that the first one needs."""
    django = survey.has("manage.py") and not has_tests(survey)
    if not has_tests(survey) and not (django and survey.below("*/tests.py", "*/tests/*.py")):
        return {}, ""
    made = setup(survey, builds=builds)
    stages: dict[str, Inline] = {}
    if made is not None:
        stages["deps"] = {
            **needs("build" if made.wheel else ""),
            "command": made.command,
            "pass_env": INDEX,
        }
    before = needs("build" if builds else "", "deps" if made else "")
    if django:
        python3 = PYTHON if made else "python3"
        stages["unit"] = {"kind": "test", **before, "command": f"{python3} manage.py test"}
        return stages, made.program if made else ""
    stages["unit"] = {
        "tool": "pytest",
        **before,
        "reports": {"junit": "junit.xml"},
        **_options(survey, made, builds=builds),
    }
    return stages, made.program if made else ""


def _options(survey: Survey, made: Setup | None, *, builds: bool) -> dict[str, object]:
    found: dict[str, object] = {}
    if made is not None:
        found["python"] = PYTHON
    # Tests beside the package try what is shipped. Those within it may be left out of the wheel.
    if builds and survey.below("tests/*.py", "test/*.py"):
        found["install"] = ["wheel"]
    return {"with": found} if found else {}


def _service(survey: Survey) -> Recipe | None:
    """Python files that are no package: a service that is copied, or put into an image."""
    if not survey.has("requirements.txt", "Pipfile", "manage.py", "pyproject.toml", "uv.lock"):
        return None
    if not survey.below("*.py") or survey.has("package.json"):
        return None
    project = survey.toml("pyproject.toml")
    name = words(part(project, "project", "name") or part(project, "tool", "poetry", "name"))
    tests, program = _tests(survey, builds=False)
    pack = archive(slug(name or survey.name), without=[".venv"])
    return Recipe(
        "a Python service",
        {**tests, "pack": {**pack, **needs(*list(tests)[-1:])}},
        name=name,
        place=place(survey),
        scheme="pep440",
        tests=("unit",) if tests else (),
        needs=(program,) if program else (),
        released=False,
    )
