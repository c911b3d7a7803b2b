"""What the stored queries say after a version went out by hand, and after one did not."""

from __future__ import annotations

from typing import Any

import pytest

PROJECT = """
[stages]
build = { command = "echo $CXLOCAL_VERSION > app.txt", produces = { app = "app.txt" } }
stage = { kind = "deploy", command = "true", needs = ["build"], environment = "staging" }
live = { kind = "deploy", command = "test ! -e broken", requires = ["READY"], environment = "production" }
[promotions]
READY = { title = "Approved" }
[environments]
staging = { protected = false }
production = { title = "Live" }
"""


def well(result: Any) -> None:
    assert result.code == 0, result.err


def ask(shop: Any, name: str, *given: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = shop.command("sql", "-q", name, *given, "--json").json()
    return rows


@pytest.mark.parametrize("pieces", [False, True])
def test_a_deployment_after_a_promotion_by_hand_has_the_versions_bytes(
    shop: Any, pieces: bool
) -> None:
    """By ``deploy``, and where another program deploys and reports it as a stage."""
    shop.write(PROJECT, {".gitignore": "app.txt\n.cx/run\n"})
    if pieces:
        well(shop.command("run", "start"))
        for stage, word in (("build", "echo 1 > app.txt"), ("stage", "true")):
            well(shop.command("stage", stage, "--", "sh", "-c", word))
    else:
        well(shop.run("--to", "staging"))
    (version,) = shop.query("SELECT version FROM run")
    well(shop.command("promote", version, "READY", "-m", "ok"))
    if pieces:
        well(shop.command("stage", "live", "--", "true"))
    else:
        well(shop.command("deploy", version, "--to", "production"))
    (row,) = ask(shop, "same-image")
    assert (row["environments"], row["same_artifact"]) == ("production,staging", "yes")
    assert row["same_environment_image"] == "not known, 0 of 2"


def test_a_deployment_that_failed_after_its_run_went_well_is_seen(shop: Any) -> None:
    shop.write(PROJECT, {".gitignore": "app.txt\n.cx/run\n", "broken": ""})
    well(shop.run("--to", "staging"))
    well(shop.command("promote", "0.1.0", "READY", "-m", "ok"))
    assert shop.command("deploy", "0.1.0", "--to", "production").code == 1
    (row,) = ask(shop, "failed-runs")
    assert (row["version"], row["stage"], row["outcome"]) == ("0.1.0", "live", "failed")
    assert row["outcome_reason"] == "deploying to production: exit code 1"
    (flag,) = ask(shop, "look-at")
    assert (flag["kind"], flag["text"]) == (
        "deployment-failed", "Live: 0.1.0 failed here: exit code 1",
    )  # fmt: skip
    assert shop.query("SELECT outcome, trouble FROM run_board") == [
        ("success", "production: failed")
    ]
    said = shop.command("status").out
    assert "0.1.0 failed here" in said and "production: 0.1.0" not in said, "of the environment"
    refused = shop.command("sql", "-q", "live-at", "-p", "at", "tuesday")
    assert refused.code == 2 and '"tuesday" is no time' in refused.err
    assert "2026-11-23 02:14" in refused.err
