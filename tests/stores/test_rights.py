"""Members whose rights cover some deliverables only, and change: what may not be pushed stays, the
rest goes and comes; over every store."""

from __future__ import annotations

import random
import shlex
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.http.codes import digest
from cxlocal_sync.http.gate import Gate
from cxlocal_sync.http.members import Members
from cxlocal_sync.stores.answer import refuse
from cxlocal_sync.stores.sqlite import SqliteStore
from numbers_kit import FaultyStore, request, sync

from cxlocal.allocation.allocator import obtain_number
from cxlocal.commands.members import grant, rights_asked
from cxlocal.errors import CxError, Refused
from cxlocal.events import types
from cxlocal.events.document import Draft, hash_of
from cxlocal.exchange.adoption import move
from cxlocal.exchange.messages import decode, encode, event_out
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.rights import Rights, how_to_ask, rights_from_json
from cxlocal.exchange.standing import require, words_of_staying
from cxlocal.exchange.state import staying, store_state, unsent
from cxlocal.exchange.sync import pending, recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.journal.read import all_events, partial_nodes
from cxlocal.journal.rebuild import catch_up

Machine = Callable[..., Journal]
NAMES = ("shop", "engine", "Ünï \"code\" / 'x'.$", None)


class Door:
    """A store behind a server's gate, for one member."""

    def __init__(
        self, store: Any, members: Members, name: str, rights: Rights, url: str = ""
    ) -> None:
        self.url = url or store.url
        self._store, self._members, self._name = store, members, name
        self.allow(rights)

    def allow(self, rights: Rights) -> None:
        """What a second code does, or a manager who takes rights away."""
        code = self._members.invite(self._name, rights)
        self.token = sha256(code.encode()).hexdigest()
        self.member = self._members.join(code, digest(self.token))

    def exchange(self, raw: bytes, *, timeout: float) -> bytes:
        gate = Gate(self.member, self._members)
        try:
            message = gate.enter(decode(raw))
        except CxError as error:
            return encode(refuse(error))
        answer = decode(self._store.exchange(encode(message), timeout=timeout))
        return encode(gate.leave(answer))


@pytest.fixture
def members(tmp_path: Path) -> Any:
    made = Members(tmp_path / "members")
    yield made
    made.close()


def some(*names: str) -> Rights:
    chosen = frozenset(names)
    return Rights(chosen, chosen, None)


def note(journal: Journal, name: str | None) -> bytes:
    kind = "dev.cdeventsx.cxlocal-run.flagged.0.1.0"
    about = journal.node if name is None else journal.ids.token()
    return journal.append(Draft(kind, about, {}, {}, name))[0].hash


def held(journal: Journal) -> set[bytes]:
    return {row["hash"] for row in journal.query("SELECT hash FROM event WHERE branch = 0")}


