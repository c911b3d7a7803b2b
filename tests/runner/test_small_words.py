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


def test_questions_that_find_nothing(shop: Any) -> None:
    shop.write('[stages]\nbuild = { command = "true" }\n')
    assert shop.run().code == 0
    done = shop.command("log", "-d", "nosuch")
    assert "No such run of nosuch" in done.out + done.err
    done = shop.command("sql", "SELECT :a")
    assert (done.code, "-p a VALUE" in done.err) == (2, True)
    assert json.loads(shop.command("trust", "--list", "--json").out) == []
