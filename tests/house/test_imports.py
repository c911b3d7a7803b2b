"""Who may import whom, and what a light command may load."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OTHERS = ("cxlocal_sync", "cxlocal_plugins", "datasette_cxlocal")
# package: prefixes of our own packages it may import beside itself
ALLOWED = {
    "cxlocal": (),
    "cxlocal_sync": ("cxlocal",),
    "cxlocal_plugins": (
        "cxlocal.hooks",
        "cxlocal.errors",
        "cxlocal.extras",
        "cxlocal.files",
        "cxlocal.text",
        "cxlocal.domain",
        "cxlocal.testing",
        "cxlocal.values",
    ),
    "datasette_cxlocal": (
        "cxlocal.text",
        "cxlocal.domain",
        "cxlocal.version",
        "cxlocal.errors",
        # Which run is meant, what is unconfirmed: our pages and the stored queries mean the same.
        "cxlocal.projection.asked",
        "cxlocal.projection.queries",
        "cxlocal.projection.page_questions",
        # What is said of a version's proof, and what settles a flag: as commands say it.
        "cxlocal.projection.evidence",
        "cxlocal.projection.figures",
        "cxlocal.projection.flags",
        # median(), human_duration() and so on as `cxlocal sql` has them.
        "cxlocal.projection.functions",
        "cxlocal.address",
        "cxlocal.clock",
        "cxlocal.journal.blobs",
        "cxlocal.values",
        "cxlocal.zones",
    ),
}
# Modules without input or output, and what they must therefore not import.
PURE = (
    "cxlocal.domain",
    "cxlocal.text",
    "cxlocal.events",
    "cxlocal.projection.project",
    "cxlocal.projection.tables",
    "cxlocal.plan",
    "cxlocal.numbers.log",
    "cxlocal.numbers.schemes",
    "cxlocal.survey",
    "cxlocal.notes",
    "cxlocal.exchange.answers",
    "cxlocal.address",
    "cxlocal.exchange.messages",
    "cxlocal.exchange.token",
)
IMPURE = {
    "os", "io", "subprocess", "socket", "sqlite3", "time", "random", "secrets", "shutil",
    "tempfile", "threading", "asyncio", "urllib.request", "http", "ctypes", "pathlib", "glob",
}  # fmt: skip
# The slow ones of docs/performance.md; a command that needs none of them must load none.
HEAVY = {
    "sqlite_utils", "httpx", "httpx2", "requests", "urllib3", "pydantic", "psycopg", "asyncio",
    "datasette", "starlette", "uvicorn", "rich", "importlib.metadata", "filelock", "platformdirs",
    "tabulate", "junitparser", "concurrent.futures", "multiprocessing",
}  # fmt: skip
# Not even these for what only talks about the command line.
UNNEEDED = HEAVY | {
    "sqlite3", "msgspec", "pluggy", "tomllib", "dataclasses", "subprocess", "logging", "json",
    "hashlib", "tempfile",
}  # fmt: skip


def _is_below(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def test_packages_import_only_what_they_may(sources: list[Any]) -> None:
    ours = ("cxlocal", *OTHERS)
    wrong = [
        f"{source.path}:{line}: {source.name} imports {target}"
        for source in sources
        for target, line in source.imported()
        if _is_below(target, ours)
        and not _is_below(target, (source.name.partition(".")[0],))
        and not _is_below(target, ALLOWED[source.name.partition(".")[0]])
    ]
    assert not wrong, "\n".join(wrong)


def test_click_only_in_commands(sources: list[Any]) -> None:
    # The hook that registers commands has a click.Group in its signature, for type checkers only.
    allowed = ("cxlocal.commands", "cxlocal.hooks.specs")
    wrong = [
        f"{source.path}:{line}"
        for source in sources
        for target, line in source.imported()
        if _is_below(target, ("click",)) and not _is_below(source.name, allowed)
    ]
    assert not wrong, "\n".join(wrong)


def test_pure_modules_have_no_way_out(sources: list[Any]) -> None:
    wrong = [
        f"{source.path}:{line}: {target}"
        for source in sources
        if _is_below(source.name, PURE)
        for target, line in source.imported()
        if target in IMPURE
    ]
    assert not wrong, "\n".join(wrong)


def test_the_list_of_pure_modules_is_true(sources: list[Any]) -> None:
    names = [source.name for source in sources]
    assert [p for p in PURE if not any(_is_below(name, (p,)) for name in names)] == []


def test_parts_of_the_server_that_are_named_in_text_exist(sources: list[Any]) -> None:
    """The command loads them by name, as their libraries may not be installed."""
    names = {source.name for source in sources}
    text = next(one.text for one in sources if one.name == "cxlocal.commands.serve")
    (together,) = re.findall(r"names = \(([^)]*)\)\n.* = map\(server_part, names\)", text)
    named = re.findall(r'"(\w+)"', together)
    for source in sources:
        named += re.findall(r'server_part\("(\w+)"\)', source.text)
    assert len(named) > 3
    assert [name for name in named if f"cxlocal_sync.http.{name}" not in names] == []


# Forks a child for each module from an interpreter that has imported nothing of ours, so that each module
# meets a fresh world without the price of a fresh start. What others wrote is there: it depends on no order of
# ours, and loading it again for each takes most of the time. They may warn; we may not.
ALONE = """
import gc, os, sys, warnings
gc.disable()
others, ours = (names.split() for names in sys.argv[1:])
for name in others:
    try:
        __import__(name)
    except ImportError:
        pass
warnings.simplefilter("error")
for name in ours:
    child = os.fork()
    if child == 0:
        try:
            __import__(name)
        except BaseException as error:
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exitcode = 1
sys.exit(getattr(sys, "exitcode", 0))
"""


@pytest.mark.timeout(240)  # a process for each of some three hundred modules
def test_each_module_imports_alone(sources: list[Any]) -> None:
    names = [source.name for source in sources if not source.name.endswith("__main__")]
    packages = ("cxlocal", *OTHERS)
    asked = {target for source in sources for target, _ in source.imported()}
    others = sorted(target for target in asked if not _is_below(target, packages))
    done = subprocess.run(
        [sys.executable, "-c", ALONE, " ".join(others), " ".join(names)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


LOADED = """
import sys
before = set(sys.modules)
sys.argv[0] = "cxlocal"
from cxlocal.commands.main import main
code = main()
print(*(set(sys.modules) - before), file=sys.stderr)
sys.exit(code)
"""


def _loaded_by(*arguments: str, cwd: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("completion", "--help")])
def test_words_about_the_command_line_load_nothing(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    loaded = _loaded_by(*arguments, cwd=tmp_path)
    assert not loaded & UNNEEDED
    others = {name for name in loaded if _is_below(name, OTHERS)}
    assert not others


def test_version_loads_not_even_click(tmp_path: Path) -> None:
    assert "click" not in _loaded_by("--version", cwd=tmp_path)


LIGHT = (
    ("status",),
    ("log",),
    ("show",),
    ("journal", "path"),
    ("version", "list"),
    ("config", "show"),
)


def test_light_commands_load_nothing_heavy(tmp_path: Path) -> None:
    from cxlocal.commands.table import COMMANDS

    found = {
        " ".join(arguments): _loaded_by(*arguments, cwd=tmp_path) & HEAVY
        for arguments in LIGHT
        if arguments[0] in COMMANDS
    }
    assert {name: heavy for name, heavy in found.items() if heavy} == {}