def test_a_right_that_ends_holds_up_nothing_else(
    any_store: Any, members: Members, machine: Machine
) -> None:
    bob, reader = machine("bob"), machine("reader")
    door = Door(any_store, members, "bob", some("shop", "engine"))
    first = [note(bob, "shop"), note(bob, "engine")]
    assert sync(bob, door).pending == 0
    door.allow(some("shop"))
    kept = [note(bob, "engine")]
    sent = [note(bob, "shop"), note(bob, None)]
    kept.append(note(bob, "engine"))
    report = sync(bob, door)
    assert (report.pending, report.staying) == (0, {"engine": 2})
    assert "cxlocal store grant bob" in words_of_staying(bob.connection, report.staying)[0]
    sync(reader, any_store)
    assert {*first, *sent} <= held(reader)
    assert not held(reader) & set(kept)
    assert verify(reader).findings == []
    # What others do comes, and numbers are granted.
    other = note(reader, "shop")
    sync(reader, any_store)
    sync(bob, door)
    assert other in held(bob)
    assert obtain_number(bob, door, request("r", deliverable="shop")).online
    # The right comes back, and what waited follows in order.
    door.allow(some("shop", "engine"))
    sync(bob, door)
    assert staying(bob.connection) == {} and pending(bob) == 0
    sync(reader, any_store)
    assert held(reader) >= held(bob)
    assert verify(reader).findings == []


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_work_rights_and_cuts_loses_nothing(
    tmp_path: Path, members: Members, machine: Machine, seed: int
) -> None:
    """What the store has is what could be pushed, whatever was lost on the way; with all rights
    everything arrives, and nothing disagrees."""
    draw = random.Random(seed)
    (tmp_path / "own").mkdir()
    store = SqliteStore("sqlite:", tmp_path / "own")
    door = Door(store, members, "bob", Rights())
    cut = FaultyStore(door)
    bob, reader = machine("bob"), machine("reader")
    for _ in range(40):
        choice = draw.random()
        if choice < 0.5:
            note(bob, draw.choice(NAMES))
        elif choice < 0.65:
            names = [name for name in NAMES if name and draw.random() < 0.5]
            door.allow(draw.choice([Rights(), some(*names), some(*names), some()]))
        elif choice < 0.7:
            sync(reader, store)
        else:
            cut.faults = draw.choices(
                ["", "lose-reply", "lose-request", "twice"], [4, 2, 1, 1], k=3
            )
            synchronise(bob, cut, use_breaker=False, budget_seconds=20)
            cut.faults = []
            may = door.member.rights.push
            report = synchronise(bob, cut, use_breaker=False, budget_seconds=20)
            assert report.pending == 0
            assert set(report.staying).isdisjoint(may if may is not None else report.staying)
    door.allow(Rights())
    report = sync(bob, cut)
    assert (report.pending, dict(report.staying), unsent(bob.connection)) == (0, {}, [])
    sync(reader, store)
    assert held(reader) >= held(bob)
    for journal in (bob, reader):
        assert verify(journal).findings == []
        assert not journal.query("SELECT 1 FROM event WHERE branch > 0")
    assert partial_nodes(reader) == []
    store.close()


def test_after_a_recovery_of_the_store_the_rest_goes_on(
    tmp_path: Path, members: Members, machine: Machine
) -> None:
    (tmp_path / "own").mkdir()
    store = SqliteStore("sqlite:", tmp_path / "own")
    door = Door(store, members, "bob", some("shop"))
    bob, boss = machine("bob"), machine("boss")
    for name in ("shop", "engine", "shop"):
        note(bob, name)
        sync(bob, door)
    sync(boss, store)
    recover_store(boss, store)
    note(bob, "shop")
    assert sync(bob, door).staying == {"engine": 1}
    door.allow(some("shop", "engine"))
    sync(bob, door)
    sync(boss, store)
    assert held(boss) >= held(bob)
    store.close()


def test_nothing_is_recorded_that_could_not_be_sent(
    any_store: Any, members: Members, machine: Machine
) -> None:
    bob = machine("bob")
    door = Door(any_store, members, "bob", some("shop"))
    require(bob, "engine", "take", "push")  # nothing is known yet
    sync(bob, door)
    require(bob, "shop", "take", "push")
    with pytest.raises(Refused, match="bob may not work on 'engine'") as caught:
        require(bob, "engine", "take", "push")
    assert "--take engine --take shop --push engine --push shop" in caught.value.hint
    door.allow(Rights())
    sync(bob, door)
    require(bob, "engine", "take", "push")


