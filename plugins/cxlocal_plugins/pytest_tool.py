"""The tool ``pytest``: runs a project's tests and leaves a JUnit report.

pytest's exit codes are kept apart: failing tests are the work saying no, a broken configuration is
trouble (https://docs.pytest.org/en/stable/reference/exit-codes.html).
"""

from __future__ import annotations

import re
import shutil
import signal
import sys
from importlib.metadata import version
from pathlib import Path

from cxlocal.errors import Trouble
from cxlocal.hooks.report import Report
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Completed, Context, Done, ReportFile, Tool, ToolFailure
from cxlocal_plugins.junit import JUnit
from cxlocal_plugins.wheel_file import check_fits, unpack

TESTS_FAILED, NOTHING_COLLECTED = 1, 5
MEANINGS = {
    2: "pytest was interrupted or could not collect the tests",
    3: "pytest had an internal error",
    4: "pytest was called wrongly, or its configuration is broken",
}
START = "import sys; sys.path[:] = filter(None, sys.path); import pytest; sys.exit(pytest.main())"
"""As ``python -P -m pytest``, which a Python before 3.11 does not know: the sources of the checkout
must not come before unpacked wheels. A variable would reach the processes that tests start."""
FRONT = Path(__file__).with_name("pytest_front.py")
NAMED_MAX = 3
COMPLAINTS_MAX = 6
"""Failed tests named in the reason; the report has all."""


class Pytest(Tool):
    """Runs pytest in the checkout."""

    name = "pytest"
    api = 2
    title = "pytest"

    class Options(Tool.Options, frozen=True):
        """``paths`` and ``args`` go to pytest. ``python``: the interpreter that has pytest and what
        the tests need, relative to the checkout; by default the one cxlocal runs in. ``install``:
        wheels of this run that the tests import instead of the sources. ``allow_empty``: finding
        no tests is fine."""

        paths: tuple[str, ...] = ()
        args: tuple[str, ...] = ()
        python: str = ""
        install: tuple[str, ...] = ()
        allow_empty: bool = False

    def test(self, ctx: Context) -> Done:
        """Run the tests. Raises ToolFailure when one fails."""
        report = ctx.scratch / "report.xml"
        python = _interpreter(ctx)
        places = _search_path(ctx)
        front = ["-p", FRONT.stem] if ctx.options.install else []
        command = [python, "-c", START, *front, *ctx.options.args, f"--junitxml={report}"]
        found = ctx.exec(
            # After what the project says, so that it holds. Leaving the cache out altogether would
            # refuse projects that have options of it in their own configuration.
            [*command, "-o", f"cache_dir={ctx.scratch / 'cache'}", *ctx.options.paths],
            env={
                "PYTHONPATH": ":".join(map(str, places)),
                # The checkout stays as it came: later stages build from it.
                "PYTHONDONTWRITEBYTECODE": "1",
                "HYPOTHESIS_STORAGE_DIRECTORY": str(ctx.scratch / "hypothesis"),
            },
            check=False,
        )
        return _judge(ctx, found, _done(ctx, report, python))


def _done(ctx: Context, report: Path, python: str) -> Done:
    return Done(
        reports=(ReportFile(path=report, may_be_empty=ctx.options.allow_empty),)
        if report.is_file()
        else (),
        details={"python": python},
        tool_version="" if ctx.options.python else version("pytest"),
    )


def _judge(ctx: Context, found: Completed, done: Done) -> Done:
    """By the exit code; a test that ends the process itself cannot pretend that all went well."""
    absent = missing_module(found.output)
    if found.code in (0, TESTS_FAILED, NOTHING_COLLECTED) and not done.reports:
        said = f"pytest ended with exit code {found.code} and left no report"
        raise Trouble(
            f"{said}: {_last_line(found.output)}",
            why=_words_of_missing(ctx, absent) if absent else "a test ends the process",
            hint=_remedy(ctx, absent) if absent else "the log of the stage has all it said",
        )
    if found.code == 0 or (found.code == NOTHING_COLLECTED and ctx.options.allow_empty):
        return done
    if found.code == TESTS_FAILED:
        report = JUnit().read(done.reports[0].path, suite="")
        absent = missing_module("\n".join(case.message for case in report.cases))
        failed = summary(report) or _last_line(found.output)
        more = f"\n{_words_of_missing(ctx, absent)}\n{_remedy(ctx, absent)}" if absent else ""
        raise ToolFailure(failed + more, done)
    if found.code == NOTHING_COLLECTED:
        raise ToolFailure("pytest found no tests (allow_empty = true lets that pass)", done)
    if absent:
        raise Trouble(
            _words_of_missing(ctx, absent),
            why=_complaints(found.output),
            hint=_remedy(ctx, absent),
            name="module-missing",
        )
    raise Trouble(
        f"{_meaning(found.code)}: {_last_line(found.output)}",
        why=_complaints(found.output),
        hint="the log of the stage has all it said",
    )


