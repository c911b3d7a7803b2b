"""Source archives from the package registries, fetched once a session, and repositories of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from archives import debian, npm, pushed, pypi, unpacked


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``archives("pypi")`` and so on: the archive of one real project per registry."""
    folder = tmp_path_factory.mktemp("archives")
    ways: dict[str, Callable[[], Path]] = {
        "pypi": lambda: pypi("colorama", "0.4.6", folder),
        "npm": lambda: npm("concat-map", "0.0.1", folder),
        "debian": lambda: debian("figlet", folder),
    }
    found: dict[str, Path] = {}

    def get(registry: str) -> Path:
        if registry not in found:
            found[registry] = ways[registry]()
        return found[registry]

    return get


@pytest.fixture
def repository(archives: Callable[[str], Path], tmp_path: Path) -> Callable[[str, str], Path]:
    """A pushed git repository of an archive's content and a cx.toml, and nothing else."""

    def make(registry: str, cx_toml: str) -> Path:
        folder = unpacked(archives(registry), tmp_path / "unpacked")
        (folder / "cx.toml").write_text(cx_toml)
        pushed(folder, tmp_path / "remote.git")
        return folder

    return make
