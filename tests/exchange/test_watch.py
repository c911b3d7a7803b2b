"""``cxlocal sync --watch``: goes on by itself, says what moved, ends cleanly."""

from __future__ import annotations

import os
import queue
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numbers_kit import open_journal

from cxlocal.events.document import Draft


class Watcher:
    """A running ``cxlocal sync --watch``."""

    def __init__(self, program: str, folder: Path, env: dict[str, str], *more: str) -> None:
        self.process = subprocess.Popen(
            [program, "sync", "--watch", "--every", "1s", *more],
            cwd=folder, env={**os.environ, **env}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip())

    def line(self, word: str) -> str:
        """The next line with ``word`` in it; lines before it are passed over."""
        deadline = time.monotonic() + 20
        while True:
            found = self._lines.get(timeout=max(0.01, deadline - time.monotonic()))
            if word in found:
                return found

    def silent(self, seconds: float) -> bool:
        """Whether it says nothing for so long."""
        try:
            self._lines.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


class Fleet:
    """Machines that share a store and need no repository."""

    def __init__(self, cx: Any, root: Path) -> None:
        self.cx, self.root = cx, root
        self.store = root / "shared" / "store.db"
        self.watchers: list[Watcher] = []
        assert self("founder", "store", "create", f"sqlite://{self.store}").code == 0

    def env(self, name: str) -> dict[str, str]:
        return {"CXLOCAL_HOME": str(self.root / name), "CXLOCAL_STORE": f"sqlite://{self.store}"}

    def __call__(self, name: str, *arguments: str) -> Any:
        return self.cx(*arguments, cwd=self.root, env=self.env(name))

    def watch(self, name: str, *more: str) -> Watcher:
        watcher = Watcher(self.cx.program, self.root, self.env(name), *more)
        self.watchers.append(watcher)
        return watcher

    def record(self, name: str) -> None:
        """An event on a machine."""
        journal = open_journal(self.root / name)
        kind = "dev.cdeventsx.cxlocal-run.flagged.0.1.0"
        journal.append(Draft(kind, "s", {}, {}, "shop"))
        journal.close()

    def events(self, name: str) -> int:
        connection = sqlite3.connect(self.root / name / "journal.db", timeout=5)
        found = connection.execute("SELECT count(*) FROM event").fetchone()[0]
        connection.close()
        return int(found)

    def contacts(self, name: str) -> int:
        connection = sqlite3.connect(self.root / name / "journal.db", timeout=5)
        found = connection.execute("SELECT max(token_count) FROM contact").fetchone()[0]
        connection.close()
        return int(found)


@pytest.fixture
def fleet(cx: Any, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(cx, tmp_path)
    yield made
    for watcher in made.watchers:
        if watcher.process.poll() is None:
            watcher.process.kill()
            watcher.process.wait()
        assert watcher.process.stdout is not None
        watcher.process.stdout.close()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_is_recorded_arrives_by_itself(fleet: Fleet) -> None:
    here, there = fleet.watch("here"), fleet.watch("there")
    fleet.record("here")
    assert " events sent" in here.line("sent")
    there.line(" received")
    until(lambda: fleet.events("here") == fleet.events("there"))
    # The journal stays free for others while it is watched.
    fleet.record("there")
    here.line(" received")
    for watcher in (here, there):
        assert watcher.end() == 0
        watcher.line("Ended.")
    assert fleet("here", "verify").code == fleet("there", "verify").code == 0


def test_p18_idle_rounds_say_and_change_nothing(fleet: Fleet) -> None:
    fleet.record("here")
    watcher = fleet.watch("here")
    watcher.line("sent")
    count, contacts = fleet.events("here"), fleet.contacts("here")
    assert watcher.silent(3)
    assert fleet.contacts("here") > contacts, "it went on asking"
    assert fleet.events("here") == count
    assert watcher.end(signal.SIGINT) == 0


def test_a_store_that_goes_and_comes_is_said_once_each(fleet: Fleet) -> None:
    fleet.record("here")
    watcher = fleet.watch("here", "--json")
    watcher.line('"reached": true')
    away = fleet.store.parent.with_name("away")
    fleet.store.parent.rename(away)
    assert '"reached": false' in watcher.line("reached")
    fleet.record("here")
    assert watcher.silent(3), "said once"
    away.rename(fleet.store.parent)
    assert '"pushed": 1' in watcher.line('"reached": true')
    assert watcher.end() == 0


def test_a_second_signal_ends_at_once(fleet: Fleet) -> None:
    fleet.record("here")
    watcher = fleet.watch("here")
    watcher.line("sent")
    watcher.process.send_signal(signal.SIGSTOP)
    watcher.process.send_signal(signal.SIGTERM)
    watcher.process.send_signal(signal.SIGCONT)
    assert watcher.process.wait(10) in (0, -signal.SIGTERM)
    assert fleet("here", "verify").code == 0


def test_a_journal_that_is_replaced_ends_the_watch(fleet: Fleet) -> None:
    fleet.record("here")
    watcher = fleet.watch("here")
    watcher.line("sent")
    (fleet.root / "here" / "journal.db").rename(fleet.root / "moved.db")
    assert watcher.process.wait(20) not in (0, None)


@pytest.mark.parametrize(
    "options",
    [["--watch", "--require-sync"], ["--watch", "--every", "often"]],
    ids=["require", "often"],
)
def test_options_that_make_no_sense_are_refused(options: list[str], fleet: Fleet) -> None:
    assert fleet("here", "sync", *options).code == 2