_MISSING = (
    re.compile(r"No module named ['\"]?(?P<module>[\w.]+)"),
    re.compile(r"Error importing plugin [\"'](?P<module>[\w.]+)"),
    re.compile(r"Missing required plugins: (?P<module>[\w.-]+)"),
    re.compile(r"unrecognized arguments: (?P<option>--[\w-]+)"),
)
"""How Python and pytest say that something is not installed."""


def missing_module(output: str) -> str:
    """What is not installed where the tests run: a module, a plugin, or the option of one; empty where
    the output speaks of none. Pure."""
    for pattern in _MISSING:
        if match := pattern.search(output):
            return next(iter(match.groupdict().values()))
    return ""


def _words_of_missing(ctx: Context, absent: str) -> str:
    where = ctx.options.python or "the Python that cxlocal runs in"
    if absent.startswith("--"):
        return (
            f"pytest was called wrongly: it does not know {absent}, which may be an option of a plugin"
            f" that is not installed in {where}"
        )
    return f"{absent} is not installed in {where}"


def _remedy(ctx: Context, absent: str) -> str:
    what = f"what provides {absent}"
    if ctx.options.python:
        return f"let the stage that makes {ctx.options.python} install {what}; trying again does not help"
    return (
        "give the tests an environment of their own: a stage with the command"
        f" 'python3 -m venv .venv && .venv/bin/pip install -e . pytest' and {what}, and here needs = [that"
        ' stage] and with = { python = ".venv/bin/python" }; trying again does not help'
    )


def summary(report: Report) -> str:
    """``3 of 41 tests failed: name, name, name``; empty when the report knows of none. Pure."""
    bad = [case for case in report.cases if case.outcome in ("failed", "error")]
    if not bad:
        return ""
    named = ", ".join(case.name for case in bad[:NAMED_MAX])
    more = f" and {len(bad) - NAMED_MAX} more" if len(bad) > NAMED_MAX else ""
    return f"{len(bad)} of {len(report.cases)} tests failed: {named}{more}"


def _meaning(code: int) -> str:
    if code < 0:
        return f"pytest was ended by {signal.Signals(-code).name}"
    return MEANINGS.get(code, f"pytest ended with exit code {code}")


def _complaints(output: str) -> str:
    """The lines in which pytest says what is wrong: ``ERROR ...`` and ``E   ...``."""
    lines = [line.strip() for line in output.splitlines()]
    said = [line for line in lines if line.startswith(("ERROR", "E   ", "ERROR:"))]
    return "\n".join(dict.fromkeys(line[:200] for line in said[:COMPLAINTS_MAX]))


def _last_line(output: str) -> str:
    """pytest's own summary, such as ``1 failed, 2 passed in 0.12s``."""
    lines = [line.strip("= ") for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"


def _interpreter(ctx: Context) -> str:
    if not ctx.options.python:
        return sys.executable
    chosen = Path(ctx.options.python).expanduser()
    return str(chosen if chosen.is_absolute() else ctx.checkout / chosen)


def _search_path(ctx: Context) -> list[Path]:
    """Unpacked wheels first; else the sources, in ``src`` where there is one."""
    if ctx.options.install:
        return _unpack_all(ctx)
    source = ctx.checkout / "src"
    return [source, ctx.checkout] if source.is_dir() else [ctx.checkout]


def _unpack_all(ctx: Context) -> list[Path]:
    """The folders of the wheels, and the one with the plugin that puts them first."""
    front = ctx.scratch / "front"
    front.mkdir()
    folders = [_unpack(ctx, name, front) for name in ctx.options.install]
    shutil.copy(FRONT, front)
    return [*folders, front]


def _unpack(ctx: Context, name: str, front: Path) -> Path:
    artifact = ctx.artifacts.get(name)
    if artifact is None:
        known = ", ".join(sorted(ctx.artifacts)) or "none"
        raise ToolFailure(f"there is no artifact {name!r} here (there is: {known})")
    # A folder each: two wheels may have files alike.
    target = front / f"{ctx.options.install.index(name):03}"
    if not ctx.options.python:
        check_fits(artifact.path)
    unpack(artifact.path, target, target, _interpreter(ctx))
    return target


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool ``pytest``."""
    return [Pytest]
