"""What an earlier cxlocal kept in a table of this machine alone: what tools made and nobody destroyed yet.

It becomes events at the first opening, so that every machine knows of it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cxlocal.events.belonging import mark_id
from cxlocal.events.resources import Intent, run_intended
from cxlocal.events.runs import RunRef, run_uri
from cxlocal.journal.whereabouts import machine_mark

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal

UNPAID = "SELECT * FROM owed WHERE paid IS NULL ORDER BY id"
TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'owed'"


def bring_over(journal: Journal) -> None:
    """Say of each unpaid debt what it is, and mark it as paid where it stood."""
    if journal.one(TABLE) is None or journal.one(UNPAID) is None:
        return
    with journal.write() as transaction:
        for debt in journal.query(UNPAID):
            ref = RunRef(
                debt["deliverable"], debt["run"], debt["deliverable"], run_uri(debt["run"], "")
            )
            provisioned = debt["stage"] == f"provision-{debt['environment']}"
            intent = Intent(
                resource=mark_id(journal.ids.uuid(), ref.deliverable), component="" if provisioned else debt["stage"],
                environment=debt["environment"], instance=debt["instance"],
                lifetime=debt["lifetime"], machine=machine_mark(), stage=debt["stage"], stage_run="", tool=debt["tool"],
                verb="provision" if provisioned else "deploy",
                options=_literal(json.loads(debt["options"])), handle=json.loads(debt["handle"]),
            )  # fmt: skip
            transaction.append(run_intended(ref, intent))
        transaction.connection.execute(
            "UPDATE owed SET paid = ? WHERE paid IS NULL", (journal.clock.now_ms(),)
        )


def _literal(value: Any) -> Any:
    """Options that had been resolved then: what looks like a placeholder in them is none."""
    if isinstance(value, str):
        return value.replace("{", "{{").replace("}", "}}")
    if isinstance(value, list):
        return [_literal(one) for one in value]
    if isinstance(value, dict):
        return {key: _literal(one) for key, one in value.items()}
    return value
