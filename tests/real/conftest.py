"""Source archives from the package registries, fetched once a session, and repositories of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "real"), str(TESTS), str(TESTS / "stores")]

from archives import debian, npm, pushed, pypi, unpacked

WAYS: dict[str, Callable[..., Path]] = {"pypi": pypi, "npm": npm, "debian": debian}


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """``archive("pypi", "colorama 0.4.6")``: the file, from the registry's own client."""
    folder = tmp_path_factory.mktemp("archives")
    found: dict[tuple[str, str], Path] = {}

    def get(registry: str, what: str) -> Path:
        if (registry, what) not in found:
            found[registry, what] = WAYS[registry](*what.split(), folder)
        return found[registry, what]

    return get


@pytest.fixture
def repository(
    archive: Callable[[str, str], Path], tmp_path: Path
) -> Callable[[Sequence[tuple[str, str, str]]], Path]:
    """A pushed git repository of the content of archives, each in its folder, and nothing else.

    Of one archive the repository is what it holds, by the name that its folder has there.
    """

    def make(sources: Sequence[tuple[str, str, str]]) -> Path:
        together = tmp_path / "together"
        for turn, (registry, what, place) in enumerate(sources):
            content = unpacked(archive(registry, what), tmp_path / f"unpacked-{turn}")
            if not place:
                together = content
                break
            (together / place).parent.mkdir(parents=True, exist_ok=True)
            content.rename(together / place)
        pushed(together, tmp_path / "remote.git")
        return together

    return make
