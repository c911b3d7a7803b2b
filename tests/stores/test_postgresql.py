"""What is particular to the store in PostgreSQL; the rest is the contract suite's."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from comparing_kit import LINEAGE, Teller
from cxlocal_sync.http.serving import listen
from cxlocal_sync.postgresql.place import (
    all_confirming,
)
from cxlocal_sync.postgresql.store import PostgresqlStore
from cxlocal_sync.stores.schema import FORMAT
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ProcessServer
from numbers_kit import open_journal, request
from postgresql_kit import Databases

from cxlocal.allocation.allocator import obtain_number
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.store import StoreUnreachable

needs_server = pytest.mark.needs("pg_ctlcluster")


def say(store: Any, teller: Teller, timeout: float = 10, **parts: Any) -> dict[str, Any]:
    message = {"protocol": 1, "contact": teller.contact(), **parts}
    answer = decode(store.exchange(encode(message), timeout=timeout))
    if "refusal" not in answer:
        teller.accepted()
        teller.generation = answer["store"]["generation"]
    return answer


def begin(url: str, letter: str = "a") -> tuple[PostgresqlStore, Teller]:
    store, teller = PostgresqlStore(url, Path("/")), Teller(letter * 32)
    answer = say(store, teller, recover={"evidence": [], "margin": 10, "generation": 0})
    assert answer["store"]["lineage"] == LINEAGE
    return store, teller


def wish(nonce: str, line: str = "2.7") -> dict[str, Any]:
    return {"kind": "online", "deliverable": "webshop", "line": line, "nonce": nonce, "run": nonce}


def side_by_side(works: list[Callable[[], None]]) -> None:
    """In a thread each; the first error is raised."""
    errors: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    for error in errors:
        raise error


@needs_server
def test_machines_that_come_first_together_make_one_store(
    databases: Databases, tmp_path: Path
) -> None:
    url = databases.fresh()
    numbers: list[int | None] = []

    def come(name: str) -> None:
        journal, store = open_journal(tmp_path / name), PostgresqlStore(url, tmp_path)
        numbers.append(obtain_number(journal, store, request(name, reserve=0)).number)
        store.close()
        journal.close()

    side_by_side([lambda name=name: come(name) for name in "abcd"])  # type: ignore[misc]
    assert sorted(number or 0 for number in numbers) == [0, 1, 2, 3]


@needs_server
def test_p5_p14_messages_side_by_side(databases: Databases) -> None:
    """Numbers ascend without holes; a reader that follows the feed meanwhile misses nothing."""
    url = databases.fresh()
    store, reader = begin(url)
    over = threading.Event()
    taken: dict[str, list[int]] = {}
    followed: list[int] = []

    def write(letter: str) -> None:
        own, teller = PostgresqlStore(url, Path("/")), Teller(letter * 32)
        teller.generation = reader.generation
        taken[letter] = []
        for index in range(25):
            teller.append("webshop", f"{letter}{index}")
            line = "2.7" if index % 2 else letter
            answer = say(
                own, teller, grant=[wish(f"{letter}{index}", line)],
                push=[teller.batch(index, index + 1)],
            )  # fmt: skip
            if line == "2.7":
                taken[letter].append(answer["grant"][0]["entry"]["lo"])
        own.close()

    def follow() -> None:
        cursor: dict[str, Any] = {"position": 0, "hash": "0" * 64}
        running = bytes(32)
        while True:
            last = over.is_set()
            answer = say(store, reader, pull={"cursor": cursor, "limit": 7})
            pulled = answer["pull"]
            assert not pulled["void"]
            for item in pulled["items"]:
                followed.append(item["position"])
                running = sha256(running + _hash_of(item)).digest()
                cursor = {"position": item["position"], "hash": running.hex()}
            if last and not pulled["more"]:
                return

    following = threading.Thread(target=follow)
    following.start()
    try:
        side_by_side([lambda letter=letter: write(letter) for letter in "bcde"])  # type: ignore[misc]
    finally:
        over.set()
        following.join(30)
    assert all(numbers == sorted(numbers) for numbers in taken.values())
    assert sorted(number for numbers in taken.values() for number in numbers) == list(range(48))
    assert followed == list(range(1, 201))
    store.close()


def _hash_of(item: dict[str, Any]) -> bytes:
    told = item.get("hash") or (item.get("event") or item.get("grant") or {})["hash"]
    return bytes.fromhex(told)


@needs_server
def test_a_role_that_may_only_what_it_must(databases: Databases) -> None:
    url = databases.fresh()
    name = url.rpartition("/")[2]
    databases.server.sql(f"CREATE ROLE {name} LOGIN")
    plain = url.replace("postgres@", f"{name}@")
    store, teller = PostgresqlStore(plain, Path("/")), Teller("a" * 32)
    told = {"evidence": [], "margin": 10, "generation": 0}
    with pytest.raises(StoreUnreachable, match="the role may not do that"):
        say(store, teller, recover=told)
    databases.server.sql(f"GRANT CREATE ON DATABASE {name} TO {name}")
    say(store, teller, recover=told)
    assert say(store, teller, grant=[wish("n")])["grant"][0]["entry"]["lo"] == 0
    store.close()


@needs_server
def test_a_store_that_is_gone_is_not_made_anew(databases: Databases) -> None:
    url = databases.fresh()
    store, teller = begin(url)
    databases.server.sql("DROP SCHEMA cxlocal CASCADE", url.rpartition("/")[2])
    for _ in range(2):
        with pytest.raises(StoreUnreachable, match="its tables are gone"):
            say(store, teller, grant=[wish("n")])
        with pytest.raises(StoreUnreachable, match="its tables are gone"):
            store.missing_blobs(["0" * 64], timeout=5)
    store.close()


@needs_server
def test_tables_of_a_later_release_are_left_alone(databases: Databases) -> None:
    url = databases.fresh()
    store, teller = begin(url)
    store.close()
    databases.server.sql("UPDATE cxlocal.format SET number = 99", url.rpartition("/")[2])
    with pytest.raises(StoreUnreachable, match=f"format 99, this cxlocal {FORMAT}"):
        say(store, teller, grant=[wish("n")])
    store.close()


@needs_server
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE cxlocal.event SET type = 'x'", "DELETE FROM cxlocal.event",
        "TRUNCATE cxlocal.event", "UPDATE cxlocal.grant_entry SET hi = 9",
        "DELETE FROM cxlocal.grant_entry", "UPDATE cxlocal.cursor SET online = 0",
        "DELETE FROM cxlocal.cursor", "UPDATE cxlocal.store SET position = 0",
        "DELETE FROM cxlocal.store",
    ],
)  # fmt: skip
def test_the_database_itself_forgets_nothing(databases: Databases, statement: str) -> None:
    import psycopg

    url = databases.fresh()
    store, teller = begin(url)
    teller.append("webshop", "text")
    say(store, teller, grant=[wish("n1")], push=[teller.batch(0, 1)])
    say(store, teller, grant=[wish("n2")])
    with pytest.raises(psycopg.errors.CheckViolation):
        databases.server.sql(statement, url.rpartition("/")[2])
    store.close()


@needs_server
def test_one_list_of_steps_makes_the_same_tables(databases: Databases, tmp_path: Path) -> None:
    url = databases.fresh()
    begin(url)[0].close()
    rows = databases.server.sql(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = 'cxlocal'",
        url.rpartition("/")[2],
    )
    embedded = SqliteStore("sqlite:", tmp_path)
    say(embedded, Teller("a" * 32), recover={"evidence": [], "margin": 10, "generation": 0})
    assert embedded._connection is not None
    theirs = embedded._connection.execute(
        "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c"
        " WHERE m.type = 'table'"
    ).fetchall()
    embedded.close()
    only_here = {("format", "number"), ("blob", "digest"), ("blob", "content")}
    assert set(rows) - only_here == set(theirs)


@needs_server
def test_another_encoding_is_refused(databases: Databases) -> None:
    url = f"{databases.fresh()}_latin"
    name = url.rpartition("/")[2]
    databases.server.sql(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0")
    with pytest.raises(StoreUnreachable, match="encoded in LATIN1"):
        begin(url)


@needs_server
def test_the_same_message_after_the_server_was_killed(databases: Databases) -> None:
    """A connection that broke while idle costs nothing but a new one."""
    url = databases.fresh()
    store, teller = begin(url)
    databases.server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        f" WHERE datname = '{url.rpartition('/')[2]}'"
    )
    assert say(store, teller, grant=[wish("n")])["grant"][0]["entry"]["lo"] == 0
    store.close()


def test_p17_a_server_that_says_nothing_costs_what_it_may() -> None:
    with listen("127.0.0.1", 0) as silent:
        port = silent.getsockname()[1]
        store = PostgresqlStore(f"postgresql://cx@127.0.0.1:{port}/store", Path("/"))
        begun = time.monotonic()
        with pytest.raises(StoreUnreachable, match="did not answer in time"):
            say(store, Teller("a" * 32), timeout=0.5)
        assert time.monotonic() - begun < 1.5
        store.close()


@needs_server
def test_a_server_that_says_nothing_does_not_stand_before_one_that_does(
    databases: Databases,
) -> None:
    url = databases.fresh()
    begin(url)[0].close()
    with listen("127.0.0.1", 0) as silent:
        both = url.replace("@", f"@127.0.0.1:{silent.getsockname()[1]},")
        store, teller = begin(both, "b")
        assert say(store, teller, grant=[wish("n")])["grant"][0]["entry"]["lo"] == 0
        store.close()


@needs_server
def test_p1_a_number_waits_for_a_lock_no_longer_than_it_may(databases: Databases) -> None:
    import psycopg

    url = databases.fresh()
    store, teller = begin(url)
    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM cxlocal.store FOR UPDATE")
        begun = time.monotonic()
        with pytest.raises(StoreUnreachable, match="did not answer in time"):
            say(store, teller, timeout=0.7, grant=[wish("n")])
        assert time.monotonic() - begun < 2
    assert say(store, teller, grant=[wish("n")])["grant"][0]["entry"]["lo"] == 0
    store.close()


@pytest.fixture
def served(databases: Databases, tmp_path: Path) -> Iterator[ProcessServer]:
    made = ProcessServer(tmp_path / "central", store=databases.fresh())
    yield made
    made.stop()


@needs_server
def test_serve_before_a_database(served: ProcessServer, tmp_path: Path) -> None:
    """Eight machines at once through `cxlocal serve --store postgresql://…`; a server killed in
    between changes nothing."""
    numbers: list[int | None] = []

    def work(name: str, part: int) -> None:
        journal, store = (
            open_journal(tmp_path / name),
            served.enrol(tmp_path / f"{name}-{part}", name),
        )
        for index in range(5):
            asked = request(f"{name}-{part}-{index}", reserve=0)
            numbers.append(obtain_number(journal, store, asked).number)
        store.close()
        journal.close()

    for part in range(2):
        side_by_side([lambda n=n, p=part: work(f"m{n}", p) for n in range(8)])  # type: ignore[misc]
        if part == 0:
            served.kill()
            served.start()
    assert sorted(number or 0 for number in numbers) == list(range(80))


def test_without_the_library_the_way_is_named() -> None:
    script = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pathlib import Path\n"
        "from cxlocal_sync.plugin import cxlocal_register_stores\n"
        "from cxlocal.errors import ConfigError\n"
        "try: cxlocal_register_stores()['postgresql']('postgresql://db/store', Path('/'))\n"
        "except ConfigError as error: print(error.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("pip install 'cxlocal[postgresql]")


@needs_server
def test_a_command_shows_no_password(databases: Databases, cx: Any, tmp_path: Path) -> None:
    url = databases.fresh().replace("postgres@", "postgres:s3cret@")
    (tmp_path / "cx.toml").write_text(
        f'cx = 1\n[deliverable]\nname = "shop"\n[store]\nurl = "{url}"\n'
    )
    env = {"CXLOCAL_HOME": str(tmp_path / "laptop")}
    told = cx.ok("trust", "--yes", cwd=tmp_path, env=env)
    assert "s3cret" not in told.out + told.err + (tmp_path / "laptop" / "trust.json").read_text()
    for arguments in (("sync",), ("store", "status"), ("config", "show"), ("store", "invite", "x")):
        done = cx(*arguments, cwd=tmp_path, env=env)
        assert "s3cret" not in done.out + done.err, arguments
    assert cx("sync", cwd=tmp_path, env=env).code == 0
    for arguments in (("serve", "--store", url), ("store", "adopt", url)):
        refused = cx(*arguments, cwd=tmp_path, env=env)
        assert refused.code == 2
        assert "s3cret" not in refused.err


@needs_server
def test_a_lone_user_moves_to_a_database(databases: Databases, cx: Any, tmp_path: Path) -> None:
    """`store adopt`: what was released alone counts there."""
    url = databases.fresh()
    journal, alone = open_journal(tmp_path / "laptop"), SqliteStore("sqlite:", tmp_path / "laptop")
    for run in ("r0", "r1"):
        obtain_number(journal, alone, request(run, reserve=0))
    alone.close()
    journal.close()
    done = cx("store", "adopt", url, env={"CXLOCAL_HOME": str(tmp_path / "laptop")}, cwd=tmp_path)
    assert done.code == 0, done.err
    other, store = open_journal(tmp_path / "other"), PostgresqlStore(url, tmp_path)
    assert obtain_number(other, store, request("r2", reserve=0)).number == 2
    store.close()
    other.close()


@needs_server
def test_the_page_for_operators(databases: Databases) -> None:
    """What docs/postgresql.md says to type in makes a store that its role may use; and what it says
    of standbys holds."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "postgresql.md").read_text()
    for statement in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[0].splitlines():
        databases.server.sql(statement)
    url = databases.server.url("cx").replace("postgres@", "cx@")
    store, teller = begin(url)
    assert say(store, teller, grant=[wish("n")])["grant"][0]["entry"]["lo"] == 0
    store.close()
    for names in ("b", "FIRST 2 (b, c)"):
        assert names in page
        assert all_confirming(names, "on")
    for names in ("ANY 1 (b, c)", "*"):
        assert names in page
        assert not all_confirming(names, "on")
