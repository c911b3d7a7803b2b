"""A full and an empty journal, and the pages over them."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from cxlocal.commands.browse import make_datasette
from cxlocal.journal.file import Journal

TESTS = Path(__file__).resolve().parents[1]


def load(name: str, path: Path) -> ModuleType:
    """A helper module of the tests, which are no packages."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Answer(NamedTuple):
    status: int
    text: str
    json: Any

    @property
    def words(self) -> str:
        """What is read on a page of ours: text without markup, spaces in one."""
        body = re.sub("</t[dh]>", " ", self.text[self.text.index("<main") :])
        text = re.sub(r"<(title|desc)\b[^>]*>.*?</\1>", " ", body)
        return " ".join(unescape(re.sub(r"<[^>]+>", "", text)).split())


class Pages:
    """A Datasette over one journal, asked without a server."""

    def __init__(self, path: Path) -> None:
        self.datasette = make_datasette({path: "sqlite:"})

    def get(self, *addresses: str) -> list[Answer]:
        """All answers, in order."""
        return asyncio.run(self._get(addresses))

    def one(self, address: str) -> Answer:
        return self.get(address)[0]

    async def _get(self, addresses: tuple[str, ...]) -> list[Answer]:
        await self.datasette.invoke_startup()
        answers = []
        for address in addresses:
            got = await self.datasette.client.get(address, follow_redirects=True)
            is_json = got.headers.get("content-type", "").startswith("application/json")
            answers.append(Answer(got.status_code, got.text, got.json() if is_json else None))
        return answers


@pytest.fixture(scope="session")
def journals() -> ModuleType:
    """``tests/journals.py``."""
    return load("cxlocal_test_journals", TESTS / "journals.py")


@pytest.fixture(scope="session")
def pages_script() -> ModuleType:
    """``tests/browse/pages.py``."""
    return load("cxlocal_test_pages", TESTS / "browse" / "pages.py")


@pytest.fixture(scope="session")
def full_file(journals: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The full journal's file, for tests that only read."""
    folder = tmp_path_factory.mktemp("full")
    journals.build_full_journal(folder).close()
    return folder / "journal.db"


@pytest.fixture
def full_copy(full_file: Path, tmp_path: Path) -> Path:
    """A copy of it, for tests that write."""
    copy = tmp_path / "copy" / "journal.db"
    copy.parent.mkdir()
    shutil.copy(full_file, copy)
    return copy


@pytest.fixture(scope="session")
def empty_file(journals: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    journals.open_journal(folder, journals.HandClock()).close()
    return folder / "journal.db"


@pytest.fixture
def full_journal(full_copy: Path, journals: ModuleType) -> Iterator[Journal]:
    """The full journal, opened by a clock a week later."""
    clock = journals.HandClock(journals.START_MS + 7 * journals.DAY_MS)
    with journals.open_journal(full_copy.parent, clock) as journal:
        yield journal


@pytest.fixture(scope="session")
def full_pages(full_file: Path) -> Pages:
    return Pages(full_file)


@pytest.fixture(scope="session")
def empty_pages(empty_file: Path) -> Pages:
    return Pages(empty_file)


@pytest.fixture(scope="session")
def pictured() -> ModuleType:
    """``tests/browse/pictured.py``."""
    return load("cxlocal_test_pictured", TESTS / "browse" / "pictured.py")


def built(folders: pytest.TempPathFactory, name: str, build: Callable[[Path], Journal]) -> Path:
    """The file of a journal that is built and closed."""
    folder = folders.mktemp(name)
    build(folder).close()
    return folder / "journal.db"


@pytest.fixture(scope="session")
def small_file(
    pictured: ModuleType, journals: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return built(tmp_path_factory, "small", lambda folder: pictured.build_small(journals, folder))


@pytest.fixture(scope="session")
def hostile_file(
    pictured: ModuleType, journals: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return built(
        tmp_path_factory, "hostile", lambda folder: pictured.build_hostile(journals, folder)
    )


@pytest.fixture(scope="session")
def outage_file(
    pictured: ModuleType, journals: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return built(tmp_path_factory, "outage", lambda folder: pictured.build_outage(journals, folder))


@pytest.fixture(scope="session")
def open_file(
    pictured: ModuleType, journals: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A journal with a run that is under way now."""
    now_ms = int(time.time() * 1000)
    return built(
        tmp_path_factory, "open", lambda folder: pictured.build_open(journals, folder, now_ms)
    )


@pytest.fixture(scope="session")
def outage(outage_file: Path) -> Pages:
    return Pages(outage_file)


@pytest.fixture(scope="session")
def small(small_file: Path) -> Pages:
    return Pages(small_file)


@pytest.fixture(scope="session")
def hostile(hostile_file: Path) -> Pages:
    return Pages(hostile_file)


@pytest.fixture
def make_pages() -> Callable[[Path], Pages]:
    return Pages
