"""What the store in PostgreSQL decides without a server: which one it stands on, whom commits wait
for, and what of an address may be shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from cxlocal_sync.postgresql.connecting import read_address
from cxlocal_sync.postgresql.place import (
    MOVED,
    Alone,
    Where,
    all_confirming,
    judge_server,
    where_text,
)
from cxlocal_sync.postgresql.store import PostgresqlStore

from cxlocal.address import argument_address, public_address
from cxlocal.errors import ConfigError, UsageError

HERE = Where("7", 1, 16400, ())


@pytest.mark.parametrize(
    ("known", "now", "stopped"),
    [
        (HERE, HERE, ""),
        (HERE, HERE._replace(standbys=("b",)), ""),
        (HERE, HERE._replace(system="8"), "another one"),
        (HERE, HERE._replace(tables=9), "filled anew"),
        (HERE, HERE._replace(timeline=2), "timeline went from 1 to 2"),
        (HERE, HERE._replace(timeline=2, name="b", received=True), "timeline"),
        (HERE._replace(standbys=("b",)), HERE._replace(timeline=2, name="b", received=True), ""),
        (HERE._replace(standbys=("b",)), HERE._replace(timeline=2, name="b"), "timeline"),
        (
            HERE._replace(standbys=("b",)),
            HERE._replace(timeline=2, name="c", received=True),
            "timeline",
        ),
        (
            HERE._replace(standbys=("b",), timeline=3),
            HERE._replace(timeline=2, name="b", received=True),
            "timeline",
        ),
        (HERE._replace(standbys=("b",)), HERE._replace(standbys=("c",)), ""),
    ],
)
def test_what_is_made_of_another_server(known: Where, now: Where, stopped: str) -> None:
    place = judge_server(where_text(known), where_text(now))
    if not stopped:
        assert place == (where_text(now), None)
        return
    assert place.stop is not None
    assert place.stop[0] == MOVED
    assert stopped in place.stop[1]
    assert place.hint == where_text(known), "it stays stopped until it is recovered"


def test_a_hint_that_cannot_be_read_stops_the_numbers() -> None:
    assert judge_server("{", where_text(HERE)).stop is not None
    assert judge_server("", where_text(HERE)) == (where_text(HERE), None)


def test_a_standby_that_believes_it_has_everything_is_not_left_behind() -> None:
    trusting = HERE._replace(standbys=("b", "c"))
    with pytest.raises(Alone, match="standby b"):
        judge_server(where_text(trusting), where_text(HERE))
    promoted = HERE._replace(timeline=2, name="b", received=True)
    with pytest.raises(Alone, match="standby c"):
        judge_server(where_text(trusting), where_text(promoted))


@pytest.mark.parametrize(
    ("names", "commit", "confirming"),
    [
        ("", "on", ()),
        ("b", "on", ("b",)),
        ("b", "remote_apply", ("b",)),
        ("b", "remote_write", ()),
        ("b", "local", ()),
        ("b, c", "on", ()),
        ("FIRST 2 (b, c)", "on", ("b", "c")),
        ("2 (b, c)", "on", ("b", "c")),
        ("ANY 1 (b, c)", "on", ()),
        ("any 2 (b,c)", "on", ("b", "c")),
        ('"B""x"', "on", ('B"x',)),
        ("Node_1", "on", ("node_1",)),
        ("*", "on", ()),
    ],
)
def test_who_confirms_every_commit(names: str, commit: str, confirming: tuple[str, ...]) -> None:
    assert all_confirming(names, commit) == confirming


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://cx:s3cret@db/store", "postgresql://cx@db/store"),
        ("postgresql://cx:s3@cret@db/store", "postgresql://cx@db/store"),
        ("postgresql://cx:s/3cret@db/store", "postgresql://cx@db/store"),
        ("postgresql://db/store?password=s3cret&sslmode=require", "postgresql://db/store?sslmode=require"),
        ("postgresql://db/store?sslp%61ssword=s3cret", "postgresql://db/store"),
        ("postgresql://cx@a:1,b:2/store", "postgresql://cx@a:1,b:2/store"),
        ("sqlite:///srv/store.db", "sqlite:///srv/store.db"),
    ],
)  # fmt: skip
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert public_address(url) == shown
    assert "s3" not in PostgresqlStore(shown, Path("/")).url if "postgres" in url else True
    if url == shown:
        assert argument_address(url) == url
    else:
        with pytest.raises(UsageError, match="password"):
            argument_address(url)


def test_an_address_names_servers() -> None:
    servers = read_address("postgresql://cx@a:1,b:2/store?connect_timeout=3")
    assert [(each["host"], each["port"]) for each in servers] == [("a", "1"), ("b", "2")]
    for broken in ("postgresql://cx:s3@cret@db/store", "postgresql://a/b?nonsense=1"):
        with pytest.raises(ConfigError) as caught:
            read_address(broken)
        assert "s3" not in str(caught.value)
