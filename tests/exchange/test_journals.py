"""Which journal of a home a project works with, and who may write the list of agreements."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.config.agreement import agree, read
from cxlocal.errors import Refused
from cxlocal.events.document import Draft
from cxlocal.exchange.journals import Kept, Place, Wanted, choose, locate, open_for, require_own
from cxlocal.exchange.state import store_state

FIRST, SECOND = Path("journal.db"), Path("journals/x/journal.db")
A, B = "https://a.example:443", "https://b.example:443"


def kept(path: Path, address: str, *holds: str, counts: bool = False, met: bool = True) -> Kept:
    return Kept(path, address, address, "l" if met and address else "", counts, frozenset(holds))


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([], None),
        # That of the store, and of two the one that counts it.
        ([kept(FIRST, A), kept(SECOND, B)], SECOND),
        ([kept(FIRST, B), kept(SECOND, B, "shop", counts=True)], SECOND),
        # One that counts it stays with it: the deed compares the addresses.
        ([kept(FIRST, A, "shop", counts=True)], FIRST),
        ([kept(FIRST, A, "shop", counts=True), kept(SECOND, B)], FIRST),
        ([kept(FIRST, A, "shop", counts=True), kept(SECOND, B, "shop", counts=True)], SECOND),
        # Knowing it is not counting it: it left, or was only rehearsed.
        ([kept(FIRST, A, "shop"), kept(SECOND, B, "shop", counts=True)], SECOND),
        ([kept(FIRST, A, "shop")], None),
        ([kept(FIRST, A, "engine")], None),
        # One that never met a store is taken if it could tell of nothing else.
        ([kept(FIRST, "")], FIRST),
        ([kept(FIRST, "", "shop")], FIRST),
        ([kept(FIRST, "", "shop", "engine")], None),
        ([kept(FIRST, A, "shop", met=False)], FIRST),
        ([kept(FIRST, A, "engine", met=False)], None),
        ([kept(FIRST, A, met=False)], None),
    ],
)
def test_which_journal_is_chosen(found: list[Kept], chosen: Path | None) -> None:
    one = choose(found, B, "shop")
    assert (one and one.path) == chosen


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "home", os.environ, SystemClock(), SystemIds())


def note(place: Place, url: str, name: str) -> Path:
    with open_for(place, Wanted(url, name)) as journal:
        journal.append(Draft("dev.cdeventsx.cxlocal-run.flagged.0.1.0", "x", {}, {}, name))
        return journal.path


def test_each_store_has_a_journal(place: Place) -> None:
    first = note(place, A, "shop")
    assert first == place.home / "journal.db"
    second = note(place, B, "engine")
    assert second.parent.parent == place.home / "journals"
    assert note(place, "https://B.example/", "tools") == second
    assert note(place, "", "own") not in (first, second)
    assert second.stat().st_mode & 0o077 == 0 and second.parent.stat().st_mode & 0o077 == 0
    # No journal is made for an address that nobody agreed to.
    assert locate(place, Wanted("https://evil.example", "evil", agreed=False)) == first


def test_a_journal_that_met_nobody_is_shown_to_its_store_alone(place: Place) -> None:
    with open_for(place, Wanted(A, "shop")) as journal:
        assert store_state(journal.connection).url == A
        require_own(journal, place, "https://a.example")
        with pytest.raises(Refused, match="belongs to the store at"):
            require_own(journal, place, B)


def test_an_address_is_kept_without_its_password(place: Place) -> None:
    with open_for(place, Wanted("postgresql://cx:geheim@db.example/cx", "shop")) as journal:
        assert "geheim" not in store_state(journal.connection).url


def test_of_several_that_agree_at_once_none_is_lost(tmp_path: Path) -> None:
    digests = [f"sha256:{turn:064x}" for turn in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: agree(tmp_path, trusted={one: {"what": "x"}}), digests))
    assert set(read(tmp_path).trusted) == set(digests)
