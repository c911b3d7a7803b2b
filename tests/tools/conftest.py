"""Real programs for the tools: one engine and one registry for all tests of a worker."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# The kits stand beside the tests; test folders are no packages.
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[1] / "stores")]

from engine_kit import Engine, Registry
from postgresql_kit import Databases
from webshop_kit import Place, Story


def _load(name: str, path: Path) -> Any:
    """A conftest of another folder, whose fixtures are wanted here too."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


project = _load("cxlocal_test_shop", Path(__file__).parents[1] / "runner" / "conftest.py").shop


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """podman and buildah that know no other images and containers than ours."""
    made = Engine(tmp_path_factory.mktemp("engine"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that takes everything from everybody."""
    made = Registry(tmp_path_factory.mktemp("registry"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Databases]:
    """A server that takes every password."""
    made = Databases()
    yield made
    made.close()


@pytest.fixture(scope="session")
def place(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, registry: Registry
) -> Iterator[Place]:
    """What the example needs before its first release."""
    made = Place(tmp_path_factory.mktemp("place"), engine, registry)
    yield made
    made.close()


@pytest.fixture
def story(project: Any, place: Place) -> Iterator[Story]:
    """The example, before anything was released."""
    place.forget()
    yield Story(project, place)
    place.clear()
