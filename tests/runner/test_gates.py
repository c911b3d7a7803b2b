"""Gates in whole runs: what they are told, and that what is missing of them never means allow."""

from __future__ import annotations

import json
import shlex
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

GATE = """
import json, os
from pathlib import Path
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.stage_view import GateAnswer

@hookimpl
def cxlocal_gate(question):
    with open("@ASKED@", "a") as file:
        file.write(json.dumps(question._asdict()) + "\\n")
    return GateAnswer("freeze", "deny" if os.environ.get("FREEZE") else "allow", "no deploys today")
"""
PIPE = """
[stages]
unit = { command = "true" }
up = { kind = "deploy", command = "true", environment = "prod", needs = ["unit"] }
[promotions]
READY = { after = ["unit"] }
[environments]
prod = { protected = false }
"""


def asked(path: Path) -> list[dict[str, Any]]:
    """The questions since the last time."""
    lines = path.read_text().splitlines()
    path.write_text("")
    return [json.loads(line) for line in lines]


def test_a_gate_is_told_what_is_about_to_happen(shop: Any, tools: Any) -> None:
    path = shop.root / "asked"
    tools(GATE.replace("@ASKED@", str(path)))
    shop.write(PIPE)
    assert shop.run("--reason", "the first").code == 0
    promoted, first = asked(path)
    assert (promoted["kind"], promoted["lifetime"], promoted["replaces"]) == ("promotion", "", [])
    assert promoted["reason"] == first["reason"] == "the first" and first["planned"]
    assert (first["lifetime"], first["protected"]) == ("lasting", False)
    assert (first["rollback"], first["replaces"]) == (False, [])
    one = shop.last()
    assert shop.run("--unplanned", "--reason", "shop is down").code == 0
    _, second = asked(path)
    assert second["replaces"] == [["shop", "0.1.0", one]]
    assert (second["planned"], second["rollback"]) == (False, False)

    # What a refused rollback proposes is a rollback, and works as it stands.
    refused = shop.command("rollback", "prod", "-m", "orders fail", env={"FREEZE": "1"})
    assert refused.code == 3 and "freeze: no deploys today" in refused.err
    [question] = asked(path)
    assert question["rollback"] and question["reason"] == "orders fail" and question["planned"]
    assert abs(datetime.fromisoformat(question["asked_at"]).timestamp() - time.time()) < 60
    assert [row[1] for row in question["replaces"]] == ["0.1.1"]
    proposed = shlex.split(refused.err.split("then: ")[-1])
    assert proposed == ["cxlocal", "rollback", "prod", "--to", "0.1.0", "-m", "orders fail"]
    told = shop.command("show", "0.1.0").out
    [line] = [line for line in told.splitlines() if "deny" in line]
    assert "gate" in line and "freeze" in line and "no deploys today" in line and "prod" in line
    assert shop.command(*proposed[1:]).code == 0
    assert shop.query("SELECT version, kind, reason FROM deployments_now") == [
        ("0.1.0", "rolledback", "orders fail")
    ]
    # So does what a refused deployment of an older version proposes.
    assert shop.command("rollback", "prod", "--to", "0.1.1").code == 0
    older = ["deploy", "0.1.0", "--to", "prod", "--allow-older", "-m", "it's ours"]
    refused = shop.command(*older, env={"FREEZE": "1"})
    assert shlex.split(refused.err.split("then: ")[-1])[1:] == older
    assert asked(path)[-1]["rollback"], "something newer is replaced, whatever it is called"


def test_a_refused_run_says_which_gate_and_why(shop: Any, tools: Any) -> None:
    tools(GATE.replace("@ASKED@", str(shop.root / "asked")))
    shop.write(PIPE)
    done = shop.run(env={"FREEZE": "1"})
    assert done.code == 3
    told = shop.command("show").out
    because = next(line for line in told.splitlines() if "because" in line)
    assert "stage up was refused" in because and "freeze: no deploys today" in because


