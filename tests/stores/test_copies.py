"""Copies and restored backups of a machine, over every store: noticed, and nothing is lost (P9, P10).

Numbers in brackets are those of docs/faults.md.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cxlocal_sync.stores.sqlite
import pytest
from numbers_kit import ACTOR, open_journal, request

import cxlocal.exchange.contact
import cxlocal.exchange.copies
from cxlocal.allocation.allocator import obtain_number
from cxlocal.bundles.intake import take_bundle
from cxlocal.bundles.reader import look
from cxlocal.bundles.writer import ALL, pack
from cxlocal.domain import NumberState
from cxlocal.errors import Refused
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.copies import journal_was_moved
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import explain, ledger

Machine = Callable[..., Journal]


@pytest.fixture
def copy_of(tmp_path: Path) -> Iterator[Callable[..., Journal]]:
    """Copies the home of a machine and opens what was copied."""
    opened: list[Journal] = []

    def make(journal: Journal, name: str) -> Journal:
        shutil.copytree(journal.home, tmp_path / name)
        opened.append(open_journal(tmp_path / name))
        return opened[-1]

    yield make
    for journal in opened:
        journal.close()


def level(store: Any, *journals: Journal) -> None:
    """Exchange until nobody has news for anybody."""
    for _ in range(3):
        for journal in journals:
            assert synchronise(journal, store, use_breaker=False, budget_seconds=20).reached


def note(journal: Journal, text: str) -> None:
    journal.append(run_flagged(kind="note", subject="s", text=text))


def events(journal: Journal) -> list[Any]:
    rows = journal.query(
        "SELECT n.name AS node, e.sequence, hex(e.hash) AS hash FROM event e"
        " JOIN node_lookup n ON n.id = e.node ORDER BY 1, 2, 3"
    )
    return [tuple(row.values()) for row in rows]


def fates(journal: Journal) -> list[Any]:
    return [span[:3] for span in ledger(journal, "webshop", "2.7")]


def agree(*journals: Journal) -> None:
    """All have the same events and tell the same of every number, and each chain verifies."""
    for journal in journals:
        assert events(journal) == events(journals[0])
        assert fates(journal) == fates(journals[0])
        assert verify(journal).findings == []
        # Honest copies leave nothing behind that somebody has to settle.
        assert journal.query("SELECT * FROM disputed") == []


def test_p9_a_copy_and_its_original_both_online(
    any_store: Any, machine: Machine, copy_of: Any
) -> None:
    """[15] The one that comes second goes on under a new id; what both did is kept by all."""
    laptop, other = machine(), machine("other")
    obtain_number(laptop, any_store, request("r0"))
    level(any_store, laptop, other)
    copy = copy_of(laptop, "copy")
    note(copy, "at the copy")
    note(laptop, "at the laptop")
    node = laptop.node
    numbers = [
        obtain_number(journal, any_store, request(run)).number
        for journal, run in ((laptop, "r1"), (copy, "r2"), (laptop, "r3"), (copy, "r4"))
    ]
    assert numbers == [1, 2, 3, 4]
    assert laptop.node == node != copy.node
    level(any_store, laptop, copy, other)
    agree(laptop, copy, other)
    texts = other.query(
        "SELECT count(*) AS n FROM event WHERE document ->> '$.customData.cxlocal.text'"
        " IN ('at the copy', 'at the laptop')"
    )
    assert texts[0]["n"] == 2, "nothing is lost"
    spans = [(held.lo, held.hi) for journal in (laptop, copy) for held in reserves(journal)]
    assert len(spans) == len(set(spans)) == 2, "each holds a reserve of its own"


def test_p10_both_copies_spend_one_reserve_while_they_are_offline(
    any_store: Any, machine: Machine, copy_of: Any
) -> None:
    """[16] The copy is locked, as it lies elsewhere. A person who vouches for it all the same leads
    to one number in two runs, which everybody is shown."""
    laptop, other = machine(), machine("other")
    obtain_number(laptop, any_store, request("r0"))
    level(any_store, laptop, other)
    copy = copy_of(laptop, "copy")
    with pytest.raises(Refused, match="locked"):
        obtain_number(copy, None, request("copy-night"))
    journal_was_moved(copy, "it was not", ACTOR)
    number = obtain_number(copy, None, request("copy-night")).number
    assert number is not None
    assert obtain_number(laptop, None, request("night")).number == number
    level(any_store, laptop, copy, other)
    agree(laptop, copy, other)
    for journal in (laptop, copy, other):
        told = explain(journal, "webshop", "2.7", number)
        assert told.state == NumberState.CONFLICTED
    runs = other.query("SELECT run FROM version WHERE number = ? ORDER BY run", [number])
    assert [row["run"] for row in runs] == ["copy-night", "night"]
    after = [
        obtain_number(journal, any_store, request(f"after-{journal.node}")).number
        for journal in (laptop, copy)
    ]
    assert len(set(after)) == 2
    assert min(each or 0 for each in after) > number


def test_p9_an_image_with_a_journal_inside(any_store: Any, machine: Machine, copy_of: Any) -> None:
    """[17] Many containers begin from one image with a journal in it: at most one keeps its id."""
    baked = machine("image")
    obtain_number(baked, any_store, request("r0"))
    level(any_store, baked)
    containers = [copy_of(baked, f"container-{index}") for index in range(12)]
    for index, each in enumerate(containers):
        with pytest.raises(Refused, match="locked"):
            obtain_number(each, None, request(f"offline-{index}"))
    numbers = [
        obtain_number(each, any_store, request(f"run-{index}")).number
        for index, each in enumerate(containers)
    ]
    assert numbers == list(range(1, 13))
    nodes = [each.node for each in containers]
    assert len(set(nodes)) == len(nodes)
    assert nodes.count(baked.node) <= 1
    level(any_store, *containers[:3])
    agree(*containers[:3])


def test_p9_a_machine_copied_with_every_sign_of_its_place(
    any_store: Any, machine: Machine, copy_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """[18] Two virtual machines from one snapshot: their places look alike, and the contact token
    alone tells them apart before both have made two contacts."""

    def same(path: str | Path) -> str:
        return "one place" if Path(path).name == "journal.db" else ""

    for module in (cxlocal.exchange.contact, cxlocal.exchange.copies, cxlocal_sync.stores.sqlite):
        monkeypatch.setattr(module, "file_hint", same)
    first = machine("first")
    obtain_number(first, any_store, request("r0"))
    level(any_store, first)
    second = copy_of(first, "second")
    node = first.node
    for turn in range(2):
        for name, each in (("first", first), ("second", second)):
            obtain_number(each, any_store, request(f"{name}-{turn}"))
    assert {first.node, second.node} != {node}, "noticed by the second contact of both"
    assert first.node != second.node
    level(any_store, first, second)
    agree(first, second)
    numbers = [row["number"] for row in first.query("SELECT number FROM version")]
    assert sorted(numbers) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("spent_since", [False, True])
def test_p9_a_machine_restored_from_a_backup(
    any_store: Any, machine: Machine, tmp_path: Path, spent_since: bool
) -> None:
    """[19, 43] It goes on under a new id, gives up its old reserve, and gets back from the store
    what it had brought there. Its backup lies elsewhere, so the reserve is locked until then."""
    laptop = machine()
    obtain_number(laptop, any_store, request("r0"))
    level(any_store, laptop)
    shutil.copytree(laptop.home, tmp_path / "backup")
    note(laptop, "after the backup")
    obtain_number(laptop, any_store, request("r1"))
    level(any_store, laptop)
    spent = obtain_number(laptop, None, request("night")).number if spent_since else None
    old, held = laptop.node, reserves(laptop)
    laptop.close()
    shutil.rmtree(laptop.home)
    shutil.copytree(tmp_path / "backup", laptop.home)
    restored = open_journal(laptop.home)
    try:
        with pytest.raises(Refused, match="locked"):
            obtain_number(restored, None, request("too-soon"))
        level(any_store, restored)
        assert restored.node != old
        texts = restored.query(
            "SELECT 1 FROM event WHERE document ->> '$.customData.cxlocal.text'"
            " = 'after the backup'"
        )
        assert texts, "what the store had came back"
        assert obtain_number(restored, any_store, request("r1")).number == 1, "and so did its run"
        following = obtain_number(restored, None, request("next-night")).number
        assert following is not None
        assert following > held[0].hi, "the old reserve is not touched again"
        assert following != spent
        assert explain(restored, "webshop", "2.7", held[0].hi).state == NumberState.SKIPPED
        level(any_store, restored)
        agree(restored)
    finally:
        restored.close()


def test_p1_a_copy_that_names_its_releases_itself_does_so_under_an_id_of_its_own(
    any_store: Any, machine: Machine, copy_of: Any
) -> None:
    """No store, no number left: the text holds the id of the machine, which a copy has as well."""
    laptop, other = machine(), machine("other")

    def suffix(journal: Journal, run: str) -> str:
        return obtain_number(journal, None, request(run, when_empty="suffix")).text

    obtain_number(laptop, any_store, request("r0"))
    for turn in range(4):
        suffix(laptop, f"night-{turn}")
    copy = copy_of(laptop, "copy")
    copy_of_copy = copy_of(copy, "again")
    texts = [
        suffix(journal, f"{run}-{turn}")
        for turn in range(2)
        for run, journal in (("a", laptop), ("b", copy), ("c", copy_of_copy))
    ]
    assert len(set(texts)) == 6, texts
    level(any_store, laptop, copy, copy_of_copy, other)
    rows = other.query("SELECT text, count(*) AS n FROM version GROUP BY text HAVING n > 1")
    assert rows == []
    agree(laptop, copy, copy_of_copy, other)


def test_p7_a_journal_that_was_deleted(any_store: Any, machine: Machine) -> None:
    """[20] A new machine comes in its place; what the old one held is reserved by a machine that
    nobody hears from, and stays so: it may be in use."""
    laptop, other = machine(), machine("other")
    obtain_number(laptop, any_store, request("r0"))
    level(any_store, laptop, other)
    old, held = laptop.node, reserves(laptop)[0]
    laptop.close()
    shutil.rmtree(laptop.home)
    again = open_journal(laptop.home)
    try:
        assert obtain_number(again, any_store, request("r1")).number == 1
        level(any_store, again, other)
        assert again.node != old
        agree(again, other)
        for number in range(held.lo, held.hi + 1):
            told = explain(other, "webshop", "2.7", number)
            assert (told.state, told.node) == (NumberState.RESERVED, old)
        assert reserves(again)[0].lo > held.hi
    finally:
        again.close()


def test_what_another_adds_to_our_own_chain_is_not_ours(
    any_store: Any, machine: Machine, copy_of: Any, tmp_path: Path
) -> None:
    """A member that may bring the history of others goes on with our chain: we go on under another id, and
    say from where."""
    laptop, other = machine(), machine("other")
    obtain_number(laptop, any_store, request("r0"))
    level(any_store, laptop, other)
    forged = copy_of(laptop, "forged")
    note(forged, "in our name")
    node = laptop.node
    assert forged.node == node
    bundle = tmp_path / "forged.bundle"
    pack(forged, bundle, scope=ALL, ask=False)
    take_bundle(other, bundle, look(bundle, other.node))
    level(any_store, other, laptop)
    assert laptop.node != node
    (began,) = laptop.query(
        "SELECT e.document ->> '$.customData.cxlocal.cause' AS cause FROM event e"
        " JOIN node_lookup n ON n.id = e.node WHERE n.name = ? AND e.sequence = 1",
        [laptop.node],
    )
    assert "goes on under its id" in began["cause"]
    number = obtain_number(laptop, any_store, request("r1")).number
    assert number == 1
    level(any_store, laptop, other)
    agree(laptop, other)
