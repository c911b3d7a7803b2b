"""The drill: machines and a server on a network whose cables can be pulled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

# Test folders are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from company import Company
from network import Network, NoNamespaces


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect these tests where the kernel gives no namespaces: a right that no package brings.
    pytest's last line counts what was deselected."""
    here = Path(__file__).parent
    gone = [item for item in items if here in item.path.parents]
    if not gone or _namespaces_can_be_made():
        return
    config.hook.pytest_deselected(items=gone)
    items[:] = [item for item in items if item not in gone]


def _namespaces_can_be_made() -> bool:
    with TemporaryDirectory() as folder:
        try:
            Network(Path(folder), ["machine"]).close()
        except NoNamespaces:
            return False
    return True


@pytest.fixture(scope="session")
def all_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Company]:
    """A served store and two enrolled machines, ``laptop`` and ``build``, for all tests."""
    folder = tmp_path_factory.mktemp("company")
    network, why = None, ""
    try:
        network = Network(folder, ["laptop", "build"])
    except NoNamespaces as error:
        why = f"no network of namespaces can be made here: {error}"
    if network is None:
        pytest.fail(why, pytrace=False)
    made = None
    try:
        made = Company(network, folder)
        yield made
    finally:
        if made is not None:
            made.stop()
        network.close()


@pytest.fixture
def company(all_day: Company) -> Company:
    """The company, everything plugged in and level."""
    if not all_day.settled:
        all_day.level()
    all_day.settled = False
    return all_day
