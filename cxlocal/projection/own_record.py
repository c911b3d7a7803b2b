"""What this journal itself recorded of a run where the projected tables say otherwise, as SQL.

Whoever may push history of a deliverable may say any of its runs again. The tables show one of what was
said; commands carry out what was recorded here (decision 128), and pages say where the two differ.
"""

from __future__ import annotations

from cxlocal.events.types import ARTIFACT_PACKAGED, PIPELINE_QUEUED
from cxlocal.projection.asked import CHOSEN_RUN, RUN_WORDS

# sql: names of types of our own
_SAID = """(SELECT t.name AS type, e.sequence, json_extract(e.document, '$.customData.cxlocal') AS facts
    FROM chosen c CROSS JOIN run_lookup l ON l.name = c.id CROSS JOIN event e ON e.run = l.id
    CROSS JOIN type_lookup t ON t.id = e.type CROSS JOIN node_lookup n ON n.id = e.node
    WHERE e.branch = 0 AND n.name = (SELECT value FROM local_value WHERE name = 'node')
      AND t.name = '{}')"""
_BEGAN = f"(SELECT facts FROM {_SAID.format(PIPELINE_QUEUED)} ORDER BY sequence LIMIT 1)"
_PACKAGED = _SAID.format(ARTIFACT_PACKAGED)
_FACTS = (("commit", "$.revision.commit", "revision"), ("plan", "$.plan_sha256", "plan_sha256"))

# sql: names of columns and types of our own
OTHERWISE = f"""(
{
    "".join(
        f'''  SELECT '{what}' AS what, b.facts ->> '{path}' AS recorded_here, c.{column} AS shown
  FROM chosen c, {_BEGAN} b WHERE b.facts ->> '{path}' IS NOT c.{column}
  UNION ALL
'''
        for what, path, column in _FACTS
    )
}  SELECT 'artifact ' || a.name, p.facts ->> '$.sha256', a.sha256
  FROM chosen c JOIN artifact a ON a.run = c.id AND a.packaged_at IS NOT NULL AND a.replaced_at IS NULL
  JOIN {_PACKAGED} p ON p.facts ->> '$.name' = a.name AND p.facts ->> '$.sha256' <> a.sha256
  WHERE EXISTS (SELECT 1 FROM {_BEGAN} b WHERE b.facts -> '$.asked' IS NOT NULL)
    AND NOT EXISTS (SELECT 1 FROM {_PACKAGED} o
      WHERE o.facts ->> '$.name' = a.name AND o.facts ->> '$.sha256' = a.sha256))"""
"""Rows of (what, recorded_here, shown) about the one run in ``chosen``, which has the columns of ``run``.
Artifacts of single commands may be made anew by another machine: those of ``cxlocal run`` may not."""

RECORDED_OTHERWISE: tuple[str, str, str] = (
    "What was recorded here, and is told otherwise",
    (
        "Commit, plan and artifacts of a run that this machine recorded itself, where another one says"
        f" otherwise: what is shown is its word, what commands go by is ours. {RUN_WORDS}"
    ),
    # sql: constants of the projection
    f"""
WITH chosen AS MATERIALIZED (SELECT * FROM run WHERE id = {CHOSEN_RUN})
SELECT what, recorded_here, shown FROM {OTHERWISE} ORDER BY what
""",
)
