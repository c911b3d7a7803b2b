"""A lone user's history and counters move to a shared store, over every store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ThreadServer
from keys_kit import make_folder_store
from numbers_kit import FaultyStore, sync, take

from cxlocal.commands.sync import describe
from cxlocal.errors import CxError, Refused, StoreNeeded
from cxlocal.exchange.adoption import move
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.followed import choose
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.state import store_state
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import pending, recover_store
from cxlocal.journal.file import Journal
from cxlocal.numbers.holdings import reserves
from cxlocal.numbers.ledger import explain, ledger

Machine = Callable[..., Journal]


def hashes(journal: Journal) -> set[bytes]:
    return {row["hash"] for row in journal.query("SELECT hash FROM event")}


def test_history_and_counters_move(any_store: Any, old: SqliteStore, machine: Machine) -> None:
    lone, other = machine("lone"), machine("other")
    for run in range(4):
        take(lone, old, f"r{run}")
    take(lone, old, "engine", deliverable="engine", line="1.0")
    assert take(lone, None, "away") == 100, "from the reserve, not reported"
    lineage = store_state(lone.connection).lineage
    before = hashes(lone)
    moved = move(lone, old, any_store)
    assert (moved.lines, moved.already) == (2, False)
    state = store_state(lone.connection)
    assert state.lineage not in ("", lineage) and state.url == any_store.url
    sync(lone, any_store)
    assert pending(lone) == 0 and before < hashes(lone)
    # Whoever comes after counts above everything, the old reserve included.
    sync(other, any_store)
    assert hashes(other) >= before
    assert take(other, any_store, "o1") == 203
    assert take(other, any_store, "o2", deliverable="engine", line="1.0") > 0
    sync(lone, any_store)
    assert [reserve.lineage for reserve in reserves(lone)] == [state.lineage] * 2
    assert take(lone, None, "offline") > 300
    sync(lone, any_store)
    sync(other, any_store)
    for journal in (lone, other):
        assert verify(journal).findings == []
        assert explain(journal, "webshop", "2.7", 100).state == "in use, confirmed"
        assert explain(journal, "webshop", "2.7", 2).run == "r2"
        states = ledger(journal, "webshop", "2.7")
        assert not [row for row in states if row.state == "conflicted"]
    # The old one is done, and says where to go.
    late = machine("late")
    with pytest.raises(StoreNeeded) as caught:
        take(late, old, "late")
    assert any_store.url in caught.value.why
    # Nothing is left to move.
    assert move(lone, old, any_store).already


def test_p1_a_store_that_was_left_never_counts_again(
    any_store: Any, tmp_path: Path, machine: Machine
) -> None:
    """What a machine that did not follow is told leads it to the new store, not to a recovery: both
    would count one line then."""
    (tmp_path / "new").mkdir()
    new = SqliteStore("sqlite:", tmp_path / "new")
    one, two = machine("one"), machine("two")
    used = [take(one, any_store, f"a{turn}") for turn in range(3)]
    sync(two, any_store)
    move(one, any_store, new, others=True)
    report = sync(two, any_store)
    assert report.left
    assert "store adopt" in report.stopped
    assert "recover" not in describe(report)
    with pytest.raises(Refused) as caught:
        recover_store(two, any_store)
    assert caught.value.name == "store-left"
    assert "store adopt" in caught.value.why + caught.value.hint
    assert sync(two, any_store).left, "it is as it was"
    with pytest.raises(StoreNeeded, match="no version number"):
        take(two, any_store, "b0", kept=False)
    move(two, any_store, new, others=True)
    used += [take(two, new, "b1"), take(one, new, "c1")]
    assert len(used) == len(set(used))
    new.close()


def test_p1_other_machines_of_the_old_store_follow(
    any_store: Any, old: SqliteStore, machine: Machine
) -> None:
    one, two = machine("one"), machine("two")
    used = [take(one, old, "a"), take(two, old, "b"), take(one, old, "c")]
    used.append(take(two, None, "d"))
    with pytest.raises(Refused, match="other machines") as caught:
        move(one, old, any_store)
    assert "--with-others" in caught.value.hint
    assert take(one, old, "e") == 3, "nothing has happened"
    used.append(3)
    move(one, old, any_store, others=True)
    sync(one, any_store)
    used.append(take(one, any_store, "f"))
    # The other one spends what it holds, and follows then.
    used.append(take(two, None, "g"))
    move(two, old, any_store, others=True)
    sync(two, any_store)
    used += [take(two, any_store, "h"), take(one, any_store, "i")]
    assert len(set(used)) == len(used)
    for journal in (one, two, one, two):
        report = sync(journal, any_store)
    assert report.stopped == ""
    assert hashes(one) == hashes(two)
    for journal in (one, two):
        assert verify(journal).findings == []
        for number in used:
            assert explain(journal, "webshop", "2.7", number).state == "in use, confirmed"


def test_p10_a_line_that_both_counted_is_refused_or_shown_as_conflicted(
    any_store: Any, old: SqliteStore, machine: Machine
) -> None:
    lone, team = machine("lone"), machine("team")
    for run in range(3):
        take(lone, old, f"lone-{run}")
        take(team, any_store, f"team-{run}")
    with pytest.raises(Refused) as caught:
        move(lone, old, any_store)
    assert caught.value.name == "counted-already" and "--conflicts-known" in caught.value.hint
    assert take(lone, old, "lone-3") == 3, "the old store goes on"
    move(lone, old, any_store, conflicts=True)
    sync(lone, any_store)
    number = take(team, any_store, "team-3")
    assert number == 103
    for journal in (lone, team, lone):
        assert sync(journal, any_store).stopped == ""
    for journal in (lone, team):
        assert explain(journal, "webshop", "2.7", 1).state == "conflicted"
        assert explain(journal, "webshop", "2.7", number).state == "in use, confirmed"


@pytest.mark.parametrize("where", range(8))
def test_p16_a_move_that_is_cut_anywhere_goes_on(
    where: int, faulty_store: Any, old: SqliteStore, machine: Machine
) -> None:
    lone, other = machine("lone"), machine("other")
    used = [take(lone, old, "a"), take(lone, old, "b"), take(lone, None, "c")]
    before = hashes(lone)
    mine = FaultyStore(old)
    fault = ("lose-reply", "fail-before")[where % 2]
    plan = where // 2
    if plan < 2:
        faulty_store.faults = [""] * plan + [
            "lose-reply" if fault == "lose-reply" else "fail-after-commit"
        ]
    else:
        mine.faults = [""] * (plan - 1) + [fault if fault == "lose-reply" else "lose-request"]
    for _ in range(4):
        try:
            move(lone, mine, faulty_store)
            break
        except (StoreUnreachable, CxError):
            continue
    sync(lone, faulty_store)
    assert before <= hashes(lone) and pending(lone) == 0
    used += [take(other, faulty_store, "d"), take(lone, faulty_store, "e")]
    assert len(set(used)) == len(used)
    sync(other, faulty_store)
    assert sync(lone, faulty_store).stopped == ""
    assert verify(lone).findings == []
    for number in used:
        assert explain(lone, "webshop", "2.7", number).state == "in use, confirmed"


def test_the_history_of_others_comes_along(
    any_store: Any, old: SqliteStore, machine: Machine
) -> None:
    gone, lone, reader = machine("gone"), machine("lone"), machine("reader")
    take(gone, old, "a")
    sync(gone, old)
    theirs = hashes(gone)
    take(lone, old, "b")
    move(lone, old, any_store, others=True)
    assert sync(lone, any_store).relayed == len(theirs)
    sync(reader, any_store)
    assert theirs <= hashes(reader)
    assert explain(reader, "webshop", "2.7", 0).run == "a"


def test_a_shared_folder_that_is_left_knows_who_else_uses_it(
    store: FaultyStore, machine: Machine, tmp_path: Path
) -> None:
    folder = make_folder_store(tmp_path / "team", tmp_path / "team-home")
    one, two = machine("one"), machine("two")
    take(one, folder, "a")
    take(two, folder, "b")
    with pytest.raises(Refused, match="other machines"):
        move(one, folder, store)
    moved = move(one, folder, store, others=True)
    assert moved.lines == 1
    sync(one, store)
    assert take(one, store, "c") > 100
    folder.close()


def test_what_keeps_a_move_from_beginning(
    any_store: Any, old: SqliteStore, machine: Machine, tmp_path: Path
) -> None:
    fresh, lone = machine("fresh"), machine("lone")
    assert move(fresh, old, any_store).already, "nothing was counted yet"
    take(lone, old, "a")
    # The same store under another name.
    same = SqliteStore(f"sqlite://{old.path}", tmp_path)
    assert move(lone, old, same).already
    assert take(lone, same, "b") == 1
    bind_address(lone, old.url)
    choose(lone, ["webshop"])
    with pytest.raises(Refused, match="some deliverables only"):
        move(lone, old, any_store)
    choose(lone, None)
    old.path.rename(tmp_path / "away.db")
    old.close()
    with pytest.raises(StoreUnreachable, match="moves from"):
        move(lone, old, any_store)
    (tmp_path / "away.db").rename(old.path)
    sync(lone, old)
    assert take(lone, old, "c") == 2


def test_a_store_of_an_older_release_is_named(
    old: SqliteStore, store: FaultyStore, machine: Machine
) -> None:
    from cxlocal.exchange.messages import decode, encode

    lone = machine("lone")
    take(lone, old, "a")

    class Older(FaultyStore):
        def exchange(self, message: bytes, *, timeout: float) -> bytes:
            read = decode(message)
            read.pop("adopt", None)
            return self.inner.exchange(encode(read), timeout=timeout)

    with pytest.raises(Refused, match="does not know how to move"):
        move(lone, old, Older(store.inner))
    assert take(lone, old, "b") == 1


def test_rights_are_asked_for(old: SqliteStore, machine: Machine, tmp_path: Path) -> None:
    server = ThreadServer(tmp_path / "central")
    narrow = server.enrol(tmp_path / "n", "narrow", Rights(take=frozenset({"engine"})))
    lone = machine("lone")
    take(lone, old, "a")
    try:
        with pytest.raises(Refused, match="the store says no") as caught:
            move(lone, old, narrow)
        assert "may not take numbers of 'webshop'" in caught.value.why
        assert take(lone, old, "b") == 1
        # Nor does anybody stop a served store without the right to.
        guest = server.enrol(tmp_path / "g", "guest", Rights(None, None, None))
        take(machine("guest"), guest, "c")
        with pytest.raises(Refused) as caught:
            move(machine("guest"), guest, old, conflicts=True)
        assert "only a member that may invite others may stop it" in caught.value.why
    finally:
        narrow.close()
        guest.close()
        server.close()


def test_the_command(cx: Any, machine: Machine, old: SqliteStore, tmp_path: Path) -> None:
    lone = machine("lone")
    take(lone, SqliteStore("sqlite:", tmp_path / "lone"), "a")
    lone.close()
    env = {"CXLOCAL_HOME": str(tmp_path / "lone")}
    url = f"sqlite://{tmp_path}/shared/store.db"
    done = cx("store", "adopt", url, cwd=tmp_path, env=env)
    assert done.code != 0 and f"cxlocal store create {url}" in done.err
    done = cx("store", "create", url, cwd=tmp_path, env=env)
    assert done.code == 0 and f"'cxlocal store adopt {url}' moves it" in done.err
    done = cx("store", "adopt", url, cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    assert "goes on counting 1 line" in done.err and f'[store] url = "{url}"' in done.err
    done = cx("store", "adopt", url, "--json", cwd=tmp_path, env={**env, "CXLOCAL_STORE": url})
    assert done.json()["already"] is True
    done = cx("sync", cwd=tmp_path, env={**env, "CXLOCAL_STORE": "sqlite:"})
    assert done.code == 3 and f"belongs to the store at {url}" in done.err
    for more in ({}, {"CXLOCAL_STORE": url}):  # outside a project the journal's own
        assert cx("sync", cwd=tmp_path, env={**env, **more}).code == 0
