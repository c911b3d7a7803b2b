"""A deliverable with targets, and ways to look at them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


def _load(name: str, file: Path) -> Any:
    """A module of another folder of tests, which are no packages."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_RUNNER = _load("cxlocal_test_publishing_shop", HERE.parent / "runner" / "conftest.py")
shop, tools = _RUNNER.shop, _RUNNER.tools

BUILD = """
[stages]
build = { kind = "build", command = "printf 'one %s' \\"$CXLOCAL_VERSION\\" > app.txt; printf two > doc.txt", produces = { app = "app.txt", doc = "doc.txt" } }
"""


@pytest.fixture
def publish(shop: Any) -> Callable[..., Any]:
    """Release a version with these targets, agreed to; further commands go through ``shop``."""

    def released(targets: str, *arguments: str, stages: str = "", **rest: Any) -> Any:
        shop.write(BUILD + stages + targets, {".gitignore": "app.txt\ndoc.txt\n"})
        assert not targets or shop.command("trust", "--yes").code == 0
        return shop.run(*arguments, **rest)

    return released
