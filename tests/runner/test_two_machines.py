"""Two machines with one store carry on what the other began."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rewriting_kit import rewrite

TO_SUCCESS = ('"outcome":"failure"', '"outcome":"success"')


class Machines:
    """Two homes, one store, one working tree."""

    def __init__(self, shop: Any, root: Path) -> None:
        self.shop = shop
        self.store = {"CXLOCAL_STORE": f"sqlite://{root}/shared/store.db"}
        self.homes = {name: str(root / name) for name in ("one", "two")}
        assert self("one", "store", "create", self.store["CXLOCAL_STORE"]).code == 0

    def __call__(self, name: str, *arguments: str) -> Any:
        env = {**self.store, "CXLOCAL_HOME": self.homes[name]}
        return self.shop.command(*arguments, env=env)

    def level(self) -> None:
        """Both hold everything."""
        for name in ("one", "two", "one", "two"):
            assert self(name, "sync").code == 0

    def rows(self, name: str, sql: str) -> Any:
        return self(name, "sql", sql, "--json").json()


@pytest.fixture
def machines(shop: Any, tmp_path: Path) -> Machines:
    return Machines(shop, tmp_path)


def test_a_run_resumed_elsewhere_ends_as_it_ended_there(
    machines: Machines, shop: Any, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    shop.write(f'[stages]\na = {{ command = "test -e {flag}" }}\n')
    # The chain of the first machine is longer: its sequences are greater than all of the second.
    for _ in range(3):
        assert machines("one", "run").code == 1
    run = machines.rows("one", "SELECT id FROM run ORDER BY queued_at DESC LIMIT 1")[0]["id"]
    machines.level()
    flag.touch()
    assert machines("two", "run", "--resume", run).code == 0
    machines.level()
    ask = f"SELECT outcome, outcome_reason FROM run WHERE id = '{run}'"
    for name in ("one", "two"):
        assert machines.rows(name, ask) == [{"outcome": "success", "outcome_reason": ""}]
        assert machines(name, "verify").code == 0


def test_an_environment_made_again_elsewhere_stands(machines: Machines, shop: Any) -> None:
    shop.write("""
[stages]
live = { kind = "deploy", command = "true", environment = "staging" }
[environments.staging]
lifetime = "lasting"
protected = false
""")
    for _ in range(3):
        assert machines("one", "run").code == 0
    assert machines("one", "env", "destroy", "staging", "--yes").code == 0
    machines.level()
    for name in ("one", "two"):
        assert machines.rows(name, "SELECT 1 FROM deployments_now") == []
        assert "staging" not in machines(name, "env", "list").out
    assert machines("two", "run").code == 0
    machines.level()
    for name in ("one", "two"):
        assert len(machines.rows(name, "SELECT 1 FROM deployments_now")) == 1
        assert "staging" in machines(name, "env", "list").out
    assert machines("two", "env", "destroy", "staging", "--yes").code == 0
    machines.level()
    for name in ("one", "two"):
        assert machines.rows(name, "SELECT 1 FROM deployments_now") == []
        assert "staging" not in machines(name, "env", "list").out


LIVE = """
[stages]
live = { kind = "deploy", command = "true", environment = "staging" }
[targets]
share = { tool = "folder", with = { folder = "@DESK@" } }
[promotions]
GOOD = { title = "Good" }
[environments]
staging = { protected = false }
"""


def test_what_another_machine_did_meanwhile_is_asked_for_first(
    machines: Machines, shop: Any, tmp_path: Path
) -> None:
    shop.write(LIVE.replace("@DESK@", str(tmp_path)))
    machines.homes["three"] = str(tmp_path / "three")
    assert machines("three", "sync").code == 0
    for name in ("one", "one", "two"):
        assert machines(name, "run").code == 0
    # The second does not know yet what the first deploys now.
    assert machines("one", "run").code == 0
    live = "SELECT version FROM deployments_now"
    (now,) = machines.rows("one", live)
    assert now["version"] == "0.1.3"
    back = machines("two", "rollback")
    assert back.code == 0 and "Going back from 0.1.3 to 0.1.2" in back.err + back.out, back.err
    assert machines("one", "run").code == 0
    for words in (
        ("deploy", "0.1.4"),
        ("promote", "0.1.4", "GOOD", "-m", "seen"),
        ("publish", "0.1.4"),
    ):
        away = machines("two", *words, "--offline")
        assert (away.code, "no run is known here as '0.1.4'" in away.err) == (2, True), away.err
        asked = machines("two", *words)
        # A machine that knows the version can tell that nobody agreed there to its targets.
        found = (3, True) if words[0] == "publish" else (0, False)
        assert (asked.code, "nobody agreed here to publish to share" in asked.err) == found
        machines.homes["two"] += "-anew"
    assert machines("two", "deploy", "9.9.9").code == 2
    # What is live there is known now, so that it can be said why it cannot be repaired.
    repaired = machines("three", "env", "repair", "staging")
    assert "staging is not made of instances" in repaired.err, repaired.err


def test_a_decision_in_knowledge_of_another_holds(machines: Machines, shop: Any) -> None:
    shop.write("""
