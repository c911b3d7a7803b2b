"""Environments made of components, of toys: see ``toys.py``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cxlocal.testing import bench

# Here and not in a package: every test file is loaded by itself.
sys.path.insert(0, str(Path(__file__).resolve().parent))
_spec = importlib.util.spec_from_file_location(
    "cxlocal_test_runner", Path(__file__).resolve().parents[1] / "runner" / "conftest.py"
)
assert _spec is not None and _spec.loader is not None
_runner: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_runner)


class Desk(_runner.Shop):  # type: ignore[misc]
    """A deliverable whose environment is a folder of files."""

    def __init__(self, root: Path, cx: Any) -> None:
        super().__init__(root, cx)
        self.desk = root / "desk"
        self.desk.mkdir()
        self.environ["DESK"] = str(self.desk)

    @property
    def running(self) -> dict[str, str]:
        """What runs: version by id."""
        folder = self.desk / "web"
        return {one.name: one.read_text().strip() for one in sorted(folder.glob("*"))}

    @property
    def turn(self) -> int:
        """The turn that stands at the balancer."""
        return int((self.desk / "lb").read_text().split()[0])

    @property
    def weights(self) -> dict[str, int]:
        """What the balancer gives each."""
        file = self.desk / "lb"
        lines = file.read_text().split()[1:] if file.exists() else []
        return {line.partition("=")[0]: int(line.partition("=")[2]) for line in lines}

    @property
    def serving(self) -> dict[str, str]:
        """What gets traffic: version by id."""
        return {one: self.running.get(one, "is not there") for one in self.weights}

    def release(self, text: str, config: str = "", **rest: Any) -> Any:
        """Commit other bytes (and another file) and run."""
        files = {"site.txt": text, ".gitignore": "app.txt\n"}
        if config:
            self.write(config, files)
        else:
            (self.tree / "site.txt").write_text(text)
            self.push(text)
        return self.run("--no-input", **rest)


@pytest.fixture
def desk_shop(tmp_path: Path, cx: Any) -> Iterator[Desk]:
    """A fresh deliverable with a desk."""
    yield Desk(tmp_path, cx)


@pytest.fixture(scope="module")
def shared_desk(tmp_path_factory: pytest.TempPathFactory, cx: Any) -> Iterator[Desk]:
    """One for all tests of a module, which leave it as it was."""
    yield Desk(tmp_path_factory.mktemp("shared"), cx)


__all__ = ["bench"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Any]:
    """Two machines in this process, and what is outside of them."""
    from deployments import World

    made = World(tmp_path)
    yield made
    made.close()
