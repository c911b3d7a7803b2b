"""Every test starts in the same small world: an empty home, no CI, a git identity, a fixed zone.

Tests that need a program of the system say so: ``@pytest.mark.needs("strace")``. ``tests/run``
installs those programs; without one of them such a test fails, unless ``--allow-missing-tools``
leaves it out by name in the header.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

# A rule is judged by what it answers, never by the clock of a machine that others use as well.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# What a test may see of the world outside. Everything else (CI variables, CXLOCAL_*, tokens,
# GIT_*, locale surprises) would make a test depend on where it runs.
KEPT = ("PATH", "TMPDIR", "VIRTUAL_ENV", "REQUESTS_CA_BUNDLE")
KEPT_PREFIXES = (
    "PYTEST", "HYPOTHESIS", "COV_", "COVERAGE", "PIP_", "UV_", "NPM_CONFIG_", "SSL_",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "PYTHON",
)  # fmt: skip
# Not UTC and not a whole hour, so that a naive local time shows up as a wrong one.
ZONE = "TST-05:45"
# No command of a test may hang longer than this; pytest's own limit is 60 s.
COMMAND_LIMIT_SECONDS = 50.0


class Result(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output read as one JSON document."""
        return json.loads(self.out)


class Cx:
    """Runs the installed ``cxlocal`` in a process of its own."""

    program = str(Path(sys.executable).with_name("cxlocal"))

    def __call__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: Mapping[str, str | None] | None = None,
        input: str = "",
        timeout: float = COMMAND_LIMIT_SECONDS,
        under: Sequence[str] = (),
    ) -> Result:
        """Run and wait. ``env`` is added to the environment; None takes a variable away. ``under``: the
        program that runs it, with its arguments."""
        environ: dict[str, str] = dict(os.environ)
        for name, value in (env or {}).items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value
        done = subprocess.run(
            [*under, self.program, *map(str, arguments)],
            cwd=cwd,
            env=environ,
            input=input.encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        decoded = (
            stream.decode("utf-8", "backslashreplace") for stream in (done.stdout, done.stderr)
        )
        return Result(done.returncode, *decoded)

    def ok(self, *arguments: str | Path, **rest: Any) -> Result:
        """Run; fail the test with everything that was said unless the exit code is 0."""
        result = self(*arguments, **rest)
        assert result.code == 0, f"exit code {result.code}\n{result.err}\n{result.out}"
        return result


def _is_kept(name: str) -> bool:
    return name in KEPT or name.upper().startswith(KEPT_PREFIXES)


@pytest.fixture(autouse=True, scope="session")
def own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An environment that says nothing about this machine, for fixtures of every scope."""
    with pytest.MonkeyPatch.context() as patch:
        real_home = Path.home()
        for name in list(os.environ):
            if not _is_kept(name):
                patch.delenv(name)
        for name, value in _world_variables(tmp_path_factory.mktemp("home")).items():
            patch.setenv(name, value)
        for name, file in _package_settings(real_home).items():
            if name not in os.environ:
                patch.setenv(name, str(file))
        time.tzset()
        yield
    time.tzset()


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder of the test's own."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(folder))
    return folder


def _world_variables(home_folder: Path) -> dict[str, str]:
    return {
        "HOME": str(home_folder),
        "LC_ALL": "C.UTF-8",
        "TZ": ZONE,
        "COLUMNS": "80",
        **_git_identity(),
    }


def _package_settings(real_home: Path) -> dict[str, Path]:
    """What installing from a package index needs to find the index this machine is set up for, and
    where its Rust is, if not from a package of the system."""
    places = (
        ("PIP_CONFIG_FILE", ".pip/pip.conf"),
        ("PIP_CONFIG_FILE", ".config/pip/pip.conf"),
        ("NPM_CONFIG_USERCONFIG", ".npmrc"),
        ("RUSTUP_HOME", ".rustup"),
    )
    return {name: real_home / place for name, place in places if (real_home / place).exists()}


def _git_identity() -> dict[str, str]:
    """Git with no system or user configuration, an identity, and ``main`` as first branch."""
    return {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Test Author",
        "GIT_AUTHOR_EMAIL": "author@example.org",
        "GIT_COMMITTER_NAME": "Test Committer",
        "GIT_COMMITTER_EMAIL": "committer@example.org",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "init.defaultBranch",
        "GIT_CONFIG_VALUE_0": "main",
    }


@pytest.fixture(scope="session")
def cx() -> Cx:
    """Call it like the command: ``cx("status", "--json", cwd=folder)``."""
    return Cx()


def pytest_configure() -> None:
    """Signals as at a terminal: ``nohup`` ignores SIGHUP, a script's ``&`` ignores SIGINT and
    SIGQUIT, and every command of a test would inherit that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of ``tests/run`` that pytest has to know."""
    parser.addoption(
        "--allow-missing-tools",
        action="store_true",
        help="leave out the tests of programs this machine lacks (they fail otherwise)",
    )
    parser.addoption(
        "--fast",
        action="store_true",
        help="only what needs no whole command, no server and no program but git",
    )
    parser.addoption(
        "--all",
        action="store_true",
        help="every page in every form in a browser; what waits long; programs large to install (heavy)",
    )
    parser.addoption("--stories", type=int, default=0, help="tell that many more simulated stories")
    parser.addoption(
        "--failed-before",
        default="",
        help="names of the checks that failed before pytest; repeated above the closing line",
    )


def _missing_tools(item: pytest.Item) -> list[str]:
    wanted = [str(tool) for mark in item.iter_markers("needs") for tool in mark.args]
    return [tool for tool in wanted if shutil.which(tool) is None]


FAST_FOLDERS = {"config", "events", "journal", "numbers", "pieces", "plan", "plugins", "runner"}
IN_PROCESS = {
    "tmp_path",
    "tmp_path_factory",
    "monkeypatch",
    "request",
    "home",
    "own_surroundings",
    "capsys",
}
"""Fixtures of tests that start nothing: the others make repositories, machines or servers."""


def _is_fast(item: pytest.Item) -> bool:
    fixtures: Sequence[str] = getattr(item, "fixturenames", ())
    arguments = set(getattr(item, "callspec", None).params) if hasattr(item, "callspec") else set()
    return (
        item.path.parent.name in FAST_FOLDERS
        and set(fixtures) - arguments <= IN_PROCESS
        and item.get_closest_marker("slow") is None
        and item.get_closest_marker("timeout") is None
        and item.get_closest_marker("needs") is None
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what ``--fast`` and ``--allow-missing-tools`` leave out, and without ``--all`` the heavy."""
    gone = [
        item
        for item in items
        if (config.getoption("--fast") and not _is_fast(item))
        or (item.get_closest_marker("heavy") and not config.getoption("--all"))
        or (config.getoption("--allow-missing-tools") and _missing_tools(item))
    ]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test whose program is missing fails with the way out."""
    missing = _missing_tools(item)
    if missing:
        pytest.fail(f"needs {', '.join(missing)}: tests/run installs it", pytrace=False)


def pytest_report_header(config: pytest.Config) -> Sequence[str]:
    """The versions that decide most surprises."""
    names = ("sqlite-utils", "datasette", "click", "pluggy", "filelock")
    found = ", ".join(f"{name} {version(name)}" for name in names)
    return [f"SQLite {sqlite3.sqlite_version}, {found}"]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Above the closing line: what failed before pytest began."""
    failed = config.getoption("--failed-before")
    if failed:
        terminalreporter.section("checks that failed before the tests", red=True)
        terminalreporter.line(failed)
