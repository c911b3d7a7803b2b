"""What is really contacted at an address: two spellings of one place are one, and whatever the
surroundings change makes another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cxlocal.address import LIBPQ, database_parts
from cxlocal.config.load import parse
from cxlocal.errors import ConfigError
from cxlocal.exchange.destination import destination

HOME = Path("/home/ann/cx")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://store.example.org", "https://Store.Example.org/"),
        ("https://store.example.org", "https://store.example.org:443"),
        ("http://127.0.0.1/cx", "http://127.0.0.1:80/cx/"),
        ("http://[::1]:8377", "http://[::1]:8377/"),
        ("sqlite:///srv/cx/store.db", "sqlite:/srv/cx/../cx/store.db"),
        ("sqlite:///srv/cx/store.db", "sqlite:///srv/cx/%73tore.db"),
        ("sqlite:", "sqlite:///home/ann/cx/store.db"),
        ("folder:///mnt/team/releases", "folder:///mnt//team/./releases/"),
        ("s3://b/p?region=eu&endpoint=https://x", "s3://b/p/?endpoint=https://x&region=eu"),
        ("postgresql://cx@db/cx", "postgresql://cx@db:5432/cx"),
        ("postgresql://cx@db/cx", "postgresql://cx:secret@db/cx"),
        ("postgresql://cx@db/cx", "postgresql:///?host=db&user=cx&dbname=cx"),
    ],
)
def test_one_place_has_one_form(one: str, other: str) -> None:
    assert destination(one, {}, HOME) == destination(other, {}, HOME)
    assert "secret" not in destination(other, {}, HOME)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://store.example.org", "http://store.example.org"),
        ("https://store.example.org", "https://store.example.org:8377"),
        ("https://store.example.org/a", "https://store.example.org/b"),
        ("https://store.example.org/?to=a", "https://store.example.org/?to=b"),
        ("https://store.example.org", "https://store.example.org.evil.example"),
        ("sqlite:///srv/cx/store.db", "sqlite:srv/cx/store.db"),
        ("sqlite:", "sqlite:journal.db"),
        ("folder:///mnt/team", "folder:///mnt/team2"),
        ("s3://b/p?endpoint=https://x", "s3://b/p?endpoint=https://y"),
        ("s3://b/p?region=eu", "s3://b/p?region=us"),
        ("postgresql://cx@db/cx", "postgresql://cx@db/other"),
        ("postgresql://cx@db/cx", "postgresql://other@db/cx"),
        ("postgresql://cx@db/cx", "postgresql://cx@db:5433/cx"),
        ("postgresql://cx@db/cx", "postgresql://cx@db/cx?host=evil"),
        ("postgresql://cx@db/cx", "postgresql://cx@db/cx?hostaddr=10.0.0.1"),
        ("postgresql://cx@db/cx?sslmode=require", "postgresql://cx@db/cx?sslmode=disable"),
        ("other:a", "other:b"),
    ],
)
def test_another_place_has_another_form(one: str, other: str) -> None:
    assert destination(one, {}, HOME) != destination(other, {}, HOME)


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("s3://b/p", "AWS_ENDPOINT_URL_S3"), ("s3://b/p", "AWS_ENDPOINT_URL"),
        ("s3://b/p", "AWS_ENDPOINT"), ("s3://b/p", "AWS_REGION"), ("s3://b/p", "AWS_DEFAULT_REGION"),
        *(("postgresql:///", name) for name in LIBPQ.values()),
        ("postgresql:///", "PGSERVICE"),
    ],
)  # fmt: skip
def test_what_the_surroundings_change_is_another_place(url: str, variable: str) -> None:
    seen = {destination(url, environ, HOME) for environ in ({}, {variable: "1"}, {variable: "2"})}
    assert len(seen) == 3


def test_a_link_leads_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    link = tmp_path / "share"
    link.symlink_to(tmp_path / "a")
    before = {kind: destination(f"{kind}://{link}/s", {}, HOME) for kind in ("folder", "sqlite")}
    link.unlink()
    link.symlink_to(tmp_path / "b")
    for kind, known in before.items():
        assert destination(f"{kind}://{link}/s", {}, HOME) != known


SERVICES = "# ours\n[cx]\nhost=db.example.org\nport=6432\ndbname=named\n\n[other]\nhost=evil\n"
PLACES = ("host", "hostaddr", "port", "dbname", "user")


@pytest.mark.parametrize(
    ("url", "environ"),
    [
        ("postgresql://cx@db:1,db2:2/cx", {}),
        ("postgresql://cx@db,db2/cx", {"PGPORT": "7"}),
        ("postgresql://cx@/cx?host=/run/postgresql", {"PGHOST": "evil"}),
        ("postgresql://cx@[::1]:5/cx", {}),
        ("postgresql://c%78@d%62/c%78", {}),
        ("postgresql:///", {"PGHOST": "h", "PGPORT": "9", "PGDATABASE": "d", "PGUSER": "u"}),
        ("postgresql:///x", {"PGHOST": "h", "PGHOSTADDR": "10.0.0.1", "PGUSER": "u"}),
        ("postgresql://u@/", {"PGSERVICE": "cx"}),
        ("postgresql://u@/", {"PGSERVICE": "cx", "PGHOST": "h", "PGPORT": "9"}),
        ("postgresql://u@asked/", {"PGSERVICE": "cx"}),
        ("postgresql://u@/?service=cx", {"PGSERVICE": "other"}),
    ],
)
def test_a_database_is_where_libpq_finds_it(
    url: str, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our reading of address, variables and service file against the library's own."""
    from psycopg import pq

    services = tmp_path / "services.conf"
    services.write_text(SERVICES)
    environ = {**environ, "PGSERVICEFILE": str(services)}
    asked = {
        one.keyword.decode(): one.val.decode() for one in pq.Conninfo.parse(url.encode()) if one.val
    }
    # What libpq fills in itself comes from the process: its variables, and the service they name.
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    if asked.get("service"):
        monkeypatch.setenv("PGSERVICE", asked["service"])
    filled = {one.keyword.decode(): (one.val or b"").decode() for one in pq.Conninfo.get_defaults()}
    found = {key: asked.get(key) or filled.get(key) or "" for key in PLACES}
    told = destination(url, environ, HOME)
    where = f"{found['user']}@{found['host']}:{found['port']}/{found['dbname'] or found['user']}"
    assert told.replace("[", "").replace("]", "").startswith(f"postgresql://{where}")
    assert ("hostaddr" in told) is bool(found["hostaddr"])


