"""``cxlocal plugins new``: what it writes is a tool, and keeps the contract as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import UsageError
from cxlocal.hooks.new_tool import new_tool


def test_what_is_written_passes_its_test(tmp_path: Path, cx: Any) -> None:
    cx.ok("plugins", "new", "my-tool", cwd=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cxlocal_my_tool.py", "test_cxlocal_my_tool.py",
    ]  # fmt: skip
    again = cx("plugins", "new", "my-tool", cwd=tmp_path)
    assert again.code == 2 and "is there already" in again.err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_cxlocal_my_tool.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "16 passed" in done.stdout, done.stdout


def test_a_wrong_name_writes_nothing(tmp_path: Path, cx: Any) -> None:
    for words in (("new", "My Tool"), ("new", "../x"), ("wheel", "pytest")):
        assert cx("plugins", *words, cwd=tmp_path).code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a--b", "a.b", "é"])
def test_names(name: str) -> None:
    with pytest.raises(UsageError):
        new_tool(name)
    assert set(new_tool("a-b2")) == {"cxlocal_a_b2.py", "test_cxlocal_a_b2.py"}
