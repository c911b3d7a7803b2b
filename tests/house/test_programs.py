"""What tests need is what ``tests/run`` installs."""

from __future__ import annotations

import ast
import re
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

COME_ALONG = {"umount": "mount", "nsenter": "unshare"}
"""Programs of a package that is named by another of its programs."""
OF_DEBIAN = {"apt-get"}
"""What installs the others."""


def _tests_run(root: Path) -> Any:
    loader = SourceFileLoader("tests_run", str(root / "tests" / "run"))
    spec = spec_from_loader("tests_run", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def _needed(root: Path) -> dict[str, str]:
    """Programs by the file whose marks, or whose recipes, name them."""
    found: dict[str, str] = {}
    for path in (root / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.needs":
                plain = [each for each in node.args if not isinstance(each, ast.Starred)]
                found |= {ast.literal_eval(each): path.name for each in plain}
    recipes = (root / "docs" / "recipes.md").read_text(encoding="utf-8")
    for names in re.findall(r"Needs ((?:`[^`]+`(?:, )?)+)", recipes):
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", names), "recipes.md")
    return found


def test_every_program_a_test_needs_is_installed(root: Path) -> None:
    run = _tests_run(root)
    installed = {package.program for package in (*run.PACKAGES, *run.HEAVY_PACKAGES)}
    needed = _needed(root)
    assert {"git", "strace"} < set(needed), "the marks are not found"
    missing = {
        name: file
        for name, file in needed.items()
        if COME_ALONG.get(name, name) not in installed | OF_DEBIAN
    }
    assert missing == {}, "name the package in PACKAGES of tests/run"


def test_write_docs_writes_every_generated_page(root: Path) -> None:
    """A page is made by a script below ``tests`` that takes ``--write``."""
    writers = {
        path.relative_to(root).as_posix()
        for path in (root / "tests").rglob("*.py")
        if '"--write" in ' in path.read_text() and path != Path(__file__)
    }
    assert len(writers) > 1 and set(_tests_run(root).PAGE_WRITERS) == writers
