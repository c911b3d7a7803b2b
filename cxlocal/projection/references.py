"""Which column of a projected table names a row of which other table.

Declared in the DDL so that whatever reads the file (Datasette, sqlite-utils, a diagram tool) links
runs, deployments and machines by itself. SQLite does not enforce them: ``foreign_keys`` stays off,
because events arrive in any order and a deployment may be here before its environment.
"""

from __future__ import annotations

_REFERENCES = {
    "run": "deliverable>deliverable plan_sha256>plan node>machine",
    "promotion_rule": "plan_sha256>plan",
    "run_change": "run>run",
    "stage_run": "run>run",
    "artifact": "run>run deliverable>deliverable stage_run>stage_run",
    "report": "run>run stage_run>stage_run",
    "report_case": "report>report",
    "environment": "deliverable>deliverable created_by_run>run",
    "deployment": "deliverable>deliverable version_run>run run>run stage_run>stage_run",
    "deployment_attempt": "deliverable>deliverable run>run stage_run>stage_run node>machine",
    "deployment_replaces": "deployment>deployment replaced>deployment",
    "promotion": "deliverable>deliverable run>run",
    "promotion_artifact": "promotion>promotion",
    "verdict": "run>run",
    "left_out": "run>run",
    "version": "deliverable>deliverable run>run node>machine",
    "number_range": "deliverable>deliverable node>machine",
    "number_skip": "deliverable>deliverable node>machine",
    "machine": "parent>machine",
    "flag": "deliverable>deliverable run>run",
    "disputed": "node>machine deliverable>deliverable run>run",
    "settlement": "node>machine deliverable>deliverable",
}

REFERENCES: dict[tuple[str, str], str] = {
    (table, column): target
    for table, pairs in _REFERENCES.items()
    for column, _, target in (pair.partition(">") for pair in pairs.split())
}
"""(table, column): the table whose only key column it holds."""
