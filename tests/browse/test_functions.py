"""Functions for SQL on a journal: the same in ``cxlocal sql`` and on the pages."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxlocal.doctor.project import check_disputes
from cxlocal.projection.functions import add_functions, in_order, semver_key

ORDER = ("0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
         "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2", "1.10.0", "2.7.9", "2.7.10", "2.7.10.1", "10.0.0")  # fmt: skip


def test_versions_sort_as_semantic_versioning_has_them() -> None:
    """The order is that of its specification, and of numbers behind it."""
    shuffled = random.Random(1).sample(ORDER, len(ORDER))
    assert tuple(sorted(shuffled, key=lambda one: semver_key(one) or "")) == ORDER


def test_versions_in_words_are_in_that_order_each_once() -> None:
    assert in_order(["1.10", "1.9", "1.9", "latest", "2.0.0", "2.0.0-rc.1"]) == [
        "latest", "1.9", "1.10", "2.0.0-rc.1", "2.0.0",
    ]  # fmt: skip
    rows = [{"environment": "production", "versions": json.dumps(["1.10.0", "1.9.0"])}]
    told: Any = SimpleNamespace(query=lambda sql, given: rows if "versions" in sql else [])
    [check] = check_disputes(told, "shop")
    assert check.found.endswith(": 1.9.0, 1.10.0")


@pytest.mark.parametrize(
    ("one", "same"),
    [("1.2", "1.2.0"), ("v3.1", "3.1"), ("1.0.0+build.7", "1.0.0"), ("1.0-rc1", "1.0rc1")],
)
def test_what_is_one_version_has_one_key(one: str, same: str) -> None:
    assert semver_key(one) == semver_key(same) is not None


@pytest.mark.parametrize(
    "version", [None, "", "latest", 7, "1..2", "1.0 ", "x1", "1.0\n", "1" * 300, "-1", "१.२"]
)
def test_what_is_no_version_has_no_key(version: Any) -> None:
    assert semver_key(version) is None


def test_every_way_to_ask_knows_them(cx: Any, small_file: Path, small: Any) -> None:
    sql = ("SELECT version, human_duration(duration_seconds) AS took, hlc_time(0) AS t FROM run WHERE version IS NOT NULL"
           " AND deliverable = 'webshop' ORDER BY semver_key(version) DESC LIMIT 2")  # fmt: skip
    done = cx.ok("sql", sql, "--json", env={"CXLOCAL_HOME": str(small_file.parent)})
    page = small.one(f"/journal.json?_shape=array&sql={sql}").json
    assert json.loads(done.out) == page
    assert [row["version"] for row in page] == ["2.7.102", "2.7.101"] and page[1][
        "took"
    ] == "10 min"
    with sqlite3.connect(":memory:") as connection:
        add_functions(connection)
        assert connection.execute(
            "SELECT max(semver_key('2.9'), semver_key('2.10')) = semver_key('2.10')"
        ).fetchone() == (1,)
    connection.close()
