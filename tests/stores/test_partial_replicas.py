"""Machines that hold the history of some deliverables only, over every store."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from http_kit import ThreadServer
from numbers_kit import FaultyStore, open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.bundles.intake import take_bundle
from cxlocal.bundles.reader import look
from cxlocal.bundles.receipts import Received, take_receipt, write_receipt
from cxlocal.bundles.writer import ALL, pack
from cxlocal.events.document import Draft
from cxlocal.exchange.contact import prepare, talk
from cxlocal.exchange.followed import choose, chosen, include
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.reply import apply
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.sync import pending, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.read import partial_nodes
from cxlocal.numbers.ledger import explain

Machine = Callable[..., Journal]
NAMES = ("webshop", "engine", "Ünïcode / name", None)


def note(journal: Journal, deliverable: str | None, count: int = 1) -> None:
    kind = "dev.cdeventsx.cxlocal-run.flagged.0.1.0"
    with journal.write() as transaction:
        for index in range(count):
            transaction.append(Draft(kind, f"s{index}", {}, {}, deliverable))


def level(store: Any, *journals: Journal) -> None:
    for _ in range(2):
        for journal in journals:
            assert synchronise(journal, store, use_breaker=False, budget_seconds=20).reached


def held(journal: Journal, *names: str | None) -> set[bytes]:
    """Hashes of the events of these deliverables (None: of no deliverable)."""
    rows = journal.query(
        "SELECT e.hash, d.name FROM event e LEFT JOIN deliverable_lookup d ON d.id = e.deliverable"
    )
    return {row["hash"] for row in rows if row["name"] in names}


def sound(*journals: Journal) -> None:
    for journal in journals:
        assert verify(journal).findings == []


def test_p15_a_replica_of_one_deliverable_is_whole_and_verified_alone(
    any_store: Any, machine: Machine
) -> None:
    one, two, part, full = machine("one"), machine("two"), machine("part"), machine("full")
    for index in range(30):
        note((one, two)[index % 2], NAMES[index % 4], 1 + index % 3)
    choose(part, ["webshop"])
    level(any_store, one, two, part, full)
    assert held(part, "webshop", None) == held(full, "webshop", None)
    assert held(part, *NAMES[1:3]) == set()
    assert set(partial_nodes(part)) == {one.node, two.node} and partial_nodes(full) == []
    sound(part, full)
    # One of its events is taken away: noticed, although the chain as a whole has gaps.
    rows = part.query(
        "SELECT e.id FROM event e JOIN deliverable_lookup d ON d.id = e.deliverable"
        " WHERE d.name = 'webshop' ORDER BY e.id"
    )
    path = part.path
    part.close()
    connection = sqlite3.connect(path)
    for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'event'"
    ).fetchall():
        connection.execute(f'DROP TRIGGER "{name}"')  # sql: a name out of sqlite_master
    connection.execute("DELETE FROM event WHERE id = ?", (rows[2]["id"],))
    connection.commit()
    connection.close()
    assert any(found.kind == "chain" for found in verify(machine("part")).findings)


@pytest.mark.parametrize("seed", range(3))
def test_p18_whatever_is_chosen_when_all_of_it_arrives(
    seed: int, any_store: Any, machine: Machine
) -> None:
    draw = random.Random(seed)
    writers = [machine(f"w{index}") for index in range(3)]
    part, full = machine("part"), machine("full")
    wanted: set[str] | None = None
    for _ in range(60):
        deed = draw.random()
        if deed < 0.6:
            note(draw.choice(writers), draw.choice(NAMES), draw.randint(1, 4))
        elif deed < 0.8:
            level(any_store, draw.choice([*writers, part]))
        elif deed < 0.9:
            note(part, draw.choice(["webshop", None]))
        else:
            names = [name for name in NAMES if name and draw.random() < 0.5]
            wanted = None if draw.random() < 0.2 else set(names)
            choose(part, wanted)
    level(any_store, *writers, part, full)
    names = NAMES if wanted is None else (*wanted, None)
    assert held(part, *names) == held(full, *names)
    sound(part, full)
    choose(part, None)
    level(any_store, part, full)
    assert held(part, *NAMES) == held(full, *NAMES)
    assert partial_nodes(part) == []
    sound(part)
    before = held(part, *NAMES)
    level(any_store, part)
    assert held(part, *NAMES) == before


def test_what_a_machine_takes_numbers_of_it_follows(any_store: Any, machine: Machine) -> None:
    one, part = machine("one"), machine("part")
    obtain_number(one, any_store, request("one-0"))
    note(one, "webshop", 5)
    choose(part, ["engine"])
    level(any_store, one, part)
    assert held(part, "webshop") == set()
    assert obtain_number(part, any_store, request("part-0")).number == 1
    level(any_store, part)
    assert chosen(part) == {"engine", "webshop"}
    level(any_store, one)
    assert held(part, "webshop") == held(one, "webshop")
    assert explain(part, "webshop", "2.7", 0).state == "in use, confirmed"
    # Somebody works on a third one.
    include(part, "docs")
    assert chosen(part) == {"docs", "engine", "webshop"}
    sound(part)


def test_p9_a_backup_of_such_a_machine_gets_its_own_events_back(
    any_store: Any, machine: Machine, tmp_path: Path
) -> None:
    part, other = machine("part"), machine("other")
    note(other, "engine", 3)
    choose(part, ["webshop"])
    note(part, "webshop", 2)
    level(any_store, other, part)
    part.close()
    shutil.copytree(tmp_path / "part", tmp_path / "backup")
    part = machine("part")
    include(part, "engine")
    for _ in range(3):
        note(part, "engine")
        note(part, "webshop")
        level(any_store, part)
    lost = held(part, *NAMES)
    backup = machine("backup")
    note(backup, "webshop")
    level(any_store, backup)
    assert chosen(backup) is None
    assert lost <= held(backup, *NAMES) and pending(backup) == 0
    sound(backup)


def test_an_answer_to_an_older_choice_is_not_taken(any_store: Any, machine: Machine) -> None:
    one, part = machine("one"), machine("part")
    note(one, "webshop", 4)
    note(one, "engine", 4)
    level(any_store, one)
    choose(part, ["webshop"])
    prepare(part)
    reply = talk(part, any_store, push=False)
    # Meanwhile another process of the journal wants more, and is in contact.
    choose(part, ["webshop", "engine"])
    prepare(part)
    with part.write() as transaction:
        assert apply(transaction, reply).pulled == 0
    level(any_store, part)
    assert held(part, "webshop", "engine") == held(one, "webshop", "engine")


def test_a_bundle_of_such_a_machine_leaves_out_what_it_has_in_part(
    any_store: Any, machine: Machine, tmp_path: Path
) -> None:
    one, part, fresh = machine("one"), machine("part"), machine("fresh")
    for name in NAMES:
        note(one, name, 2)
    choose(part, ["webshop"])
    note(part, "webshop", 2)
    level(any_store, one, part)
    packed = pack(part, tmp_path / "all.bundle", scope=ALL)
    assert packed.left_out == 1
    take_bundle(fresh, tmp_path / "all.bundle", look(tmp_path / "all.bundle", fresh.node))
    # Of the one in part nothing came; of the machine itself everything.
    nodes = {row["name"] for row in fresh.query("SELECT name FROM node_lookup")}
    assert one.node not in nodes and part.node in nodes
    level(any_store, fresh)
    sound(fresh)


def test_a_receipt_brings_what_was_chosen(
    store: FaultyStore, machine: Machine, tmp_path: Path
) -> None:
    ship, office = machine("ship"), machine("office")
    note(office, "webshop", 600)
    note(office, "engine", 600)
    level(store, office)
    choose(ship, ["engine"])
    note(ship, "engine")
    pack(ship, tmp_path / "a")
    take_bundle(office, tmp_path / "a", look(tmp_path / "a", office.node))
    level(store, office)
    write_receipt(office, store, tmp_path / "r", 20)
    received = take_receipt(ship, tmp_path / "r", look(tmp_path / "r", ship.node).header)
    assert isinstance(received, Received) and received.pulled >= 600
    assert held(ship, "engine") >= held(office, "engine")
    assert held(ship, "webshop") == set()
    level(store, ship)
    sound(ship)


def test_a_choice_and_a_right_to_read_hold_both(tmp_path: Path) -> None:
    server = ThreadServer(tmp_path / "central")
    every = Rights(manage=True)
    narrow = Rights(take=None, push=None, read=frozenset({"webshop", "engine"}))
    writer, reader = (
        server.enrol(tmp_path / "a", "a", every),
        server.enrol(tmp_path / "b", "b", narrow),
    )
    one, part = open_journal(tmp_path / "one"), open_journal(tmp_path / "part")
    try:
        for name in ("webshop", "secret", "engine"):
            note(one, name, 3)
        level(writer, one)
        choose(part, ["webshop", "secret"])
        level(reader, part)
        assert held(part, "webshop") == held(one, "webshop")
        assert held(part, "engine", "secret") == set()
        choose(part, None)
        level(reader, part)
        assert held(part, "webshop", "engine") == held(one, "webshop", "engine")
        assert held(part, "secret") == set() and partial_nodes(part) == [one.node]
        sound(part)
    finally:
        for opened in (writer, reader, one, part, server):
            opened.close()


def test_the_command(cx: Any, tmp_path: Path) -> None:
    env = {
        "CXLOCAL_HOME": str(tmp_path / "home"),
        "CXLOCAL_STORE": f"sqlite://{tmp_path}/s/store.db",
    }
    (tmp_path / "home").mkdir()

    def run(*arguments: str) -> Any:
        return cx(*arguments, cwd=tmp_path, env=env)

    assert run("store", "create", env["CXLOCAL_STORE"]).code == 0
    assert "every deliverable" in run("store", "follow").err
    done = run("store", "follow", "webshop", "engine")
    assert done.code == 0 and "follows engine, webshop" in done.err and "cxlocal sync" in done.err
    assert run("store", "follow", "--json").json() == {"follows": ["engine", "webshop"]}
    assert run("sync").code == 0
    assert run("store", "follow", "--all", "webshop").code == 2
    assert run("store", "follow", "a\nb").code == 2
    assert run("store", "follow", "--all", "--json").json() == {"follows": None}
    # In a project, its deliverable is worked on.
    run("store", "follow", "engine")
    (tmp_path / "cx.toml").write_text('cx = 1\n[deliverable]\nname = "shop"\n')
    assert run("sync").code == 0
    assert run("store", "follow", "--json").json() == {"follows": ["engine", "shop"]}