[stages]
a = { command = "true" }
live = { kind = "deploy", command = "true", needs = ["a"], environment = "production", requires = "APPROVED" }
[promotions]
APPROVED = { title = "Approved" }
[environments.production]
""")
    assert machines("one", "run").code == 0
    machines.level()
    assert machines("one", "promote", "0.1.0", "APPROVED", "--deny", "-m", "no").code == 0
    machines.level()
    assert machines("two", "promote", "0.1.0", "APPROVED", "--override", "-m", "yes").code == 0
    machines.level()
    # Whatever their clocks said.
    ask = "SELECT decision, turn FROM promotion ORDER BY turn"
    for name in ("one", "two"):
        assert machines.rows(name, ask) == [
            {"decision": "denied", "turn": 0},
            {"decision": "overridden", "turn": 1},
        ]
        done = machines(name, "deploy", "0.1.0", "--to", "production", "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)


def test_a_run_has_one_number_on_all_machines(machines: Machines, shop: Any) -> None:
    shop.write('[version]\nline = "2.7"\n[stages]\na = { command = "true" }\n')
    for name in ("one", "two"):
        assert machines(name, "run").code == 0
    begun = machines("one", "run", "start", "--no-number", "--json").json()["run"]
    machines.level()
    texts = []
    for name in ("one", "two", "one"):
        env = {**machines.store, "CXLOCAL_HOME": machines.homes[name], "CXLOCAL_RUN": begun}
        done = shop.command("version", "next", "--plain", env=env)
        if name == "two":
            assert (done.code, "has its number already" in done.err) == (3, True), done.err
            assert machines("one", "sync").code == 0
            done = shop.command("version", "next", "--plain", env=env)
        assert done.code == 0, done.err
        texts.append(done.out)
    assert len(set(texts)) == 1
    machines.level()
    for name in ("one", "two"):
        assert len(machines.rows(name, f"SELECT 1 FROM run_board WHERE run = '{begun}'")) == 1


def test_each_chain_brings_the_plans_it_uses(machines: Machines, shop: Any) -> None:
    shop.write('[stages]\na = { command = "true" }\n')
    assert machines("one", "run").code == 0
    machines.level()
    for _ in range(2):
        assert machines("two", "run").code == 0
    plans = (
        "SELECT document ->> '$.customData.cxlocal.plan' IS NOT NULL AS whole FROM event_log"
        " WHERE type LIKE '%pipelinerun.queued%' ORDER BY id"
    )
    # The first of each chain brings it whole, the next by its digest.
    assert [row["whole"] for row in machines.rows("two", plans)] == [1, 1, 0]


def test_a_rewritten_release_is_promoted_only_after_a_person_settled_it(
    machines: Machines, shop: Any
) -> None:
    """A failed test becomes a success in one machine's file; the other one is asked to promote it."""
    shop.write("""
[stages]
unit = { kind = "test", command = "exit 1" }
live = { kind = "deploy", command = "true", environment = "production", requires = ["TESTED"] }
[environments.production]
lifetime = "lasting"
[promotions.TESTED]
after = ["unit"]
""")
    assert machines("one", "run").code == 1
    machines.level()
    assert rewrite(Path(machines.homes["one"]) / "journal.db", *TO_SUCCESS) > 0
    assert machines("one", "journal", "rebuild").code == 7
    synced = machines("one", "sync")
    assert "Warning: the journal here was rewritten" in synced.err
    machines("two", "sync")
    for name in ("one", "two"):
        status = machines(name, "status")
        assert "has two histories from position" in status.out
        assert "settled by a person who names the one that counts" in status.out
        shown = machines(name, "show").out
        assert "Disputed" in shown
        assert "unit" in shown and "failure" in shown
        refused = machines(name, "promote", "0.1.0", "TESTED")
        assert refused.code == 10
        assert "what is known of 0.1.0 is disputed" in refused.err
        override = machines(
            name, "promote", "0.1.0", "TESTED", "--override", "--reason", "in a hurry"
        )
        assert override.code == 10, "nothing at all is granted on it"
    row = machines.rows("two", "SELECT node, one, other FROM disputed LIMIT 1")[0]
    assert (
        machines("two", "journal", "settle", row["node"][:8], "--keep", "f" * 8, "-m", "x").code
        == 2
    )
    values = machines.rows("two", "SELECT * FROM disputed WHERE what = 'stage_run'")[0]
    good = values["one"] if values["one_value"] == "success" else values["other"]
    settled = machines(
        "two", "journal", "settle", row["node"][:8], "--keep", good, "-m", "seen by hand"
    )
    assert settled.code == 0, settled.err
    assert machines("two", "promote", "0.1.0", "TESTED").code == 0
    machines.level()
    for name in ("one", "two"):
        assert "two histories" not in machines(name, "status").out
        assert machines(name, "verify").code == 0
        (run,) = machines.rows(name, "SELECT outcome FROM run")
        assert run == {"outcome": "success"}
