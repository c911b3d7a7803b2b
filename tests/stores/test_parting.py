"""Some deliverables go on in the journal of another store, and the rest stays; over every store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.stores.sqlite import SqliteStore
from numbers_kit import FaultyStore, sync, take

from cxlocal.clock import SystemIds
from cxlocal.errors import CxError, Refused, StoreNeeded
from cxlocal.events.document import Draft
from cxlocal.events.machines import node_mirrored
from cxlocal.events.resources import Intent, run_intended
from cxlocal.events.runs import RunRef
from cxlocal.exchange.journals import Place
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.parting import Journals, part
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, recover_store
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves, wishes
from cxlocal.numbers.ledger import explain, ledger
from cxlocal.runner.resources import standing

Machine = Callable[..., Journal]


def names_in(journal: Journal) -> set[str]:
    return {row["name"] for row in journal.query("SELECT name FROM deliverable_lookup")}


def numbers(journal: Journal, name: str) -> dict[int, str]:
    """Every number that is in use: its state."""
    return {row.lo: row.state for row in ledger(journal, name, "2.7") if row.state.startswith("in")}


@pytest.mark.parametrize("also", [(), ("tools",)], ids=["one", "two"])
def test_p1_a_deliverable_parts_and_the_others_stay(
    any_store: Any, old: SqliteStore, machine: Machine, also: tuple[str, ...]
) -> None:
    home, beside, reader = machine("home"), machine("beside"), machine("reader")
    used = [take(home, old, f"s{turn}", "shop") for turn in range(3)]
    used.append(take(home, None, "s-away", "shop"))
    kept = [take(home, old, f"e{turn}", "engine") for turn in range(2)]
    for name in also:
        take(home, old, f"{name}-0", name)
    home.append(node_mirrored(node=home.node, url="https://secret", created=True, refs=[]))
    assert used == [0, 1, 2, 100]
    lineage = store_state(home.connection).lineage
    held = {one.deliverable: one for one in reserves(home)}
    moved = part(Journals(home, beside), old, any_store, {"shop", *also})
    assert moved.lines == 1 + len(also)
    sync(beside, any_store)
    assert pending(beside) == 0
    # The store learns of what went along, and of nothing else.
    sync(reader, any_store)
    assert names_in(reader) == names_in(beside) == {"shop", *also}
    assert not reader.query("SELECT 1 FROM event WHERE document LIKE '%secret%'")
    assert numbers(reader, "shop").keys() == set(used)
    # It counts on above all that was handed out, the reserve included.
    fresh = [take(reader, any_store, "r0", "shop"), take(beside, any_store, "b0", "shop")]
    assert min(fresh) > 102
    away = take(beside, None, "b-away", "shop")
    for journal in (reader, beside, reader):
        sync(journal, any_store)
    everything = [*used, *fresh, away]
    assert len(set(everything)) == len(everything)
    for journal in (beside, reader):
        assert verify(journal).findings == []
        assert set(numbers(journal, "shop")) == set(everything)
        assert set(numbers(journal, "shop").values()) == {"in use, confirmed"}
        assert explain(journal, "shop", "2.7", 101).state == "skipped"
    # What stays goes on as if nothing had been, with the reserve it had.
    assert {one.deliverable: one for one in reserves(home)} == {"engine": held["engine"]}
    kept += [take(home, old, "e2", "engine"), take(home, None, "e-away", "engine")]
    assert kept == [0, 1, 2, 100]
    assert sync(home, old).stopped == ""
    assert store_state(home.connection).lineage == lineage
    assert verify(home).findings == []
    assert {row[0] for row in wishes(home.connection)} == {"engine"}


def test_what_left_is_neither_counted_nor_recorded_where_it_was(
    any_store: Any, old: SqliteStore, machine: Machine
) -> None:
    home, beside, late = machine("home"), machine("beside"), machine("late")
    take(home, old, "s0", "shop")
    take(home, old, "e0", "engine")
    part(Journals(home, beside), old, any_store, {"shop"})
    for store in (old, None):
        with pytest.raises(CxError) as caught:
            take(home, store, "s1", "shop")
        assert isinstance(caught.value, Refused | StoreNeeded)
    with pytest.raises(Refused) as caught:
        home.append(Draft("dev.cdeventsx.cxlocal-run.flagged.0.1.0", "x", {}, {}, "shop"))
    assert caught.value.name == "adopted-away" and any_store.url in caught.value.what
    # Another machine of the old store is led to the new one, and only of this deliverable.
    with pytest.raises(StoreNeeded) as needed:
        take(late, old, "l0", "shop")
    assert f"store adopt {any_store.url}" in needed.value.why
    assert take(late, old, "l1", "engine") == 1
    assert sync(late, old).stopped == ""
    # A recovery of the old store goes on with the rest, and never with what left.
    recover_store(home, old)
    assert take(home, old, "e1", "engine") > 1000
    with pytest.raises(StoreNeeded):
        take(late, old, "l2", "shop")


def test_what_left_never_comes_back(any_store: Any, old: SqliteStore, machine: Machine) -> None:
    home, beside = machine("home"), machine("beside")
    take(home, old, "s0", "shop")
    take(home, old, "e0", "engine")
    part(Journals(home, beside), old, any_store, {"shop"})
    sync(beside, any_store)
    with pytest.raises(Refused, match="the store says no|counts shop no more") as caught:
        part(Journals(beside, home), any_store, old, {"shop"})
    assert caught.value.name == "store-left" or "store adopt" in str(caught.value)
    assert take(beside, any_store, "s1", "shop") > 100


def test_p1_other_machines_follow_with_what_they_hold(
    any_store: Any, old: SqliteStore, machine: Machine
) -> None:
    one, two = machine("one"), machine("two")
    beside = {"one": machine("one-beside"), "two": machine("two-beside")}
    used = [take(one, old, "a", "shop"), take(two, old, "b", "shop"), take(two, old, "e", "engine")]
    used.pop()
    with pytest.raises(Refused, match="other machines work on shop") as caught:
        part(Journals(one, beside["one"]), old, any_store, {"shop"})
    assert "--with-others" in caught.value.hint
    used.append(take(one, old, "c", "shop"))
    part(Journals(one, beside["one"]), old, any_store, {"shop"}, others=True)
    sync(beside["one"], any_store)
    # From the reserve, before it learns of the move.
    used.append(take(two, None, "d", "shop"))
    assert "store adopt" in sync(two, old).stopped
    part(Journals(two, beside["two"]), old, any_store, {"shop"}, others=True)
    used += [
        take(beside["two"], any_store, "f", "shop"), take(beside["one"], any_store, "g", "shop")
    ]  # fmt: skip
    for name in ("one", "two", "one", "two"):
        assert sync(beside[name], any_store).stopped == ""
    assert len(set(used)) == len(used)
    for journal in beside.values():
        assert verify(journal).findings == []
        assert set(numbers(journal, "shop")) == set(used)
        assert set(numbers(journal, "shop").values()) == {"in use, confirmed"}


@pytest.mark.parametrize("where", range(8))
def test_p16_a_parting_that_is_cut_anywhere_goes_on(
    where: int, faulty_store: Any, old: SqliteStore, machine: Machine
) -> None:
    home, beside, other = machine("home"), machine("beside"), machine("other")
    used = [
        take(home, old, "a", "shop"),
        take(home, old, "b", "shop"),
        take(home, None, "c", "shop"),
    ]
    engine = [take(home, old, "x", "engine")]
    mine, plan = FaultyStore(old), where // 2
    if where % 2:
        faulty_store.faults = [""] * plan + ["lose-reply"]
    else:
        mine.faults = [""] * plan + ["lose-reply"]
    for _ in range(4):
        try:
            part(Journals(home, beside), mine, faulty_store, {"shop"})
            break
        except (StoreUnreachable, Refused):
            continue
    faulty_store.faults = []
    sync(beside, faulty_store)
    assert pending(beside) == 0
    used += [take(other, faulty_store, "d", "shop"), take(beside, faulty_store, "e", "shop")]
    engine += [take(home, old, "y", "engine"), take(home, None, "z", "engine")]
    assert len(set(used)) == len(used) and len(set(engine)) == len(engine)
    for journal in (other, beside, other):
        sync(journal, faulty_store)
    for journal in (beside, other):
        assert verify(journal).findings == []
        assert set(numbers(journal, "shop")) == set(used)
    assert verify(home).findings == []


KILLED = """
import os, signal, sys
from pathlib import Path
from cxlocal_sync.stores.sqlite import SqliteStore
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.exchange.parting import Journals, part
from cxlocal.journal.file import Journal

