"""A deliverable in a git repository with a bare remote, and ways to look at what runs recorded."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

# The kit stands beside the contract suite, and what types pages above; test folders are no packages.
TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "stores"), str(TESTS)]

from repositories import make_pair

HEAD = """\
cx = 1
[deliverable]
name = "shop"
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git; fail the test when it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


class Shop:
    """A working tree, its remote, and a home of its own."""

    def __init__(self, root: Path, cx: Any) -> None:
        self.root = root
        self.cx = cx
        self.remote = root / "remote.git"
        self.tree = root / "work"
        self.home = root / "home"
        self.environ = {"CXLOCAL_HOME": str(self.home), "CXLOCAL_ACTOR": "Ann <ann@example.org>"}
        self.tree.mkdir()
        make_pair(self.tree, self.remote)

    def write(self, config: str, files: Mapping[str, str] | None = None) -> None:
        """Write files and cx.toml, commit, push."""
        for name, content in {**(files or {}), "cx.toml": HEAD + config}.items():
            path = self.tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.push("a change")

    def git(self, *arguments: str) -> str:
        """Run git in the working tree."""
        return git(self.tree, *arguments)

    def push(self, message: str) -> None:
        """Commit everything and push it."""
        git(self.tree, "add", "-A")
        git(self.tree, "commit", "-q", "--allow-empty", "-m", message)
        git(self.tree, "push", "-q", "origin", "HEAD:main")

    def run(self, *arguments: str, env: Mapping[str, str | None] | None = None, **rest: Any) -> Any:
        """``cxlocal run``."""
        return self.command("run", *arguments, env=env, **rest)

    def command(
        self, *arguments: str, env: Mapping[str, str | None] | None = None, **rest: Any
    ) -> Any:
        """Any command, in the working tree."""
        return self.cx(*arguments, cwd=self.tree, env={**self.environ, **(env or {})}, **rest)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """``cxlocal run``, not waited for."""
        return subprocess.Popen(
            [self.cx.program, *arguments],
            cwd=self.tree,
            env={**os.environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def query(self, sql: str, *parameters: object) -> list[Any]:
        """Rows of the journal, single columns as plain values."""
        with sqlite3.connect(self.home / "journal.db") as connection:
            rows = connection.execute(sql, parameters).fetchall()
        return [row[0] if len(row) == 1 else row for row in rows]

    def outcomes(self) -> dict[str, str]:
        """Stages of the newest run with the outcome of their last attempt."""
        rows = self.query(
            "SELECT stage, outcome FROM stage_run WHERE run = ? ORDER BY attempt", self.last()
        )
        return dict(rows)

    def last(self) -> str:
        """The newest run."""
        found = self.query("SELECT id FROM run ORDER BY queued_at DESC, rowid DESC LIMIT 1")
        return str(found[0])

    def log(self, stage: str) -> str:
        """The first log of a stage in the newest run."""
        return (self.home / "logs" / self.last() / f"{stage}.log").read_text(errors="replace")


@pytest.fixture
def shop(tmp_path: Path, cx: Any) -> Iterator[Shop]:
    """A fresh deliverable."""
    yield Shop(tmp_path, cx)


@pytest.fixture
def tools(shop: Shop) -> Callable[[str], None]:
    """Put tools into the project (``.cx/plugins/kit.py``) and trust them in every command."""

    def add(source: str) -> None:
        folder = shop.tree / ".cx" / "plugins"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kit.py").write_text(source)
        digest = subprocess.run(
            [
                sys.executable,
                "-c",
                (
                    "import sys; from pathlib import Path; from cxlocal.hooks.trust import"
                    " project_digest; print(project_digest(Path(sys.argv[1])))"
                ),
                str(folder),
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        shop.environ["CXLOCAL_TRUST"] = digest

    return add
