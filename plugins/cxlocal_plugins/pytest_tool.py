"""The tool ``pytest``: runs a project's tests and leaves a JUnit report.

pytest's exit codes are kept apart: failing tests are the work saying no, a broken configuration is
trouble (https://docs.pytest.org/en/stable/reference/exit-codes.html).
"""

from __future__ import annotations

import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Completed, Context, Done, ReportFile, Tool, ToolFailure

TESTS_FAILED, NOTHING_COLLECTED = 1, 5
MEANINGS = {
    2: "pytest was interrupted or could not collect the tests",
    3: "pytest had an internal error",
    4: "pytest was called wrongly, or its configuration is broken",
}


class Pytest(Tool):
    """Runs pytest in the checkout."""

    name = "pytest"
    api = 1
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
        command = [python, "-P", "-m", "pytest", f"--junitxml={report}", "-p", "no:cacheprovider"]
        found = ctx.exec(
            [*command, *ctx.options.args, *ctx.options.paths],
            env={
                "PYTHONPATH": ":".join(map(str, _search_path(ctx))),
                # The checkout stays as it came: later stages build from it.
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            check=False,
        )
        reports = (ReportFile(path=report),) if report.is_file() else ()
        done = Done(
            reports=reports,
            details={"python": python},
            tool_version="" if ctx.options.python else version("pytest"),
        )
        return _judge(ctx, found, done)


def _judge(ctx: Context, found: Completed, done: Done) -> Done:
    if found.code == 0 or (found.code == NOTHING_COLLECTED and ctx.options.allow_empty):
        return done
    if found.code == TESTS_FAILED:
        raise ToolFailure(_last_line(found.output) or "tests failed", done)
    if found.code == NOTHING_COLLECTED:
        raise ToolFailure("pytest found no tests (allow_empty = true lets that pass)", done)
    words = MEANINGS.get(found.code, f"pytest ended with exit code {found.code}")
    raise RuntimeError(f"{words}: {_last_line(found.output)}")


def _last_line(output: str) -> str:
    """pytest's own summary, such as ``1 failed, 2 passed in 0.12s``."""
    lines = [line.strip("= ") for line in output.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _interpreter(ctx: Context) -> str:
    if not ctx.options.python:
        return sys.executable
    chosen = Path(ctx.options.python).expanduser()
    return str(chosen if chosen.is_absolute() else ctx.checkout / chosen)


def _search_path(ctx: Context) -> list[Path]:
    """Unpacked wheels first; else the sources, in ``src`` where there is one."""
    if ctx.options.install:
        return [_unpack(ctx, name) for name in ctx.options.install]
    source = ctx.checkout / "src"
    return [source, ctx.checkout] if source.is_dir() else [ctx.checkout]


def _unpack(ctx: Context, name: str) -> Path:
    artifact = ctx.artifacts.get(name)
    if artifact is None:
        known = ", ".join(sorted(ctx.artifacts)) or "none"
        raise ToolFailure(f"there is no artifact {name!r} here (there is: {known})")
    target = ctx.scratch / f"installed-{len(list(ctx.scratch.iterdir()))}"
    with zipfile.ZipFile(artifact.path) as archive:
        # ZipFile.extractall keeps every member below the target.
        archive.extractall(target)
    return target


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool ``pytest``."""
    return [Pytest]
