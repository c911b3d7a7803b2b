"""A home folder that cannot be written, and a setting of it that can be no folder.

Permissions do not bind the superuser, so the folder is read-only by a mount that only the command
sees.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

BUILD = '[stages]\nbuild = { command = "touch $HOME/ran" }\n'
READ_ONLY = 'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
COMMANDS: Sequence[tuple[str, ...]] = (
    ("run",), ("rehearse",), ("run", "start"), ("run", "--dry-run"), ("status",), ("log",),
    ("show",), ("sync",), ("doctor",), ("browse", "--no-open"), ("sql", "SELECT 1"),
    ("version", "list"), ("verify",), ("journal", "path"), ("journal", "rebuild"), ("prune",),
    ("env", "list"), ("mirror", "list"), ("prepare",), ("store", "status"), ("export",),
    ("plugins",),
)  # fmt: skip


def while_read_only(shop: Any, folder: Path, *arguments: str) -> Any:
    """Run a command while nobody can write in ``folder``."""
    program, shop.cx.program = shop.cx.program, "unshare"
    try:
        words = ("--mount", "sh", "-c", READ_ONLY, str(folder), program)
        return shop.command(*words, *arguments)
    finally:
        del shop.cx.program


@pytest.mark.needs("unshare")
@pytest.mark.parametrize("command", ["run", "rehearse"])
@pytest.mark.parametrize("begun", [False, True], ids=["an empty folder", "a journal in it"])
def test_a_home_that_cannot_be_written_is_said_with_the_way_out(
    shop: Any, home: Path, command: str, begun: bool
) -> None:
    shop.write(BUILD)
    shop.home.mkdir()
    if begun:
        assert shop.command("sync").code == 0
    result = while_read_only(shop, shop.home, command)
    assert result.code == 9, result.err
    what, why, hint = result.err.strip().splitlines()[-3:]
    assert what.startswith("Error: the ") and what.endswith(" cannot be written")
    assert str(shop.home) in why
    assert "CXLOCAL_HOME" in hint and "cx.local.toml" in hint
    assert "--debug" not in result.err
    assert not (home / "ran").exists()


@pytest.mark.needs("unshare")
def test_looking_works_in_a_home_that_cannot_be_written(shop: Any) -> None:
    shop.write(BUILD)
    assert shop.run().code == 0
    for command in ("status", "log", "show", "verify"):
        result = while_read_only(shop, shop.home, command)
        assert result.code == 0, f"{command}: {result.err}"
    doctor = while_read_only(shop, shop.home, "doctor")
    assert "read-only for this user" in doctor.out
    assert "Ready for an offline release: no" in doctor.err


@pytest.mark.parametrize("below", ["", "/below/it"], ids=["a file", "below a file"])
def test_a_home_that_is_a_file_is_refused_by_every_command(shop: Any, below: str) -> None:
    shop.write(BUILD)
    shop.home.write_text("a file")
    shop.environ["CXLOCAL_HOME"] += below
    for arguments in COMMANDS:
        result = shop.command(*arguments)
        assert result.code == 2, f"{arguments}: {result.err}"
        why, hint = result.err.strip().splitlines()[-2:]
        assert why == f"CXLOCAL_HOME is or lies below {shop.home}, which is not a folder"
        assert "set CXLOCAL_HOME to a folder" in hint
    assert shop.home.read_text() == "a file"


def test_a_stage_runs_without_a_home_and_warns(shop: Any, home: Path) -> None:
    shop.write(BUILD)
    shop.home.write_text("a file")
    result = shop.command("stage", "build", "--", "touch", str(home / "stepped"))
    assert result.code == 0
    assert "CXLOCAL_HOME is or lies below" in result.err
    assert (home / "stepped").exists()


def test_the_file_that_names_the_folder_is_named(shop: Any) -> None:
    shop.write(BUILD)
    (shop.tree / "afile").write_text("a file")
    local = shop.tree / "cx.local.toml"
    local.write_text(f"home = {json.dumps('afile')}\n")
    shop.command("trust", "--yes", env={"CXLOCAL_HOME": None})
    result = shop.command("log", env={"CXLOCAL_HOME": None})
    assert result.code == 2
    assert f"'home' in {local} is or lies below {shop.tree / 'afile'}" in result.err


def test_a_folder_that_cannot_be_made_is_said_with_the_way_out(shop: Any) -> None:
    shop.write(BUILD)
    result = shop.run(env={"CXLOCAL_HOME": "/proc/nothing/can/be/made/here"})
    assert result.code == 9
    assert "cannot be made" in result.err
    assert "cx.local.toml" in result.err