def test_the_gates_of_a_project_are_asked_about_a_persons_promotion(shop: Any, tools: Any) -> None:
    """They lie in the revision; a decision makes no checkout."""
    path = shop.root / "asked"
    tools(GATE.replace("@ASKED@", str(path)))
    shop.write(PIPE.replace('READY = { after = ["unit"] }', "READY = {}"))
    assert shop.run().code == 0
    asked(path)
    denied = shop.command("promote", "0.1.0", "READY", "-m", "looks good", env={"FREEZE": "1"})
    assert denied.code == 3 and "freeze: no deploys today" in denied.err
    [question] = asked(path)
    assert (question["promotion"], question["reason"]) == ("READY", "looks good")
    assert shop.command("promote", "0.1.0", "READY", env={"CXLOCAL_TRUST": None}).code == 3
    assert shop.command("promote", "0.1.0", "READY").code == 0


@pytest.fixture
def site(shop: Any) -> Path:
    """A distribution ``acme-gates`` with a gate that cannot be imported, on the path of every
    command."""
    folder: Path = shop.root / "site"
    metadata = folder / "acme_gates-2.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text("[cxlocal]\nfreeze = acme_gates\n")
    (folder / "acme_gates.py").write_text(
        GATE.replace("@ASKED@", str(shop.root / "asked")) + "import holidays_that_are_gone\n"
    )
    shop.environ["PYTHONPATH"] = str(folder)
    return folder


def test_an_installed_gate_that_cannot_be_loaded_lets_nothing_through(
    shop: Any, site: Path
) -> None:
    shop.write(PIPE.replace('[promotions]\nREADY = { after = ["unit"] }\n', ""))
    done = shop.run()
    assert done.code == 8, done.err
    assert done.err.count("Warning: plugin freeze") == 1
    assert "freeze" in done.err and "holidays_that_are_gone" in done.err
    assert shop.outcomes() == {"unit": "success"}, "what no gate guards goes on"
    assert shop.query("SELECT gate, verdict FROM verdict") == [("freeze", "undecided")]
    assert "holidays_that_are_gone" in shop.command("show").out

    # Who leaves it out is not stopped, and it is recorded and shown: of a run and what follows it.
    done = shop.command("-p", "no:freeze", "run")
    assert done.code == 0, done.err
    made = shop.last()
    for more in ((), ("--dry-run",)):
        done = shop.command("deploy", "0.1.1", "--to", "prod", *more)
        assert done.err.count("Warning: plugin freeze") == 1, done.err
    assert shop.command("-p", "no:freeze", "deploy", "0.1.1", "--to", "prod").code == 0
    rows = shop.query("SELECT run, plugin, distribution, version, how FROM left_out")
    assert rows == [(made, "freeze", "acme-gates", "2", "-p no:freeze")] * 2
    told = shop.command("show", "0.1.1")
    assert "left out" in told.out and "-p no:freeze" in told.out
    shown = json.loads(shop.command("show", "0.1.1", "--json").out)["left_out"]
    assert [row["plugin"] for row in shown] == ["freeze", "freeze"]
    assert shop.query("SELECT count(*) FROM left_out WHERE run <> ?", made) == [0]


def test_a_required_plugin_refuses_by_its_name(shop: Any, site: Path) -> None:
    shop.write(PIPE + '[plugins]\nrequire = ["freeze"]\n')
    for command, words in (
        (("run",), "plugin freeze is broken"),
        (("rehearse",), "plugin freeze is broken"),
        (("-p", "no:freeze", "run"), "plugin freeze was left out by -p no:freeze"),
    ):
        done = shop.command(*command)
        assert done.code == 3 and words in done.err, done.err
    (site / "acme_gates-2.dist-info" / "entry_points.txt").unlink()
    assert "plugin freeze is not installed here" in shop.run().err
    assert not (shop.home / "journal.db").exists() or shop.query("SELECT id FROM run") == []
