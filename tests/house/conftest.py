"""The source of the four packages, parsed once for all the rules of the house."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "cxlocal": ROOT / "cxlocal",
    "cxlocal_sync": ROOT / "sync" / "cxlocal_sync",
    "cxlocal_plugins": ROOT / "plugins" / "cxlocal_plugins",
    "datasette_cxlocal": ROOT / "plugins" / "datasette_cxlocal",
}

# The project that ``cxlocal demo`` writes out: data of ours, not modules of the package.
EXAMPLE = ROOT / "cxlocal" / "demo" / "webshop"


class Source(NamedTuple):
    """One module: its dotted name, file, text and syntax tree."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    def imported(self) -> Iterator[tuple[str, int]]:
        """Every module named in an import anywhere in the file, with its line."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, node.lineno
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: relative import"
                yield str(node.module), node.lineno

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        """Every function and method, nested ones too."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call whose function is a plain dotted name, with that name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                name = dotted(node.func)
                if name:
                    yield name, node


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for such an expression, else an empty text."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _read() -> Iterator[Source]:
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            if EXAMPLE in path.parents:
                continue
            inner = path.relative_to(folder).with_suffix("").parts
            parts = [package, *(part for part in inner if part != "__init__")]
            text = path.read_text(encoding="utf-8")
            yield Source(".".join(parts), path, text, ast.parse(text))


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """All modules of the four packages."""
    return list(_read())


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT
