"""What commands say where little goes wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

CHAIN = """
[stages]
build = { command = "true" }
unit = { command = "true", needs = ["build"] }
live = { command = "true", needs = ["unit"], kind = "deploy", environment = "production" }

[environments.production]
protected = true
"""


def test_a_run_that_ends_where_it_was_asked_to(shop: Any) -> None:
    shop.write(CHAIN)
    planned = shop.run("--to", "unit", "--dry-run")
    assert "It ends with unit, as asked" in planned.out + planned.err
    assert "production is protected" not in planned.out + planned.err
    done = shop.run("--to", "unit")
    assert done.code == 0, done.err
    assert "protected" not in done.out + done.err
    assert "cxlocal run --resume" in done.out + done.err
    assert (
        "stops before production"
        in shop.run("--dry-run").err.lower() + shop.run("--dry-run").out.lower()
    )


@pytest.mark.parametrize("option", ["-q", "-v", "--debug"])
def test_an_option_of_the_program_after_the_command(shop: Any, option: str) -> None:
    done = shop.command("rehearse", option)
    assert (done.code, f"put it before the command: cxlocal {option} rehearse" in done.err) == (
        2,
        True,
    )


def test_an_option_with_a_value_after_the_command(shop: Any) -> None:
    done = shop.command("status", "-C", ".")
    assert (done.code, "cxlocal -C DIR status" in done.err) == (2, True), done.err


def test_status_after_a_release_that_deploys_nothing(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert "'cxlocal run'" in shop.command("status").out
    assert shop.run().code == 0
    done = shop.command("status")
    assert "Nothing is live" in done.out and "'cxlocal log'" in done.out
    assert "'cxlocal run' makes a release" not in done.out


def test_a_store_that_is_away_is_told_of_once(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert shop.run().code == 0
    store = shop.home / "store.db"
    store.rename(shop.home / "elsewhere.db")
    store.mkdir()
    done = shop.command("sync")
    assert (done.code, done.err.lower().count("store cannot be reached")) == (5, 1), done.err


def test_questions_that_find_nothing(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert shop.run().code == 0
    done = shop.command("log", "-d", "nosuch")
    assert "No such run of nosuch" in done.out + done.err
    for statement in ("SELECT :a", "SELECT ?"):
        done = shop.command("sql", statement)
        assert (done.code, "-p a VALUE" in done.err) == (2, True)
    for number in ("0", "-3"):
        assert shop.command("log", "-n", number).code == 2
    assert json.loads(shop.command("trust", "--list", "--json").out) == []
