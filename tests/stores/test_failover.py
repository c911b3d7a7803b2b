"""Database servers that are killed, promoted, restored and loaded anew (P1, P11, P12).

The messages are sent as machines send them: what got no answer is sent again, the same.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cxlocal_sync.postgresql.place import MOVED
from cxlocal_sync.postgresql.store import PostgresqlStore
from failover_kit import Machine
from numbers_kit import open_journal, request
from postgresql_kit import Cluster, Server, programs

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise

pytestmark = pytest.mark.needs("pg_ctlcluster")

WAIT_SECONDS = 30.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def enrol() -> Iterator[Callable[[str, str], Machine]]:
    """Makes machines, and lets go of their connections also when the test fails."""
    made: list[Machine] = []

    def make(url: str, letter: str) -> Machine:
        made.append(Machine(url, letter))
        return made[-1]

    yield make
    for each in made:
        each.store.close()


def both(one: Server, other: Server) -> str:
    """The address with both servers in it."""
    return f"postgresql://postgres@127.0.0.1:{one.port},127.0.0.1:{other.port}/postgres"


def set_standbys(server: Server, names: str) -> None:
    """Whom commits wait for, from now on."""
    server.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    server.sql("SELECT pg_reload_conf()")
    deadline = time.monotonic() + WAIT_SECONDS
    while names and ("sync",) not in server.sql("SELECT sync_state FROM pg_stat_replication"):
        assert time.monotonic() < deadline, server.said()
        time.sleep(0.03)


def wait_for_copy(one: Server, other: Server) -> None:
    """Until the standby has replayed all that the primary has written so far."""
    written = one.sql("SELECT pg_current_wal_lsn()::text")[0][0]
    deadline = time.monotonic() + WAIT_SECONDS
    while not other.sql(f"SELECT pg_last_wal_replay_lsn() >= '{written}'::pg_lsn")[0][0]:
        assert time.monotonic() < deadline, other.said()
        time.sleep(0.03)


def kept_by(server: Server) -> tuple[dict[str, int], set[bytes]]:
    """What a server holds: numbers by nonce, and hashes of events."""
    grants = server.sql("SELECT nonce, lo FROM cxlocal.grant_entry WHERE kind = 'online'")
    return dict(grants), {row[0] for row in server.sql("SELECT hash FROM cxlocal.event")}


def test_p1_p12_the_primary_is_killed_under_load_and_a_standby_promoted(
    cluster: Cluster, enrol: Callable[[str, str], Machine], tmp_path: Path
) -> None:
    """With a standby that confirms every commit: machines go on by themselves, no number is granted
    twice, nothing acknowledged is lost."""
    one = cluster.primary()
    other = cluster.standby(one, "b")
    set_standbys(one, "b")
    url = both(one, other)
    machines = [enrol(url, letter) for letter in "cdef"]
    machines[0].begin()
    journal, store = open_journal(tmp_path / "laptop"), PostgresqlStore(url, tmp_path)
    first = obtain_number(journal, store, request("r0")).number
    over = threading.Event()
    threads = [threading.Thread(target=each.work_until, args=(over,)) for each in machines]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    one.kill()
    before = [each.count for each in machines]
    time.sleep(0.2)
    other.sql("SELECT pg_promote(true, 30)")
    deadline = time.monotonic() + WAIT_SECONDS
    while any(each.count < some + 10 for each, some in zip(machines, before, strict=True)):
        assert time.monotonic() < deadline, "machines do not go on"
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    then = obtain_number(journal, store, request("r1"))
    assert then.how == "online"
    assert synchronise(journal, store, use_breaker=False).pending == 0
    told = {nonce: number for each in machines for nonce, number in each.numbers.items()}
    kept, hashes = kept_by(other)
    assert sum(each.count for each in machines) == len(told), "nothing was refused"
    assert told.items() <= kept.items(), "a number that was told is not in the log"
    assert len(set(kept.values())) == len(kept), "a number was granted twice"
    assert {value for each in machines for value in each.hashes} <= hashes
    assert len({first, then.number, *told.values()}) == len(told) + 2
    assert min(before) >= 5, "there was no load"
    store.close()
    journal.close()


def test_p11_a_standby_that_lagged_behind_grants_nothing_until_recovered(
    cluster: Cluster, enrol: Callable[[str, str], Machine]
) -> None:
    """[F25] Asynchronous replication: numbers that were told are lost to the promoted server. It
    takes what is pushed; after the recovery it goes on above them."""
    one = cluster.primary()
    other = cluster.standby(one, "b")
    ahead = enrol(both(one, other), "c")
    ahead.begin()
    ahead.work()
    wait_for_copy(one, other)
    other.stop()
    lost = [ahead.work()["grant"][0]["entry"]["lo"] for _ in range(3)]
    one.kill()
    other.start()
    other.sql("SELECT pg_promote(true, 30)")
    fresh = enrol(both(one, other), "d")
    answer = fresh.work()
    assert [each["cause"] for each in answer["store"]["stopped"]] == [MOVED]
    assert "timeline went from 1 to 2" in answer["store"]["stopped"][0]["why"]
    assert answer["grant"][0]["entry"] is None
    assert fresh.hashes[0] in kept_by(other)[1], "what is pushed is taken"
    ahead.store.close()
    ahead.store = PostgresqlStore(both(one, other), Path("/"))
    answer = ahead.recover(ahead.teller.generation)
    assert answer["store"]["stopped"] == []
    fresh.teller.generation = answer["store"]["generation"]
    assert fresh.work()["grant"][0]["entry"]["lo"] > max(lost)


def test_p11_an_asynchronous_standby_is_not_trusted_even_if_it_has_everything(
    cluster: Cluster, enrol: Callable[[str, str], Machine]
) -> None:
    """Nobody can know that it does."""
    one = cluster.primary()
    other = cluster.standby(one, "b")
    machine = enrol(both(one, other), "c")
    machine.begin()
    machine.work()
    wait_for_copy(one, other)
    one.kill()
    other.sql("SELECT pg_promote(true, 30)")
    answer = machine.work()
    assert [each["cause"] for each in answer["store"]["stopped"]] == [MOVED]


def test_p12_nothing_is_acknowledged_that_the_standby_lacks(
    cluster: Cluster, enrol: Callable[[str, str], Machine]
) -> None:
    """While the standby is away nothing is confirmed; the same message is answered afterwards, with
    the same number."""
    one = cluster.primary()
    other = cluster.standby(one, "b")
    set_standbys(one, "b")
    machine = enrol(one.url(), "c")
    machine.begin()
    machine.work()
    other.stop()
    for _ in range(2):
        with pytest.raises(StoreUnreachable):
            machine.work(timeout=1)
    other.start()
    assert machine.work()["grant"][0]["entry"]["lo"] == 1


def test_p12_a_store_whose_standby_was_taken_off_the_list_does_not_go_on_alone(
    cluster: Cluster, enrol: Callable[[str, str], Machine]
) -> None:
    """The standby believes that it has everything. Were it promoted later, what was granted alone
    would be granted again."""
    one = cluster.primary()
    cluster.standby(one, "b")
    set_standbys(one, "b")
    machine = enrol(one.url(), "c")
    machine.begin()
    machine.work()
    set_standbys(one, "")
    with pytest.raises(StoreUnreachable) as caught:
        machine.work()
    assert "no longer waits for its standby b" in caught.value.why
    assert "cxlocal store recover" in caught.value.hint
    set_standbys(one, "b")
    assert machine.work()["grant"][0]["entry"]["lo"] == 1
    set_standbys(one, "")
    machine.recover(machine.teller.generation)
    assert machine.work()["grant"][0]["entry"]["lo"] > 1


def test_p11_a_point_in_time_restore_grants_nothing_until_recovered(
    cluster: Cluster, enrol: Callable[[str, str], Machine]
) -> None:
    """[F25] Whoever calls first, with or without a memory of what came after the backup."""
    one = cluster.primary()
    machine = enrol(one.url(), "c")
    machine.begin()
    machine.work()
    restored = cluster.restored(one, "pitr")
    machine.work()
    one.stop()
    restored.start(
        "-c", "restore_command=false", "-c", "recovery_target=immediate",
        "-c", "recovery_target_action=promote",
    )  # fmt: skip
    stranger = enrol(restored.url(), "d")
    answer = stranger.work()
    assert [each["cause"] for each in answer["store"]["stopped"]] == [MOVED]
    assert answer["grant"][0]["entry"] is None


def test_p11_a_database_loaded_from_a_dump_grants_nothing_until_recovered(
    cluster: Cluster, enrol: Callable[[str, str], Machine]
) -> None:
    """[F25] The same server, the same timeline; but the tables are others."""
    one = cluster.primary()
    machine = enrol(one.url(), "c")
    machine.begin()
    machine.work()
    dumped = subprocess.run(
        [str(programs() / "pg_dump"), "-d", one.url()], capture_output=True, check=True
    )
    one.sql("CREATE DATABASE loaded")
    subprocess.run(
        [str(programs() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", one.url("loaded")],
        input=dumped.stdout, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    stranger = enrol(one.url("loaded"), "d")
    answer = stranger.work()
    assert [each["cause"] for each in answer["store"]["stopped"]] == [MOVED]
    assert stranger.recover(answer["store"]["generation"])["store"]["stopped"] == []
    assert stranger.work()["grant"][0]["entry"]["lo"] > 0
