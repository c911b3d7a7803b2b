"""A long history takes time to check and to rebuild, and no more memory than a short one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SHORT, LONG = 120, 1500
"""Releases."""
MEMORY_MIB_MAX = 12.0
"""What the caches of SQLite may still fill up with: eight for the rows made anew, two for the file."""


def write_history(folder: Path, releases: int, kit: ModuleType) -> int:
    machine = kit.Machine(folder, kit.HandClock(), "laptop")
    connection = machine.journal.connection
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA journal_mode=MEMORY").fetchall()
    for number in range(releases):
        machine.run(f"run {number}").take(number).stage("build").package().tests().end()
    (events,) = connection.execute("SELECT count(*) FROM event").fetchone()
    machine.journal.close()
    return int(events)


def peak_mib(home: Path, command: tuple[str, ...]) -> float:
    """The most memory that a command takes."""
    program = Path(sys.executable).with_name("cxlocal")
    child = subprocess.Popen(
        [program, *command],
        env={**os.environ, "CXLOCAL_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, code, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(code)
    assert child.returncode == 0
    return used.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024)


@pytest.fixture(scope="module")
def homes(
    tmp_path_factory: pytest.TempPathFactory, journals: ModuleType
) -> tuple[tuple[Path, int], tuple[Path, int]]:
    """A home with a short history and one with a long one; how many events are in each."""
    folder = tmp_path_factory.mktemp("histories")
    short, long = (
        (folder / str(size), write_history(folder / str(size), size, journals))
        for size in (SHORT, LONG)
    )
    return short, long


@pytest.mark.parametrize("command", [("verify",), ("journal", "rebuild")], ids=" ".join)
def test_memory_does_not_grow_with_history(
    homes: tuple[tuple[Path, int], tuple[Path, int]], command: tuple[str, ...]
) -> None:
    (short_home, short), (long_home, long) = homes
    assert long - short > 10_000
    grown = peak_mib(long_home, command) - peak_mib(short_home, command)
    assert grown < MEMORY_MIB_MAX, f"{grown:.1f} MiB more for {long - short} events more"


@pytest.mark.parametrize(
    ("command", "what"),
    [(("verify",), ["checked"]), (("journal", "rebuild"), ["projected", "checked"])],
    ids=["verify", "rebuild"],
)
def test_a_terminal_shows_how_far_it_is(
    homes: tuple[tuple[Path, int], tuple[Path, int]],
    cx: Any,
    command: tuple[str, ...],
    what: list[str],
) -> None:
    home, events = homes[0]
    variables = {"CXLOCAL_HOME": str(home)}
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        child = subprocess.Popen(
            [cx.program, *command],
            env={**os.environ, **variables, "TERM": "xterm"},
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = terminal.read(4096)
            except OSError:  # Linux: everybody at the other end has gone
                break
            if not piece:
                break
            said += piece
        assert child.wait() == 0
    for each in what:
        told = re.findall(rf"(\d+) of (\d+) events {each}", said.decode())
        seen = [int(done) for done, _ in told]
        assert len(seen) > 1 and seen == sorted(seen) and seen[-1] == events
        assert {int(total) for _, total in told} == {events}
    assert f" of {events} events" not in cx.ok(*command, env=variables).err
