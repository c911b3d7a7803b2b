"""The shipped tools keep the contract for tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from cxlocal_plugins.local_service.process import end
from cxlocal_plugins.local_service.tool import LocalService
from cxlocal_plugins.pytest_tool import Pytest
from cxlocal_plugins.wheel import Wheel

import cxlocal.demo
from cxlocal.hooks.tool import ArtifactRef
from cxlocal.testing import Bench, ComponentContract, ToolContract


def fill(bench: Bench) -> None:
    """The demo's web shop."""
    source = Path(cxlocal.demo.__file__).with_name("webshop")
    shutil.copytree(source, bench.checkout, dirs_exist_ok=True)


def stamp(bench: Bench, version: str) -> None:
    file = bench.checkout / "pyproject.toml"
    lines = file.read_text().splitlines()
    file.write_text(
        "\n".join(
            f'version = "{version}"' if line.startswith("version") else line for line in lines
        )
    )


class TestWheel(ToolContract):
    tool = Wheel

    def prepare(self, bench: Bench) -> None:
        fill(bench)
        stamp(bench, self.versions[0])


class TestPytest(ToolContract):
    tool = Pytest
    with_table: ClassVar[dict[str, Any]] = {"paths": ["tests"]}

    def prepare(self, bench: Bench) -> None:
        fill(bench)


class TestLocalService(ComponentContract):
    tool = LocalService
    behind: ClassVar[bool] = True
    with_table: ClassVar[dict[str, Any]] = {"module": "webshop", "version_path": "/version"}

    def prepare(self, bench: Bench) -> None:
        fill(bench)

    def artifacts(self, bench: Bench, version: str) -> Mapping[str, ArtifactRef]:
        path = bench.folder / f"webshop-{version}-py3-none-any.whl"
        if not path.exists():
            stamp(bench, version)
            # Fields as a run gives them, without a handle: an earlier stage has made this.
            ran = bench.run(Wheel, "build", version=version)
            bench.ran.pop()
            shutil.move(ran.outcome.result.artifacts[0].path, path)  # type: ignore[union-attr]
            shutil.rmtree(bench.folder / f"scratch-{len(bench.ran)}")
        digest = version.replace(".", "").ljust(64, "0")
        return {"wheel": ArtifactRef(name="wheel", path=path, sha256=digest, size=1)}

    def restart(self, bench: Bench) -> None:
        end(bench.environment.folder / "web" / "front")

    def remains(self, bench: Bench, handle: Any) -> list[str]:
        """Processes whose program lies in the environment."""
        listing = subprocess.run(
            ["ps", "-ww", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True
        ).stdout
        folder = os.fspath(bench.environment.folder)
        return [line for line in listing.splitlines() if folder in line]