folder, at = Path(sys.argv[1]), int(sys.argv[2])
commits = 0
commit = Journal._commit

def counted(journal):
    global commits
    commits += 1
    if commits == at:
        os.kill(os.getpid(), signal.SIGKILL)
    commit(journal)
    if commits == -at:
        os.kill(os.getpid(), signal.SIGKILL)

Journal._commit = counted
home, beside = (
    Journal.open(folder / name / "journal.db", clock=SystemClock(), ids=SystemIds())
    for name in ("home", "beside")
)
part(Journals(home, beside), SqliteStore("sqlite:", folder / "own"),
     SqliteStore("sqlite:", folder / "new"), {"shop"})
print(commits)
"""


def _killed(folder: Path, at: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(at)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout if done.returncode == 0 else ""


@pytest.mark.parametrize("sign", [1, -1], ids=["before", "after"])
def test_p16_a_parting_that_is_killed_at_any_commit_goes_on(
    sign: int, tmp_path: Path, old: SqliteStore, machine: Machine
) -> None:
    """Killed before or after each commit in turn, and given again after each kill."""
    (tmp_path / "new").mkdir()
    new = SqliteStore("sqlite:", tmp_path / "new")
    home, beside = machine("home"), machine("beside")
    used = [take(home, old, "a", "shop"), take(home, None, "b", "shop")]
    engine = [take(home, old, "x", "engine")]
    # What one attempt did is done, so the next one comes further: each commit is the last one once.
    for at in range(1, 40):
        if _killed(tmp_path, sign * at):
            break
    else:
        pytest.fail("it never came to its end")
    sync(beside, new)
    used += [take(beside, new, "c", "shop"), take(beside, None, "d", "shop")]
    engine += [take(home, old, "y", "engine"), take(home, None, "z", "engine")]
    assert len(set(used)) == len(used) and len(set(engine)) == len(engine)
    sync(beside, new)
    assert pending(beside) == 0
    assert verify(beside).findings == [] and verify(home).findings == []
    assert set(numbers(beside, "shop")) == set(used)
    assert not beside.query("SELECT 1 FROM open_flags")
    new.close()


def test_what_keeps_a_deliverable_from_parting(
    old: SqliteStore, store: FaultyStore, machine: Machine, tmp_path: Path
) -> None:
    home, beside = machine("home"), machine("beside")
    take(home, old, "s0", "shop")
    take(home, old, "e0", "engine")
    home.connection.execute("INSERT INTO run (id, deliverable) VALUES ('s0', 'shop')"
                            " ON CONFLICT DO UPDATE SET deliverable = 'shop'")  # fmt: skip
    home.connection.execute("INSERT INTO process VALUES ('s0', 1, '', '', '', 1)")
    with pytest.raises(Refused, match="is open on this machine"):
        part(Journals(home, beside), old, store, {"shop"})
    home.connection.execute("DELETE FROM process")
    same = SqliteStore(f"sqlite://{old.path}", tmp_path)
    with pytest.raises(Refused, match="by another address") as caught:
        part(Journals(home, machine("third")), old, same, {"shop"})
    assert "store moved" in caught.value.hint
    old.path.rename(tmp_path / "away.db")
    old.close()
    with pytest.raises(StoreUnreachable, match="moves from"):
        part(Journals(home, beside), old, store, {"shop"})
    (tmp_path / "away.db").rename(old.path)
    sync(home, old)
    assert take(home, old, "s1", "shop") == 1, "everything is as it was"


def test_what_tools_made_goes_along(old: SqliteStore, store: FaultyStore, machine: Machine) -> None:
    home, beside = machine("home"), machine("beside")
    for name in ("shop", "engine"):
        take(home, old, name, name)
        intent = Intent(
            resource=f"made-for-{name}", component="s", environment="e", instance=f"{name}-e",
            lifetime="lasting", stage="s", stage_run="", tool="t", verb="deploy", options={},
            handle={},
        )  # fmt: skip
        home.append(run_intended(RunRef(name, name, name, "urn:x:y"), intent))
    part(Journals(home, beside), old, store, {"shop"})
    assert [one.instance for one in standing(beside)] == ["shop-e"]


def test_p1_two_journals_of_one_home_spend_side_by_side(
    any_store: Any, old: SqliteStore, machine: Machine, tmp_path: Path
) -> None:
    """The same line of two products, in one home: each from its own store and its own reserve."""
    clock = machine("seed").clock
    place = Place(tmp_path / "seed", os.environ, clock, SystemIds())
    one = place.open(tmp_path / "seed" / "journal.db")
    two = place.open(tmp_path / "seed" / "journals" / "x" / "journal.db")
    assert one.home == two.home == tmp_path / "seed"
    for turn in range(2):
        assert take(one, old, f"a{turn}", "shop") == turn
        assert take(two, any_store, f"b{turn}", "shop-too") == turn
    assert take(one, None, "a-away", "shop") == take(two, None, "b-away", "shop-too") == 100
    assert sync(two, any_store).pending == sync(one, old).pending == 0
    assert names_in(one) == {"shop"} and names_in(two) == {"shop-too"}
    assert one.node != two.node
    for journal in (one, two):
        assert verify(journal).findings == []
        journal.close()
