"""Names of machines: the host name, and which one where several have it."""

from __future__ import annotations

import sqlite3
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from cxlocal.journal.migrate import steps
from cxlocal.projection.apply import upsert_sql

NODES = [letter * 32 for letter in "abcd"]
HOSTS = ["laptop", "ci", "büro <b>"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(HOSTS)), max_size=12))
def test_each_name_is_one_machine_in_whatever_order_they_came(said: list[tuple[str, str]]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    steps().apply(Database(connection, execute_plugins=False))
    columns = ("platform", "kept", "cxlocal_version", "parent", "cause", "began_at")
    for turn, (node, host) in enumerate(said):
        connection.execute("INSERT INTO machine (node) VALUES (?) ON CONFLICT DO NOTHING", (node,))
        row = (node, host, *("x" for _ in columns), f"{turn:03}")
        connection.execute(upsert_sql("machine", "began"), row)
    hosts = dict(said)
    times = Counter(hosts.values())
    wanted = {
        node: host if times[host] == 1 else f"{host} ({node[:8]})" for node, host in hosts.items()
    }
    assert dict(connection.execute("SELECT node, name FROM machine")) == wanted
    assert len(set(wanted.values())) == len(wanted)
    connection.close()
