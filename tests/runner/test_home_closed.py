"""The home is its owner's alone, whoever made it and whatever the umask."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

BUILD = """[stages]
build = { command = "echo 1 > app.txt", produces = { app = "app.txt" } }
"""


@pytest.mark.parametrize(("umask", "made"), [(0o000, 0o755), (0o022, None), (0o077, 0o777)])
def test_nobody_else_reads_the_home(
    shop: Any, tmp_path: Path, umask: int, made: int | None
) -> None:
    home = tmp_path / "there" / "home"
    if made is not None:
        home.mkdir(parents=True)
        home.chmod(made)
    person = tmp_path / "person"
    person.mkdir()
    shop.write(BUILD)
    shop.push("one")
    before = os.umask(umask)
    try:
        surroundings = {"CXLOCAL_HOME": str(home), "HOME": str(person), "XDG_STATE_HOME": None}
        done = shop.run(env=surroundings)
    finally:
        os.umask(before)
    assert done.code == 0, done.err
    bytes_of_artifacts = {"blobs", "artifacts"}
    for path in (home, *home.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        # Deployments copy artifacts with their modes; the folders around them are closed.
        copied = path.is_file() and path.relative_to(home).parts[0] in bytes_of_artifacts
        assert mode == 0o644 if copied else not mode & 0o077, (path, oct(mode))
    witnesses = [path for path in (person / ".local").rglob("*") if "cxlocal" in path.parts]
    assert any(path.is_file() for path in witnesses)
    for path in witnesses:
        assert not stat.S_IMODE(path.lstat().st_mode) & 0o077, path
