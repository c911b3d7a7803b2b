"""The packages stand one above the other: no circle, no arrow up, no import hidden for no reason."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOMS = (
    "cxlocal.version", "cxlocal.values", "cxlocal.patterns", "cxlocal.errors", "cxlocal.clock", "cxlocal.text", "cxlocal.domain",
    "cxlocal.address", "cxlocal.zones", "cxlocal.extras", "cxlocal.files", "cxlocal.private", "cxlocal.events", "cxlocal.projection", "cxlocal.processes",
    "cxlocal.secrets", "cxlocal.journal", "cxlocal.numbers", "cxlocal.config", "cxlocal.survey", "cxlocal.notes",
    "cxlocal.revision",
    "cxlocal.hooks", "cxlocal.plan", "cxlocal.testing", "cxlocal.exchange", "cxlocal.sinks", "cxlocal.allocation",
    "cxlocal.bundles", "cxlocal.runner", "cxlocal.api", "cxlocal.doctor", "cxlocal.demo",
    "cxlocal.commands", "cxlocal.__main__",
)  # fmt: skip
"""From the ground up: each may import those before it, and none of those after it."""

OTHERS = ("cxlocal_sync", "cxlocal_plugins", "datasette_cxlocal")


def _room(module: str) -> str:
    """The package of a module, or the module itself where it stands alone; our other distributed
    packages are rooms as a whole."""
    first, _, rest = module.partition(".")
    return f"{first}.{rest.partition('.')[0]}" if first == "cxlocal" and rest else first


def _for_types_only(tree: ast.Module) -> set[ast.AST]:
    return {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def _targets(node: ast.AST, modules: set[str]) -> Iterator[str]:
    """The modules that an import names: ``from package import module`` means the module."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = (f"{node.module}.{alias.name}" for alias in node.names)
        yield from (name if name in modules else str(node.module) for name in names)


def arrows(sources: list[Any]) -> dict[str, dict[str, int]]:
    """Module to imported module of ours, with the line; also from inside functions."""
    modules = {source.name for source in sources}
    found: dict[str, dict[str, int]] = {name: {} for name in modules}
    for source in sources:
        types_only = _for_types_only(source.tree)
        for node in ast.walk(source.tree):
            if node not in types_only:
                for target in _targets(node, modules):
                    if target in modules and target != source.name:
                        found[source.name].setdefault(target, node.lineno)
    return found


def upward(found: dict[str, dict[str, int]]) -> list[str]:
    """Arrows from a room to one that stands above it, or in no place."""
    height = {name: index for index, name in enumerate(ROOMS)}
    return [
        f"{module}:{line}: {_room(module)} must not import {target}"
        for module, targets in found.items()
        if module.startswith("cxlocal.")
        for target, line in targets.items()
        if _room(target) != "cxlocal"
        and _room(module) != _room(target)
        and height.get(_room(module), -1) < height.get(_room(target), len(ROOMS))
    ]


def circle(found: dict[str, dict[str, int]]) -> list[str]:
    """A circle of modules that import each other; empty for none."""
    try:
        list(graphlib.TopologicalSorter(found).static_order())
    except graphlib.CycleError as problem:
        return list(problem.args[1])
    return []


def test_no_circle_of_imports(sources: list[Any]) -> None:
    assert circle(arrows(sources)) == []


def test_no_arrow_up(sources: list[Any]) -> None:
    assert upward(arrows(sources)) == []


def test_a_wrong_import_is_noticed(sources: list[Any]) -> None:
    found = arrows(sources)
    found["cxlocal.numbers.log"]["cxlocal.exchange.sync"] = 7
    assert upward(found) == [
        "cxlocal.numbers.log:7: cxlocal.numbers must not import cxlocal.exchange.sync"
    ]
    assert set(circle(found)) >= {"cxlocal.numbers.log", "cxlocal.exchange.sync"}


def test_each_room_has_its_place(sources: list[Any]) -> None:
    rooms = {_room(source.name) for source in sources if source.name.startswith("cxlocal.")}
    assert sorted(rooms) == sorted(ROOMS)