UNCLEAR = [
    "postgresql://127.0.0.1?user=@127.0.0.1:5998/x&port=5999&user=cx&dbname=cx",
    "postgresql://127.0.0.1?user=@127.0.0.1:5998/x?passfile=/x&user=cx&dbname=cx",
    "postgresql://a@b@c/cx", "postgresql://good/cx#@evil/cx", "postgresql://good#@evil/cx",
    "postgresql://cx@db/cx?user=a@evil", "postgresql://cx@db/cx?host=db&host=evil",
    "postgresql://cx@db/cx?sslmode=require?passfile=/x", "postgresql:host=evil",
    "postgresql:/cx@db/cx", "postgresql://cx@db/cx/x@evil",
]  # fmt: skip


@pytest.mark.parametrize("url", UNCLEAR)
def test_an_address_that_may_be_read_in_two_ways_is_refused(url: str) -> None:
    from cxlocal_sync.postgresql.connecting import read_address

    with pytest.raises(ConfigError, match="cannot be read"):
        read_address(url)
    with pytest.raises(ConfigError, match="more than one way"):
        parse(f'cx = 1\n[deliverable]\nname = "x"\n[store]\nurl = "{url}"')


@settings(deadline=None, max_examples=300)
@example(["[::1]", ",", "&"])
@given(
    st.lists(
        st.sampled_from(
            ["@", "?", "/", ":", ",", "&", "=", "#", "+", "a", "1", "%40", "%2F", "user=", "host=",
             "port=", "dbname=", "hostaddr=", "[::1]"]
        ),
        max_size=10,
    )
)  # fmt: skip
def test_whatever_is_contacted_is_what_was_compared(pieces: list[str]) -> None:
    from cxlocal_sync.postgresql.connecting import read_address
    from psycopg import pq

    url = "postgresql://" + "".join(pieces)
    try:
        read_address(url)
    except ConfigError:
        return
    asked = {
        one.keyword.decode(): (one.val or b"").decode() for one in pq.Conninfo.parse(url.encode())
    }
    ours = database_parts(url)
    for place in PLACES:
        # libpq takes the brackets of each host away.
        bare = [
            (known.get(place) or "").translate({ord("["): None, ord("]"): None}).strip(",")
            for known in (asked, ours)
        ]
        assert bare[0] == bare[1], place
