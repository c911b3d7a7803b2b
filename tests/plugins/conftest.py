"""A small real project in a checkout, and verbs run on it in real workers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import cxlocal.demo
from cxlocal.hooks.context import Ran, run_tool_here
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.tool import Tool

RUN = "0f0e0d0c-0b0a-4908-8706-050403020100"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The demo's web shop as a git checkout."""
    folder = tmp_path / "checkout"
    shutil.copytree(Path(cxlocal.demo.__file__).with_name("webshop"), folder)
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture
def run_verb(checkout: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Runs one verb of a tool in a worker. Options go in as ``with_table``, ``env``, ``secrets``
    and ``kill_after_seconds`` as such, the rest are fields."""
    numbers = iter(range(1000))

    def call(
        tool: type[Tool], verb: str, with_table: dict[str, Any] | None = None, **fields: Any
    ) -> Ran:
        scratch = tmp_path / f"scratch{next(numbers)}"
        scratch.mkdir()
        known = {
            "version": "0.0.0", "run": RUN, "revision": "c" * 40, "stage": verb,
            "deliverable": "webshop", "checkout": checkout, "scratch": scratch,
        }  # fmt: skip
        names = ("env", "secrets", "kill_after_seconds")
        given = {name: fields.pop(name, None) for name in names}
        return run_tool_here(
            tool, verb, Fields(**{**known, **fields}), with_table=with_table, **given
        )

    return call
