"""The tool ``postgresql`` with a real server, and the rules for migrations."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cxlocal_plugins.migrations import Migration, in_order, pending, statements
from cxlocal_plugins.postgresql import Postgresql
from page import options
from postgresql_kit import Databases

from cxlocal.hooks.tool import Applied, Done, Observed, Previewed, ToolFailure
from cxlocal.testing import Bench, ComponentContract
from cxlocal.testing.contract import story

pytestmark = pytest.mark.needs("pg_ctlcluster")
ORDERS = "CREATE TABLE orders (id bigint PRIMARY KEY);\nINSERT INTO orders VALUES (1);\n"
TOTALS = "ALTER TABLE orders ADD COLUMN total numeric;\n"


def migration(name: str, sql: str = "SELECT 1") -> Migration:
    return Migration(name, sql, hashlib.sha256(sql.encode()).hexdigest())


def write(bench: Bench, **files: str) -> None:
    folder = bench.checkout / "db" / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.sql").write_text(text)


class TestPostgresql(ComponentContract):
    """With a password, so that it can be looked for."""

    tool = Postgresql

    @pytest.fixture(autouse=True)
    def _server(self, postgresql: Databases) -> Iterator[None]:
        self.server = postgresql.server
        server = f"postgresql://postgres@127.0.0.1:{self.server.port}/postgres"
        self.with_table = {**options("postgresql"), "server": server}  # type: ignore[misc]  # of this instance alone
        yield

    def prepare(self, bench: Bench) -> None:
        write(bench, **{"1_orders": ORDERS, "2_totals": TOTALS})

    def remains(self, bench: Bench, handle: Any) -> list[str]:
        rows = self.server.sql("SELECT datname FROM pg_database WHERE datname LIKE 'webshop%'")
        return [row[0] for row in rows]

    def inspected(self, bench: Bench) -> str:
        """What any role may read: comments, and what others ask."""
        asked = (
            "shobj_description(oid, 'pg_database') FROM pg_database",
            "query FROM pg_stat_activity",
        )
        return str([self.server.sql(f"SELECT {one}") for one in asked])

    def applied(self, bench: Bench, **more: Any) -> Applied:
        ran = self._run(bench, "apply", **more)
        assert isinstance(ran.outcome.result, Applied), story(ran)
        return ran.outcome.result

    def preview(self, bench: Bench) -> Previewed:
        ran = self._run(bench, "preview")
        assert isinstance(ran.outcome.result, Previewed), story(ran)
        return ran.outcome.result

    def query(self, text: str) -> list[Any]:
        return self.server.sql(text, "webshop_production")

    def test_it_says_what_waits_before_the_database_is_there(self, bench: Bench) -> None:
        assert self.preview(bench).changes == ("applies 1_orders.sql", "applies 2_totals.sql")
        self._run(bench, "provision")
        assert self.applied(bench).outputs["database"] == "webshop_production"
        assert self.query("SELECT total FROM orders") == [(None,)]
        seen = self._run(bench, "observe").outcome.result
        assert isinstance(seen, Observed)
        assert (seen.version, seen.details["last"]) == ("1.0.0", "2_totals.sql")

    def test_a_database_that_is_gone_is_said_in_words(self, bench: Bench) -> None:
        self._run(bench, "provision")
        self._run(bench, "destroy")
        ran = self._run(bench, "apply")
        assert ran.outcome.outcome == "failure" and "Traceback" not in story(ran)
        assert "webshop_production is not there" in ran.outcome.reason

    @pytest.mark.parametrize("verb", ["provision", "destroy"])
    def test_what_the_server_refuses_is_said_in_words(self, bench: Bench, verb: str) -> None:
        if verb == "destroy":
            self._run(bench, "provision")
        self.server.sql("CREATE ROLE nobody LOGIN")
        try:
            server = self.server.url("postgres").replace("://postgres@", "://nobody@")
            self.with_table = {**self.with_table, "server": server}  # type: ignore[misc]  # of this instance alone
            ran = self._run(bench, verb)
            assert ran.outcome.outcome == "failure" and "Traceback" not in story(ran)
            assert (
                "permission denied" in ran.outcome.reason or "must be owner" in ran.outcome.reason
            )
        finally:
            self.server.sql("DROP ROLE nobody")

    def test_where_it_stops_is_known_and_the_next_one_goes_on(self, bench: Bench) -> None:
        write(
            bench,
            **{"2_totals": "INSERT INTO orders VALUES (2); ALTER TABLE nope ADD COLUMN a int"},
        )
        self._run(bench, "provision")
        ran = self._run(bench, "apply")
        assert ran.outcome.outcome == "failure" and 'relation "nope"' in ran.outcome.reason
        assert isinstance(ran.outcome.result, Applied), story(ran)
        assert (ran.outcome.result.last, ran.outcome.result.open) == (
            "1_orders.sql",
            "2_totals.sql",
        )
        assert self.query("SELECT count(*) FROM orders") == [(1,)], (
            "half of the second one is there"
        )
        write(bench, **{"2_totals": TOTALS})
        assert self.applied(bench).changed
        assert self.preview(bench).changes == ()

    def test_two_at_once_apply_each_once(self, bench: Bench, tmp_path: Path) -> None:
        slow = "SELECT pg_sleep(0.1); INSERT INTO orders SELECT max(id) + 1 FROM orders;"
        write(bench, **{f"{number}_more": slow for number in range(3, 8)})
        self._run(bench, "provision")
        other = Bench(tmp_path / "other")
        self.prepare(other)
        write(other, **{f"{number}_more": slow for number in range(3, 8)})
        done: list[Any] = []
        threads = [
            threading.Thread(target=lambda one=one: done.append(self._run(one, "apply").outcome))
            for one in (bench, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [one.outcome for one in done] == ["success"] * 2, done
        assert self.query("SELECT count(*) FROM orders") == [(6,)]

    def test_a_lock_that_is_held_is_not_waited_for_without_end(self, bench: Bench) -> None:
        self._run(bench, "provision")
        self.with_table = {**self.with_table, "limit": 0.3}  # type: ignore[misc]
        write(bench, **{"3_slow": "ALTER TABLE orders ADD COLUMN note text"})
        (bench.checkout / "db/migrations/3_slow.sql").rename(bench.folder / "3_slow.sql")
        self.applied(bench)
        (bench.folder / "3_slow.sql").rename(bench.checkout / "db/migrations/3_slow.sql")
        with psycopg.connect(self.server.url("webshop_production")) as reader:
            reader.execute("SELECT * FROM orders")
            ran = self._run(bench, "apply")
        assert ran.outcome.outcome == "failure"
        assert "3_slow.sql: somebody else holds a lock" in ran.outcome.reason

    def test_a_way_back_leaves_the_schema_and_says_where_it_is(self, bench: Bench) -> None:
        self._run(bench, "provision")
        self.applied(bench)
        (bench.checkout / "db/migrations/2_totals.sql").unlink()
        ran = self._run(bench, "apply")
        assert ran.outcome.outcome == "failure" and "has 2_totals.sql" in ran.outcome.reason
        again = self.applied(bench, back=True)
        assert not again.changed and again.outputs["database"] == "webshop_production"

    def test_a_schema_that_is_ahead_is_let_be_on_a_persons_word(self, bench: Bench) -> None:
        self._run(bench, "provision")
        self.applied(bench)
        (bench.checkout / "db/migrations/2_totals.sql").unlink()
        refuses = self.preview(bench).refuses
        ran = self._run(bench, "apply")
        assert ran.outcome.outcome == "failure"
        for words in (refuses, ran.outcome.reason):
            assert "has 2_totals.sql" in words and "(deploy --schema-ahead goes on)" in words
        for verb in ("preview", "apply"):
            assert self._run(bench, verb, ahead=True).outcome.outcome == "success", verb

    def test_whatever_a_rule_refuses_is_said_before_anything_is_changed(self, bench: Bench) -> None:
        self._run(bench, "provision")
        self.applied(bench)
        assert self.preview(bench).refuses == ""
        rules = {
            "was changed after it was applied": {"2_totals": "SELECT 1"},
            "is new and comes before 2_totals.sql": {"0_early": "SELECT 1"},
            "each migration is one transaction already": {"3_ends": "COMMIT; SELECT 1"},
        }
        kept = (bench.checkout / "db/migrations/2_totals.sql").read_bytes()
        for words, files in rules.items():
            write(bench, **files)
            seen = self.preview(bench)
            assert words in seen.refuses and not seen.changes, (words, seen)
            for name in files:
                (bench.checkout / f"db/migrations/{name}.sql").unlink()
            (bench.checkout / "db/migrations/2_totals.sql").write_bytes(kept)

    def test_what_destroys_must_be_meant(self, bench: Bench) -> None:
        write(bench, **{"3_less": "ALTER TABLE orders DROP COLUMN total"})
        seen = self.preview(bench)
        assert seen.destroys and seen.changes[-1].startswith("3_less.sql destroys: ALTER TABLE")
        write(bench, **{"3_less": "-- cxlocal: destroys (read by nobody since 1.4)\n"
                                  "ALTER TABLE orders DROP COLUMN total"})  # fmt: skip
        assert not self.preview(bench).destroys

    def test_a_database_of_somebody_else_is_left_alone(self, bench: Bench) -> None:
        self.server.sql("CREATE DATABASE webshop_production")
        self.server.sql("CREATE TABLE theirs (id int)", "webshop_production")
        for verb in ("provision", "destroy"):
            ran = self._run(bench, verb)
            assert ran.outcome.outcome == "failure" and "is not ours" in ran.outcome.reason
        assert self.query("SELECT count(*) FROM theirs") == [(0,)]
        self.server.sql("DROP DATABASE webshop_production")
        # An empty one without a label is what a creation leaves that was cut off.
        self.server.sql("CREATE DATABASE webshop_production")
        assert self._run(bench, "provision").outcome.outcome == "success"

    def test_a_given_one_is_migrated_by_one_deliverable_alone(
        self, bench: Bench, postgresql: Databases, tmp_path: Path
    ) -> None:
        given = {"url": postgresql.fresh(), "migrations": "db/migrations"}
        for verb in ("provision", "apply", "destroy"):
            ran = bench.run(Postgresql, verb, given)
            assert ran.outcome.outcome == "success", story(ran)
        other = Bench(tmp_path / "other", deliverable="billing")
        self.prepare(other)
        ran = other.run(Postgresql, "apply", given)
        assert (
            ran.outcome.outcome == "failure" and "webshop applies migrations" in ran.outcome.reason
        )

    def test_its_password_is_told_in_secret_alone(
        self, bench: Bench, postgresql: Databases
    ) -> None:
        """The server asks for one; the address with it stands in no log and no result."""
        secret = "pw%/ä9f31"
        url = postgresql.fresh()
        self.server.sql(f"CREATE ROLE shop LOGIN PASSWORD '{secret}'")
        name = url.rpartition("/")[2]
        self.server.sql(f"GRANT ALL ON DATABASE {name} TO shop")
        given = {"url": url.replace("postgres@", "shop@"), "password": "DB"}
        ran = bench.run(Postgresql, "apply", given, secrets={"DB": secret}, mask_log=False)
        assert ran.outcome.secrets["url"].startswith("postgresql://shop:pw%25%2F%C3%A49f31@127")
        assert isinstance(ran.outcome.result, Applied)
        assert ran.outcome.result.outputs["url"].startswith("postgresql://shop@127")
        assert secret not in str(ran.outcome.result) and secret.encode() not in ran.log
        missing = bench.run(Postgresql, "apply", given)
        assert missing.outcome.outcome == "error" and "DB is not here" in missing.outcome.reason

    def test_a_server_that_is_away_is_trouble(self, bench: Bench) -> None:
        ran = bench.run(Postgresql, "preview", {"url": "postgresql://postgres@127.0.0.1:9/x"})
        assert ran.outcome.outcome == "error" and "cannot be reached" in ran.outcome.reason


RULES: dict[str, tuple[list[Migration], list[Migration], dict[str, bool], Any]] = {
    "nothing was applied": ([migration("1"), migration("2")], [], {}, ["1", "2"]),
    "one waits": ([migration("1"), migration("2")], [migration("1")], {}, ["2"]),
    "none waits": ([migration("1")], [migration("1")], {}, []),
    "changed": ([migration("1", "SELECT 2")], [migration("1")], {}, "was changed after"),
    "changed, and everything allowed": (
        [migration("1", "SELECT 2")], [migration("1")], {"ahead": True, "out_of_order": True},
        "was changed after",
    ),
    "unknown": ([migration("1")], [migration("1"), migration("2")], {}, "has 2, which this"),
    "unknown, allowed": ([migration("1")], [migration("1"), migration("2")], {"ahead": True}, []),
    "early": ([migration("1"), migration("2")], [migration("2")], {}, "1 is new and comes before 2"),
    "early, allowed": (
        [migration("1"), migration("2")], [migration("2")], {"out_of_order": True}, ["1"],
    ),
    "ten comes after two": (
        [migration("2_a"), migration("10_a")], [migration("2_a")], {}, ["10_a"],
    ),
    "ends its transaction": ([migration("1", "SELECT 1; COMMIT; SELECT 2")], [], {}, "1 has COMMIT"),
    "begins one": ([migration("1", "-- x\n begin;")], [], {}, "1 has begin"),
    "words of a function": (
        [migration("1", "CREATE FUNCTION f() RETURNS int AS $$ BEGIN RETURN 1; END; $$ LANGUAGE plpgsql")],
        [], {}, ["1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RULES)
def test_the_rules(case: str) -> None:
    files, applied, allowed, wanted = RULES[case]
    there = {one.name: one.sha256 for one in applied}
    allowed = {"ahead": False, "out_of_order": False, **allowed}
    if isinstance(wanted, str):
        with pytest.raises(ToolFailure, match=wanted):
            pending(files, there, **allowed)
    else:
        assert [one.name for one in pending(files, there, **allowed)] == wanted


DESTROYS = {
    "DROP TABLE a": 1,
    "drop  table if exists a; SELECT 1": 1,
    "ALTER TABLE a DROP COLUMN b": 1,
    "ALTER TABLE a\n  ADD COLUMN c int,\n  DROP b": 1,
    "TRUNCATE a": 1,
    "DELETE FROM a": 1,
    "DROP SCHEMA s CASCADE; DROP VIEW v": 2,
    "DELETE FROM a WHERE b = 1": 0,
    "ALTER TABLE a DROP CONSTRAINT c": 0,
    "ALTER TABLE a ALTER COLUMN b DROP NOT NULL": 0,
    "DROP INDEX i": 0,
    "SELECT 'DROP TABLE a'": 0,
    "-- DROP TABLE a\nSELECT 1": 0,
    "/* ; DROP TABLE a; */ SELECT 1": 0,
    "SELECT $x$ ; DROP TABLE a; $x$": 0,
    "SELECT E'\\'; DROP TABLE a; --'": 0,
    "COMMENT ON TABLE \"a;DROP TABLE b\" IS 'x'": 0,
}


@pytest.mark.parametrize("text", DESTROYS)
def test_what_destroys(text: str) -> None:
    assert len(migration("1", text).destroys) == DESTROYS[text], statements(text)


def test_numbers_in_names_count_as_numbers() -> None:
    names = ["10_b.sql", "9_a.sql", "2026-01-02.sql", "V2__x.sql", "V10__x.sql", "a.sql"]
    assert sorted(names, key=in_order) == [
        "9_a.sql", "10_b.sql", "2026-01-02.sql", "V2__x.sql", "V10__x.sql", "a.sql",
    ]  # fmt: skip


def test_it_is_done_where_it_is_given(tmp_path: Path) -> None:
    ran = Bench(tmp_path / "bench").run(Postgresql, "provision", {"url": "postgresql://nobody/x"})
    assert ran.outcome.result == Done()


def test_why_a_database_cannot_be_reached_is_said_in_one_line(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "bench")
    ran = bench.run(Postgresql, "observe", {"url": "postgresql://u@127.0.0.1:1/shop"})
    reason = ran.outcome.reason
    assert "Connection refused; Is the server running" in reason, reason
    assert "\t" not in reason
    nowhere = {"url": "postgresql://u@/shop?host=/nowhere"}
    reason = bench.run(Postgresql, "observe", nowhere).outcome.reason
    assert "/nowhere/.s.PGSQL.5432" in reason and "No such file or directory; Is the" in reason, (
        reason
    )
