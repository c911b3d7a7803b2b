"""The contract of targets finds what it is for, and the shipped folder keeps it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cxlocal_plugins.targets.folder import Folder

from cxlocal.hooks.new_plugin import new_plugin
from cxlocal.testing import Bench, TargetContract

pytestmark = pytest.mark.slow

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
        # Whole in the end, if it is not killed before.
        "file.touch(); import time; time.sleep(9); part.touch(); shutil.copyfile(ctx.artifacts[name].path, file)",
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


@pytest.mark.timeout(120)  # each promise is tried by the workers that a real test has
def test_a_broken_promise_is_found(tmp_path: Path) -> None:
    """All of them in one process of pytest, whose start would cost more than the rest."""
    wanted = {}
    for number, (fault, (good, bad, name)) in enumerate(BROKEN.items()):
        files = new_plugin(f"shelf{number}", "target")
        module = f"cxlocal_shelf{number}.py"
        assert good in files[module]
        (tmp_path / module).write_text(files[module].replace(good, bad))
        (tmp_path / f"test_{module}").write_text(files[f"test_{module}"] + LATE)
        wanted[f"test_{module}::TestShelf{number}::{name}"] = fault
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", *wanted],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    failed = set(re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE))
    assert [fault for test, fault in wanted.items() if test not in failed] == [], done.stdout
