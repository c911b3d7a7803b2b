"""A folder that a sync program carries: files arrive late, in any order, in part, and beside copies
of themselves; one machine alone hands out numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from comparing_kit import Teller
from cxlocal_sync.keys.names import JOURNALS
from cxlocal_sync.keys.store import KeyStore
from keys_kit import make_folder_store
from numbers_kit import request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import known_node
from cxlocal.errors import StoreNeeded
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.journal.file import Journal

Machine = Callable[..., Journal]
Seen = Callable[..., KeyStore]


class Carrier:
    """What a sync program does between the copies of one folder, as badly as it may."""

    def __init__(self, *folders: Path, seed: int = 0) -> None:
        self.folders = folders
        self.chance = random.Random(seed)

    def carry(self, share: float = 1.0, torn: bool = False) -> None:
        """Bring some of what is new in any copy to the others, in any order."""
        pairs = [(a, b) for a in self.folders for b in self.folders if a != b]
        for source, target in pairs:
            files = [path for path in source.rglob("*") if path.is_file()]
            self.chance.shuffle(files)
            for path in files:
                name = path.relative_to(source)
                if name.parts[0] == "tmp" or self.chance.random() > share:
                    continue
                content = path.read_bytes()
                there = target / name
                there.parent.mkdir(parents=True, exist_ok=True)
                if there.exists() and there.read_bytes() == content:
                    continue
                if there.exists() and len(there.read_bytes()) >= len(content):
                    beside = there.with_name(f"{there.name} (conflicted copy)")
                    beside.write_bytes(content)
                    continue
                half = torn and self.chance.random() < 0.4
                there.write_bytes(content[: len(content) // 2] if half else content)


def level(journal: Journal, store: Any) -> Any:
    report = synchronise(journal, store, use_breaker=False, budget_seconds=10)
    assert report.reached, report.why
    return report


@pytest.fixture
def synced(tmp_path: Path, machine: Machine, seen_by: Seen) -> Any:
    """Three machines with a copy of the folder each; the first hands out numbers."""
    names = ("ada", "bob", "eve")
    journals = [machine(name) for name in names]
    with journals[0].write() as transaction:
        node = known_node(transaction)
    folders = [tmp_path / f"cloud-{name}" for name in names]
    made = make_folder_store(folders[0], tmp_path / "maker", granter=node)
    made.close()
    for folder in folders[1:]:
        folder.mkdir()
    stores = [seen_by(folder, name) for folder, name in zip(folders, names, strict=True)]
    return journals, stores, folders


def runs_of(journal: Journal) -> set[str]:
    return {row["run"] for row in journal.query("SELECT run FROM version")}


def test_p15_an_event_that_was_changed_is_left_for_nobody(synced: Any) -> None:
    _, (_, his, _), folders = synced
    Carrier(*folders).carry()
    teller = Teller("b" * 32)
    teller.append("webshop", "as it was")
    batch = teller.batch(0, 1)
    event = batch["events"][0]
    event["document"] = event["document"].replace("as it was", "as it is")
    message = {"protocol": 1, "contact": teller.contact(lineage=""), "push": [batch]}
    answer = decode(his.exchange(encode(message), timeout=10))
    assert answer["refusal"]["name"] == "bad-hash"
    assert list((folders[1] / JOURNALS).rglob("*")) == []


def test_a_reserve_travels_by_files(synced: Any) -> None:
    (ada, bob, _), (hers, his, _), folders = synced
    carrier = Carrier(*folders)
    assert obtain_number(ada, hers, request("a0")).number == 0
    carrier.carry()
    with pytest.raises(StoreNeeded) as caught:
        obtain_number(bob, his, request("b0"))
    assert "one machine alone" in caught.value.why and "cxlocal sync" in caught.value.hint
    carrier.carry()
    level(ada, hers)
    carrier.carry()
    report = level(bob, his)
    assert report.reserves == ("webshop 2.7: 103 to 105",)
    number = obtain_number(bob, his, request("b0"))
    assert (number.how, number.number) == ("reserve", 103)
    assert obtain_number(bob, his, request("b1")).number == 104
    carrier.carry()
    level(ada, hers)
    assert obtain_number(ada, hers, request("a1")).number == 106, "above what bob has used"
    carrier.carry()
    carrier.carry()
    level(ada, hers)
    carrier.carry()
    assert level(bob, his).reserves == ("webshop 2.7: 203 to 205",), "the old one is too close now"
    carrier.carry()
    level(ada, hers)
    carrier.carry()
    assert level(bob, his).pending == 0, "what it gave up for that has arrived, too"
    assert runs_of(ada) == runs_of(bob) == {"a0", "a1", "b0", "b1"}


@pytest.mark.parametrize("seed", range(5))
def test_late_torn_reordered_and_conflicting_files(synced: Any, seed: int) -> None:
    journals, stores, folders = synced
    carrier = Carrier(*folders, seed=seed)
    carrier.carry()
    numbers: list[int] = []
    wanted: set[str] = set()
    for turn in range(12):
        which = carrier.chance.randrange(3)
        run = f"r{turn}"
        try:
            number = obtain_number(journals[which], stores[which], request(run)).number
        except StoreNeeded:
            pass
        else:
            assert number is not None
            numbers.append(number)
            wanted.add(run)
        carrier.carry(share=0.5, torn=True)
        synchronise(journals[turn % 3], stores[turn % 3], use_breaker=False, budget_seconds=5)
    assert len(numbers) == len(set(numbers)), "one number was handed out twice"
    for _ in range(6):
        carrier.carry()
        for journal, store in zip(journals, stores, strict=True):
            assert level(journal, store).stopped == ""
    assert [runs_of(journal) for journal in journals] == [wanted] * 3
    assert [level(j, s).pending for j, s in zip(journals, stores, strict=True)] == [0, 0, 0]


def test_idle_exchanges_leave_no_files(synced: Any) -> None:
    journals, stores, folders = synced
    carrier = Carrier(*folders)
    obtain_number(journals[0], stores[0], request("a0"))
    for _ in range(3):
        carrier.carry()
        for journal, store in zip(journals, stores, strict=True):
            level(journal, store)
    before = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    for journal, store in [*zip(journals, stores, strict=True)] * 2:
        level(journal, store)
    after = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert {path for path in after - before if "contact" not in path.parts} == set()


def test_a_recovery_makes_another_machine_the_granter(synced: Any) -> None:
    (ada, bob, eve), (hers, his, eves), folders = synced
    carrier = Carrier(*folders)
    last = obtain_number(ada, hers, request("a0")).number
    carrier.carry()
    level(bob, his)
    recover_store(bob, his)
    number = obtain_number(bob, his, request("b0")).number
    assert number is not None and last is not None and number > last + 500
    carrier.carry()
    level(ada, hers)
    with pytest.raises(StoreNeeded, match="one machine alone"):
        obtain_number(ada, hers, request("a1", reserve=0))
    for _ in range(3):
        carrier.carry()
        for journal, store in ((ada, hers), (bob, his), (eve, eves)):
            level(journal, store)
    assert runs_of(eve) == {"a0", "b0"}
