"""A deliverable with targets, and ways to look at them."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxlocal.hooks.tool import ArtifactRef
from cxlocal.testing import bench  # noqa: F401  (a fixture)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from indexes import pypiserver
from weather import Weather


def _load(name: str, file: Path) -> Any:
    """A module of another folder of tests, which are no packages."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_RUNNER = _load("cxlocal_test_publishing_shop", HERE.parent / "runner" / "conftest.py")
shop, tools = _RUNNER.shop, _RUNNER.tools

BUILD = """
[stages]
build = { kind = "build", command = "printf 'one %s' \\"$CXLOCAL_VERSION\\" > app.txt; printf two > doc.txt", produces = { app = "app.txt", doc = "doc.txt" } }
"""


@pytest.fixture
def publish(shop: Any) -> Callable[..., Any]:
    """Release a version with these targets, agreed to; further commands go through ``shop``."""

    def released(targets: str, *arguments: str, stages: str = "", **rest: Any) -> Any:
        shop.write(BUILD + stages + targets, {".gitignore": "app.txt\ndoc.txt\n"})
        assert not targets or shop.command("trust", "--yes").code == 0
        return shop.run(*arguments, **rest)

    return released


def wheel_of(folder: Path, version: str = "1.0.0", content: str = "ours") -> ArtifactRef:
    """A small wheel."""
    path = folder / f"webshop-{version}-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    about = (
        f"Metadata-Version: 2.1\nName: webshop\nVersion: {version}\nSummary: a shop\n\nA shop.\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("webshop.py", content)
        archive.writestr(f"webshop-{version}.dist-info/METADATA", about)
        archive.writestr(
            f"webshop-{version}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"webshop-{version}.dist-info/RECORD", "")
    return reference("wheel", path)


def package_of(folder: Path, version: str = "1.0.0", content: str = "ours") -> ArtifactRef:
    """A small package of npm."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"shop-web-{version}.tgz"
    files = {
        "package.json": json.dumps({"name": "@shop/web", "version": version}),
        "index.js": content,
    }
    with tarfile.open(path, "w:gz") as packed:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text)
            packed.addfile(info, io.BytesIO(text.encode()))
    return reference("package", path)


def reference(name: str, path: Path) -> ArtifactRef:
    """A file as a tool sees it."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return ArtifactRef(name=name, path=path, sha256=digest, size=len(content))


@pytest.fixture
def made() -> Any:
    """Makers of files, for tests: ``made.wheel(folder)``."""
    return SimpleNamespace(wheel=wheel_of, package=package_of, reference=reference)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Weather]:
    """pypiserver behind a server with moods, a new one for each module."""
    with pypiserver(tmp_path_factory.mktemp("index")) as found:
        yield found.weather
