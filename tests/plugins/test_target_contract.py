"""The contract of targets finds what it is for, and the shipped folder keeps it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cxlocal_plugins.targets.folder import Folder

from cxlocal.hooks.new_plugin import new_plugin
from cxlocal.testing import Bench, TargetContract

pytestmark = pytest.mark.slow

FILES = new_plugin("shelf", "target")
FOLDER = {"folder": "shelf"}
BROKEN = {
    "puts what nobody asked for": (
        "for name in ctx.put:\n            file = _place", "for name in ctx.artifacts:\n            file = _place",
        "test_what_was_put_is_there_and_nothing_else",
    ),
    "looks at names alone": (
        "Held.compared(artifact.sha256, held,", "Held.compared(held and artifact.sha256, held and artifact.sha256,",
        "test_other_bytes_are_seen_and_stay",
    ),
    "puts over what is there": (
        "os.link(part, file)", "os.replace(part, file); part.touch()", "test_other_bytes_are_seen_and_stay",
    ),
    "keeps one version": (
        '/ f"{name}-{ctx.version}"', "/ name", "test_versions_stand_beside_each_other",
    ),
    "leaves half a file": (
        "shutil.copyfile(ctx.artifacts[name].path, part)\n            os.link(part, file)",
        "file.touch(); import time; time.sleep(9); part.touch(); file.write_text('x')",
        "test_killed_while_it_puts_it_is_finished_by_the_next",
    ),
    "takes nothing back": (
        "_place(ctx, name).unlink(missing_ok=True)", "pass", "test_what_is_withdrawn_is_gone_or_marked",
    ),
}  # fmt: skip

LATE = "    kill_after_seconds = (4.0,)\n"
"""Of several moments one, at which the worker is at work also on a busy machine."""


class TestFolder(TargetContract):
    """The shipped one."""

    tool = Folder
    with_table = FOLDER

    def options(self, bench: Bench) -> dict[str, str]:
        (bench.folder / "shelf").mkdir(exist_ok=True)
        return {"folder": str(bench.folder / "shelf")}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_promise_is_found(tmp_path: Path, fault: str) -> None:
    good, bad, name = BROKEN[fault]
    for file, text in FILES.items():
        broken = text.replace(good, bad) if "test" not in file else text + LATE
        (tmp_path / file).write_text(broken)
    assert good in FILES["cxlocal_shelf.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x", "-rf", "-k", name],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert f"::TestShelf::{name}" in done.stdout.partition("short test summary")[2], done.stdout