@pytest.mark.parametrize(
    ("before", "after", "more"),
    [
        (frozenset({"shop"}), frozenset({"shop", "engine"}), {"engine"}),
        (frozenset({"shop"}), None, {"engine", "docs"}),
        (frozenset[str](), frozenset({"shop"}), {"shop"}),
        (frozenset({"shop"}), frozenset({"engine"}), {"engine"}),
        (None, frozenset({"shop"}), set()),
    ],
)
def test_history_that_may_be_read_now_comes_by_a_sync(
    own: SqliteStore, members: Members, machine: Machine, before: Any, after: Any, more: set[str]
) -> None:
    """Rights that grow without a new code: what lies before the cursor is fetched."""
    writer, reader = machine("writer"), machine("reader")
    written = {name: note(writer, name) for name in ("shop", "engine", "docs")}
    sync(writer, own)
    door = Door(own, members, "board", Rights(frozenset(), frozenset(), before))
    sync(reader, door)
    seen = held(reader)
    members.grant("board", Rights(frozenset(), frozenset(), after))
    found = members.by_token(door.token)
    assert found is not None
    door.member = found
    sync(reader, door)
    assert {name for name, hashed in written.items() if hashed in held(reader) - seen} == more
    assert verify(reader).findings == []
    own.close()


@pytest.mark.parametrize("new_rights", [some("shop"), Rights(), some("shop", "engine")])
@pytest.mark.parametrize("old_rights", [some("shop"), Rights()])
def test_a_follower_takes_along_what_it_may(
    tmp_path: Path, members: Members, machine: Machine, old_rights: Rights, new_rights: Rights
) -> None:
    """The manager moves the store; a member without the right to stop one, or with few rights at
    the new one, comes after."""
    stores = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        stores.append(SqliteStore("sqlite:", tmp_path / name))
    old, new = stores
    boss, bob = machine("boss"), machine("bob")
    fresh = Members(tmp_path / "members of the new one")
    urls = "https://old.example", "https://new.example"
    at_old = Door(old, members, "bob", old_rights, urls[0])
    at_new = Door(new, fresh, "bob", new_rights, urls[1])
    boss_old = Door(old, members, "boss", Rights(manage=True), urls[0])
    boss_new = Door(new, fresh, "boss", Rights(manage=True), urls[1])
    for name in ("shop", "engine"):
        obtain_number(boss, boss_old, request(f"boss-{name}", deliverable=name))
    sync(boss, boss_old)
    used = obtain_number(bob, at_old, request("bob", deliverable="shop")).number
    sync(bob, at_old)
    # Before the manager has moved it, nobody else may.
    with pytest.raises(Refused, match="may not move the store"):
        move(bob, at_old, at_new, others=True)
    assert store_state(bob.connection).url == urls[0]
    move(boss, boss_old, boss_new, others=True)
    sync(boss, boss_new)
    moved = move(bob, at_old, at_new, others=True)
    assert not moved.already
    report = sync(bob, at_new)
    assert (report.pending, report.to_relay, dict(report.staying)) == (0, 0, {})
    number = obtain_number(bob, at_new, request("after", deliverable="shop")).number
    assert number is not None and used is not None and number > used
    for each in (*stores, fresh):
        each.close()


RIGHTS = [
    Rights(), Rights(manage=True), some("shop"), some(), Rights(frozenset({"a b"}), None, frozenset()),
    Rights(frozenset({"shop"}), frozenset({"shop", "$x'y"}), frozenset({"shop", "docs"}), True),
]  # fmt: skip


@pytest.mark.parametrize("rights", RIGHTS)
@pytest.mark.parametrize("kinds", [("take",), ("push",), ("take", "push"), ("read",)])
def test_following_the_hint_of_a_refusal_takes_no_right_away(
    rights: Rights, kinds: tuple[str, ...]
) -> None:
    """The command that is proposed is given to the command line, and gives what was there and more."""
    words = shlex.split(how_to_ask("build er", rights, "engine", *kinds).split("; then")[0])
    given = grant.make_context("grant", words[words.index("grant") + 1 :]).params
    assert given["name"] == "build er"
    named = (given[kind] for kind in ("both", "take", "push", "read"))
    # What is not said stays.
    asked = rights_from_json(rights_asked(*named, given["manage"] or rights.manage))
    for kind, before in rights.lists():
        after = dict(asked.lists())[kind]
        reads = kind == "read" and len(kinds) == 2  # who works on it
        wanted = {"engine"} if kind in kinds or reads else set()
        assert after is None if before is None else after == before | wanted, kind
    assert asked.manage == rights.manage


