"""A deliverable whose cx.toml names sinks, and what it takes to look at them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from receivers import Http, Tcp
from recorder import Recorder

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n'
STAGES = """\
[stages]
build = { kind = "build", command = "cat lines.txt", produces = { app = "lines.txt" } }
unit = { needs = ["build"], command = "for i in 1 2 3; do echo unit $i; done" }
"""


@pytest.fixture
def shop(tmp_path: Path, cx: Any) -> Shop:
    """See ``Shop``."""
    return Shop(tmp_path, cx)


class Shop:
    """A pushed repository, a home, and its commands."""

    def __init__(self, root: Path, cx: Any) -> None:
        self.root = root
        self.home = root / "home"
        self.environ = {"CXLOCAL_HOME": str(self.home), "CXLOCAL_ACTOR": "Ann <ann@example.org>"}
        self.tree = root / "work"
        self._cx = cx

    def begin(
        self, sinks: str, *, lines: int = 20, trusted: bool = True, stages: str = STAGES
    ) -> None:
        """Make it, with these lines in ``[sinks]``."""
        self.tree.mkdir(exist_ok=True)
        (self.tree / "cx.toml").write_text(HEAD + stages + "[sinks]\n" + sinks)
        written = "".join(f"line {number}\n" for number in range(1, lines + 1))
        (self.tree / "lines.txt").write_text(written)
        remote = str(self.root / "remote.git")
        for words in (
            ["init", "-q", "--bare", remote], ["init", "-q", "."], ["add", "-A"],
            ["commit", "-q", "-m", "one"], ["remote", "add", "origin", remote],
            ["push", "-q", "-u", "origin", "HEAD:main"],
        ):  # fmt: skip
            subprocess.run(["git", *words], cwd=self.tree, check=True, capture_output=True)
        if trusted:
            self.ok("trust", "--yes")

    def __call__(self, *arguments: str, **rest: Any) -> Any:
        rest["env"] = {**self.environ, **rest.pop("env", {})}
        return self._cx(*arguments, cwd=self.tree, **rest)

    def ok(self, *arguments: str, **rest: Any) -> Any:
        """It has to succeed."""
        done = self(*arguments, **rest)
        assert done.code == 0, f"{arguments}: {done.code}\n{done.err}\n{done.out}"
        return done

    def run(self, **rest: Any) -> Any:
        """A release."""
        return self.ok("run", "--no-input", **rest)


@pytest.fixture
def tcp() -> Iterator[Tcp]:
    """A receiver of lines."""
    made = Tcp()
    yield made
    made.close()


@pytest.fixture
def http() -> Iterator[Http]:
    """A receiver of requests."""
    made = Http()
    yield made
    made.close()


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    """A journal and who writes runs into it."""
    made = Recorder(tmp_path)
    yield made
    made.journal.close()
