"""The folder of a machine that has no id of its own: one, for good, whoever asks first."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import cxlocal.journal.whereabouts
from cxlocal.clock import SystemIds
from cxlocal.errors import Trouble
from cxlocal.journal.home import machine_folder


@pytest.fixture(autouse=True)
def no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cxlocal.journal.whereabouts, "machine_id", lambda: "")


def test_it_stays_the_same(tmp_path: Path) -> None:
    first = machine_folder(tmp_path / "data", SystemIds())
    assert [machine_folder(tmp_path / "data", SystemIds()) for _ in range(3)] == [first] * 3
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["machine-id"]


def test_those_that_begin_together_agree(tmp_path: Path) -> None:
    found: list[str] = []
    barrier = threading.Barrier(8)

    def ask() -> None:
        barrier.wait()
        found.append(machine_folder(tmp_path, SystemIds()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"not an id", b"0123"])
def test_a_damaged_one_is_named_and_nothing_begins_beside_it(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "machine-id").write_bytes(content)
    with pytest.raises(Trouble) as caught:
        machine_folder(tmp_path, SystemIds())
    assert caught.value.name == "machine-id-damaged"
    assert (tmp_path / "machine-id").read_bytes() == content