@pytest.fixture
def own(tmp_path: Path) -> SqliteStore:
    (tmp_path / "own").mkdir()
    return SqliteStore("sqlite:", tmp_path / "own")


READER = Rights(frozenset(), frozenset(), None)


@pytest.mark.parametrize("rights", [READER, some("other")], ids=["reader", "other product"])
@pytest.mark.parametrize(
    "draft",
    [
        lambda victim, mal: Draft(types.NODE_BEGAN, victim, {}, {"host": "HACKED", "kept": False}),
        lambda victim, mal: Draft(types.NODE_MOVED, victim, {}, {"reason": "x"}),
        lambda victim, mal: Draft(types.RUN_FLAGGED, victim, {}, {"kind": "x", "text": "call 555"}),
        lambda victim, mal: Draft(types.RUN_FLAGGED, mal.node, {}, {}, None, mal.ids.uuid()),
        lambda victim, mal: Draft(types.NODE_SETTLED, victim, {}, {"node": victim}),
    ],
    ids=["began", "moved", "flag", "flag of a run", "settled"],
)
def test_nobody_speaks_of_others(
    own: SqliteStore, members: Members, machine: Machine, rights: Rights, draft: Any
) -> None:
    good, mal = machine("good"), machine("mal")
    note(good, "shop")
    sync(good, Door(own, members, "good", Rights()))
    door = Door(own, members, "mal", rights)
    sync(mal, door)
    mal.append(draft(good.node, mal))
    with pytest.raises(Refused, match="history of others"):
        synchronise(mal, door, use_breaker=False, budget_seconds=20)


def test_nobody_speaks_for_others(own: SqliteStore, members: Members, machine: Machine) -> None:
    """A forged event at the end of another member's chain."""
    good = machine("good")
    note(good, "shop")
    sync(good, Door(own, members, "good", Rights()))
    last = [event for _, event in all_events(good)][-1]
    event = last._replace(sequence=last.sequence + 1, previous=last.hash)
    push = [{"events": [event_out(event._replace(hash=hash_of(event)))]}]
    for rights in (READER, some("other"), some("shop")):
        door = Door(own, members, "mal", rights)
        contact = {"node": "a" * 32, "token": {}, "proposal": {}}
        raw = encode({"protocol": 1, "contact": contact, "push": push})
        told = decode(door.exchange(raw, timeout=5))["refusal"]
        assert "may not push history" in str(told), told


def test_knowing_a_name_is_not_being_a_machine(
    own: SqliteStore, members: Members, machine: Machine
) -> None:
    """A store that was used before it was served knows machines that no member has spoken as yet."""
    good = machine("good")
    obtain_number(good, own, request("r0"))
    node, door = good.node, Door(own, members, "mal", READER)
    contact = {
        "node": node, "token": {"count": 0, "value": ""}, "proposal": {"count": 1, "value": "p"},
        "lineage": store_state(good.connection).lineage, "generation": 0, "hint": "", "heads": [],
    }  # fmt: skip
    told = decode(door.exchange(encode({"protocol": 1, "contact": contact}), timeout=5))
    assert told["refusal"]["name"] == "copy", told
    sync(good, Door(own, members, "good", Rights()))
    assert good.node == node
    assert obtain_number(good, Door(own, members, "good", Rights()), request("r1")).number == 1


def test_a_machine_begins_its_own_history_alone(machine: Machine) -> None:
    """Also where no server stands before the store."""
    good, mal = machine("good"), machine("mal")
    note(good, "shop")
    mal.append(Draft(types.NODE_BEGAN, good.node, {}, {"host": "HACKED", "kept": False}))
    catch_up(mal)
    assert mal.query("SELECT node FROM machine WHERE host = 'HACKED'") == []
    assert mal.query("SELECT kind FROM flag") != []