def test_each_package_says_what_lives_there_and_what_does_not(sources: list[Any]) -> None:
    """In its first lines, and the first of them in CONTRIBUTING.md too."""
    page = (Path(__file__).resolve().parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    wrong = []
    for source in sources:
        if source.path.name != "__init__.py" or source.name not in (*ROOMS, *OTHERS):
            continue
        said = (ast.get_docstring(source.tree) or "").split("\n\n")
        if len(said) < 2 or not said[1].startswith("Not here: "):
            wrong.append(f"{source.path} does not say what does not belong there")
        elif " ".join(said[0].split()) not in page:
            wrong.append(f"CONTRIBUTING.md does not say of {source.name}: {said[0]}")
    assert not wrong, "\n".join(wrong)


def test_the_way_through_the_rooms_exists(sources: list[Any]) -> None:
    """Files and functions that CONTRIBUTING.md names (``runner/release.py:carry_out``)."""
    root = Path(__file__).resolve().parents[2]
    page = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    texts = {str(source.path.relative_to(root)): source.text for source in sources}
    way = page[page.index("## One release") : page.index("## Rules of the house")]
    named = re.findall(r"`(\w+/\w+\.py)(?::([\w.]+))?`", way)
    wrong = [
        f"{file}:{name}"
        for file, name in named
        if not re.search(
            rf"(def|class) {name.rpartition('.')[2]}\b", texts.get(f"cxlocal/{file}", "")
        )
    ]
    assert len(named) > 20
    assert not wrong


# Imports inside functions

MEASURED = (
    ("--version",), ("--help",), ("run", "--help"), ("completion", "bash"), ("run",),
    ("run", "--offline"), ("run", "--to", "check"), ("status",), ("log",), ("show",), ("version", "list"),
    ("journal", "path"), ("config", "show"), ("plugins",), ("verify",), ("sync",),
    ("run", "start"), ("stage", "one", "--began"), ("stage", "two", "--", "true"),
    ("stage", "three", "--report", "junit=unit.xml", "--", "sh", "-c", "echo '<testcase name=\"a\"/>' > unit.xml"),
    ("run", "finish"), ("promote", "1.0.0", "READY"), ("deploy", "1.0.0", "--to", "production"),
    ("doctor",), ("env", "list"), ("rehearse",), ("prepare",), ("prune",), ("sql", "SELECT 1"),
    ("version", "explain", "0"),
)  # fmt: skip
"""What is called often, in a small project, one after the other."""
PROJECT = """\
cx = 1
[deliverable]
name = "shop"
[version]
line = "1.0"
[stages]
check = { command = ["true"] }
build = { command = ["touch", "app.bin"], produces = { app = "app.bin" } }
live = { kind = "deploy", environment = "production", command = ["true"], requires = ["READY"] }
[promotions]
READY = { title = "Ready", after = ["build"] }
[environments.production]
title = "Live"
"""
WORKER = (
    "import cxlocal.hooks.worker, cxlocal.hooks.context, cxlocal.hooks.load, cxlocal.hooks.specs"
)
"""What the process of a tool begins with."""
# Says which modules were loaded however the command ends (by os._exit).
LOADED = """
import json, os, sys
def tell(file=os.environ["LOADED"]):
    with open(file, "w") as out:
        json.dump(list(sys.modules), out)
end = os._exit
os._exit = lambda code: (tell(), end(code))
sys.argv[0] = "cxlocal"
from cxlocal.commands.main import main
main()
tell()
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Command to the names of the modules it loads."""
    root = tmp_path_factory.mktemp("measured")
    shop, out = root / "shop", root / "loaded.json"
    shop.mkdir()
    (shop / "cx.toml").write_text(PROJECT)
    for words in (
        ["init", "-q", "--bare", str(root / "r.git")], ["init", "-q", "."], ["add", "-A"],
        ["commit", "-q", "-m", "first"], ["remote", "add", "origin", str(root / "r.git")],
        ["push", "-q", "-u", "origin", "HEAD"],
    ):  # fmt: skip
        subprocess.run(["git", *words], cwd=shop, check=True, capture_output=True)
    environ = {**os.environ, "LOADED": str(out), "CXLOCAL_HOME": str(root / "home")}
    # Without site: what a file beside our libraries loads at each start (``*.pth``) is not ours.
    environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    found = {}
    for words in (("run",), *MEASURED):  # the first makes the journal, which others do not
        command = [sys.executable, "-S", "-c", LOADED, *words]
        subprocess.run(command, cwd=shop, env=environ, check=True, capture_output=True)
        found[" ".join(words)] = set(json.loads(out.read_text()))
    code = f"import sys; {WORKER}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    found["a worker"] = set(done.stdout.split())
    return found


def _inside_functions(source: Any) -> Iterator[ast.AST]:
    """Imports inside functions, but not those a ``try`` is around: what may be absent."""

    def look(node: ast.AST, inside: bool) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                if inside and not isinstance(node, ast.Try):
                    yield child
            else:
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from look(child, inside or function)

    return look(source.tree, False)


@pytest.mark.timeout(180)
def test_an_import_inside_a_function_spares_some_command_a_module(
    sources: list[Any], loaded: dict[str, set[str]]
) -> None:
    """Whatever loads the one module and never the other pays for it; else it belongs to the top.

    The pages serve two lines of Datasette and look for what only one of them has.
    """
    modules = {source.name for source in sources}
    wrong = []
    for source in sources:
        if source.name.startswith("datasette_cxlocal"):
            continue
        users = [names for names in loaded.values() if source.name in names]
        for node in _inside_functions(source):
            targets = list(_targets(node, modules))
            if not any(target not in names for names in users for target in targets):
                wrong.append(f"{source.path}:{node.lineno}: {', '.join(targets)}")
    assert not wrong, "\n".join(wrong)


SPARED = (
    "msgspec", "signal", "subprocess", "ctypes", "cxlocal.plan.types", "cxlocal.config.load",
    "cxlocal.hooks.manager", "cxlocal.processes.mask", "cxlocal.projection.standing",
    "cxlocal.runner.pieces_join", "cxlocal.processes.locks",
)  # fmt: skip
"""What only a verdict, a plan, a CI server or a program needs."""


def test_a_report_of_one_stage_loads_little(loaded: dict[str, set[str]]) -> None:
    found = loaded["stage one --began"]
    assert found & set(SPARED) == set()
    assert "cxlocal.processes.views" not in loaded["stage two -- true"]
