"""The views with plain names that people and pages query.

A view states nothing of its own: it joins projected and local tables. Times are UTC text,
durations end in ``_seconds``.
"""

from __future__ import annotations

from cxlocal.events.hybrid import AHEAD_MS_MAX, COUNTER_BITS, IS_AHEAD_SQL

# A flag that depends on when an event arrived here is no projected fact: it would differ between
# two journals with the same events. Settled once the chain's newest event says a time that is not
# ahead; its hybrid clock never goes back, and stays ahead longer.
# sql: constants of events.hybrid
_CLOCKS_AHEAD = f"""
UNION ALL SELECT strftime('%Y-%m-%dT%H:%M:%fZ', a.first / 1000.0, 'unixepoch'), 'clock-ahead',
  'the clock of ' || coalesce(m.host, substr(n.name, 1, 8)) || ' is '
    || CASE WHEN a.seconds >= 172800 THEN (a.seconds / 86400) || ' days'
      WHEN a.seconds >= 7200 THEN (a.seconds / 3600) || ' hours'
      ELSE (a.seconds / 60) || ' minutes' END
    || ' ahead of the clock here, or the one here is behind',
  NULL, NULL, NULL, n.name
FROM (SELECT node, min(received) AS first, max((clock >> {COUNTER_BITS}) - received) / 1000 AS seconds
  FROM event WHERE {IS_AHEAD_SQL} GROUP BY node) a
JOIN node_lookup n ON n.id = a.node
LEFT JOIN machine m ON m.node = n.name
WHERE n.name <> coalesce((SELECT value FROM local_value WHERE name = 'node'), '')
  AND (SELECT newest.time > newest.received + {AHEAD_MS_MAX} FROM event newest
    WHERE newest.node = a.node ORDER BY newest.sequence DESC LIMIT 1)
"""

VIEWS: dict[str, tuple[str, str]] = {
    "deployments_now": (
        (
            "What is live where: deployed, replaced by none, not removed. Two rows for one service in"
            " one environment are disputed until a later deploy or 'cxlocal env confirm' names one."
        ),
        """
SELECT d.deliverable, d.environment, d.instance, d.service, d.version, d.number, d.uri,
  d.deployed_at AS since, d.actor, d.reason, d.kind, d.version_run, d.run, d.artifact_sha256,
  d.id AS deployment,
  (SELECT count(*) FROM deployment other
    WHERE other.deliverable = d.deliverable AND other.instance = d.instance
      AND other.service = d.service AND other.removed_at IS NULL
      AND other.deployed_at IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM deployment_replaces x WHERE x.replaced = other.id)) > 1
    AS disputed
FROM deployment d
WHERE d.deployed_at IS NOT NULL AND d.removed_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM deployment_replaces r WHERE r.replaced = d.id)
""",
    ),
    "number_uses": (
        (
            "Every number in use, with its state: in use, not yet confirmed · in use, confirmed ·"
            " conflicted (two different runs hold it)."
        ),
        """
SELECT v.deliverable, v.line, v.number, v.run, v.text AS version, v.how, v.used_at, v.actor,
  CASE
    WHEN v.number >= 0 AND EXISTS (SELECT 1 FROM version o WHERE o.deliverable = v.deliverable
      AND o.line = v.line AND o.number = v.number AND o.run <> v.run AND o.used_at IS NOT NULL)
      THEN 'conflicted'
    WHEN EXISTS (SELECT 1 FROM ack a JOIN store_state s ON s.generation = a.generation
      JOIN node_lookup l ON l.name = a.node JOIN event e ON e.node = l.id
      AND e.sequence = v.sequence AND e.branch = a.branch
      AND lower(hex(substr(e.hash, 1, 8))) = substr(v.used_from, 19)
      WHERE a.node = v.node AND a.sequence >= v.sequence)
      THEN 'in use, confirmed'
    ELSE 'in use, not yet confirmed' END AS state,
  CASE WHEN EXISTS (SELECT 1 FROM ack a JOIN store_state s ON s.generation = a.generation
      JOIN node_lookup l ON l.name = a.node JOIN event e ON e.node = l.id
      AND e.sequence = v.sequence AND e.branch = a.branch
      AND lower(hex(substr(e.hash, 1, 8))) = substr(v.used_from, 19)
      WHERE a.node = v.node AND a.sequence >= v.sequence)
    THEN coalesce((SELECT min(k.at) FROM ack_step k JOIN store_state s
      ON s.generation = k.generation WHERE k.node = v.node AND k.sequence >= v.sequence),
      v.received_at) END AS confirmed_at,
  v.node, v.sequence
FROM version v WHERE v.used_at IS NOT NULL
""",
    ),
    "release_board": (
        "Deliverable by environment: which version is there, since when, by whom, and its state.",
        """
SELECT n.deliverable, coalesce(p.title, n.deliverable) AS title, n.environment,
  coalesce(e.title, n.environment) AS environment_title, n.version, n.since, n.actor, n.reason,
  CASE WHEN n.disputed THEN 'disputed'
    WHEN u.state IS NULL THEN 'no number'
    ELSE u.state END AS state,
  (SELECT group_concat(DISTINCT pr.name) FROM promotion pr
    WHERE pr.run = n.version_run AND pr.decision IN ('granted', 'overridden')) AS promotions,
  n.uri, n.version_run AS run, n.deployment
FROM deployments_now n
JOIN run r ON r.id = n.version_run AND r.kind = 'release'
LEFT JOIN deliverable p ON p.id = n.deliverable
LEFT JOIN environment e ON e.deliverable = n.deliverable AND e.instance = n.instance
LEFT JOIN number_uses u ON u.deliverable = n.deliverable AND u.run = n.version_run
  AND u.version = n.version
WHERE coalesce(e.lifetime, 'lasting') = 'lasting'
""",
    ),
    "run_board": (
        "Runs, newest first when sorted by queued_at: version, outcome, place, work and state.",
        """
SELECT r.id AS run, r.deliverable, r.kind, r.version,
  CASE WHEN r.outcome IS NOT NULL THEN r.outcome
    WHEN r.queued_at IS NULL THEN 'not yet seen' ELSE 'open' END AS outcome,
  coalesce(u.state, 'no number') AS number_state, r.outcome_reason, r.stopped_before,
  coalesce(nullif(r.place, ''), r.place_kind) AS place, r.host, r.actor, r.reason, r.revision,
  r.revision_subject, r.proof, r.online, r.queued_at, r.started_at, r.finished_at,
  r.duration_seconds, r.place_url
FROM run r LEFT JOIN number_uses u ON u.run = r.id AND u.deliverable = r.deliverable
  AND u.version = r.version
""",
    ),
    "run_timeline": (
        (
            "What happened in a run, in order: its stages with waiting and working time, tests,"
            " deployments and decisions."
        ),
        """
SELECT t.run, t.started_at AS at, 'stage' AS what, t.stage AS name,
  coalesce(t.outcome, 'running') AS result, t.environment, t.waiting_seconds, t.duration_seconds,
  t.reason AS words FROM task_run t WHERE t.started_at IS NOT NULL
UNION ALL SELECT p.run, p.finished_at, 'tests', p.suite, p.outcome, p.environment, NULL,
  p.duration_seconds, p.passed || ' of ' || p.total || ' passed' FROM report p
  WHERE p.finished_at IS NOT NULL
UNION ALL SELECT d.run, d.deployed_at, 'deployment', d.service, d.kind, d.environment, NULL, NULL,
  d.version FROM deployment d WHERE d.deployed_at IS NOT NULL
UNION ALL SELECT m.run, m.decided_at, 'promotion', m.name, m.decision, '', NULL, NULL, m.reason
  FROM promotion m WHERE m.decided_at IS NOT NULL
UNION ALL SELECT v.run, v.used_at, 'number', v.text, v.how, '', NULL, NULL, v.line
  FROM version v WHERE v.used_at IS NOT NULL
UNION ALL SELECT e.created_by_run, e.created_at, 'environment', e.instance, 'created', e.name,
  NULL, NULL, e.lifetime FROM environment e WHERE e.created_at IS NOT NULL
UNION ALL SELECT e.created_by_run, e.deleted_at, 'environment', e.instance, 'destroyed', e.name,
  NULL, NULL, e.deleted_why FROM environment e WHERE e.deleted_at IS NOT NULL
""",
    ),
    "open_flags": (
        "What somebody should look at and nothing has settled since.",
        """
SELECT f.raised_at, f.kind, f.text, f.deliverable, r.version, f.run, f.subject
FROM flag f LEFT JOIN run r ON r.id = f.run
WHERE NOT (f.kind = 'revision-gone' AND coalesce(r.reverified, 0) = 1)
  AND NOT (f.kind = 'changed-outside' AND (
    EXISTS (SELECT 1 FROM deployment d WHERE d.deliverable = f.deliverable
      AND d.environment = f.subject
      AND (d.deployed_at > f.raised_at OR d.removed_at > f.raised_at))
    OR EXISTS (SELECT 1 FROM flag later WHERE later.kind = f.kind AND later.subject = f.subject
      AND later.deliverable = f.deliverable AND later.raised_at > f.raised_at)))
  AND NOT (f.kind IN ('uncommitted-changes', 'unreadable-report', 'not-provisioned') AND
    EXISTS (SELECT 1 FROM run later WHERE later.deliverable = f.deliverable
      AND later.kind = 'release' AND later.outcome = 'success' AND later.queued_at > r.queued_at))
  AND NOT (f.kind = 'not-destroyed' AND EXISTS (SELECT 1 FROM environment e
    WHERE e.deliverable = f.deliverable AND e.instance = f.subject
      AND e.deleted_at > f.raised_at))
"""
        + _CLOCKS_AHEAD,
    ),
    "number_ledger": (
        (
            "What became of every number up to the highest granted: exactly one state each, and why."
            " Numbers without a row are free."
        ),
        """
WITH RECURSIVE span(deliverable, line, number, hi, kind, node) AS (
  SELECT deliverable, line, lo, hi, kind, node FROM grant_entry
  UNION ALL SELECT deliverable, line, number + 1, hi, kind, node FROM span WHERE number < hi
),
stated AS (
  SELECT deliverable, line, number, kind = 'raise' AS passed,
    CASE WHEN kind <> 'raise' THEN node END AS node FROM span
  UNION ALL SELECT deliverable, line, number, 0, node FROM version
    WHERE used_at IS NOT NULL AND number >= 0
),
known AS (
  SELECT deliverable, line, number, min(passed) AS only_passed, max(node) AS node,
    (SELECT min(s.why) FROM number_skip s WHERE s.deliverable = stated.deliverable
      AND s.line = stated.line AND s.lo <= stated.number AND s.hi >= stated.number) AS given_up
  FROM stated GROUP BY deliverable, line, number
)
SELECT k.deliverable, k.line, k.number,
  CASE
    WHEN u.state IS NOT NULL THEN u.state
    WHEN k.given_up IS NOT NULL OR k.only_passed THEN 'skipped'
    ELSE 'reserved' END AS state,
  CASE
    WHEN u.state IS NOT NULL THEN NULL
    WHEN k.given_up IS NOT NULL THEN k.given_up
    WHEN k.only_passed THEN 'passed over'
    ELSE NULL END AS why,
  u.version, u.run, u.how, u.used_at, coalesce(m.host, substr(coalesce(u.node, k.node), 1, 8))
    AS machine
FROM known k
LEFT JOIN number_uses u ON u.deliverable = k.deliverable AND u.line = k.line
  AND u.number = k.number
LEFT JOIN machine m ON m.node = coalesce(u.node, k.node)
""",
    ),
}


def create_views_sql() -> str:
    """The DDL of all views, made afresh: a view holds nothing, so dropping one loses nothing."""
    statements = []
    for name, (meaning, body) in VIEWS.items():
        # sql: DDL out of VIEWS, a constant of this module
        statements.append(
            f"DROP VIEW IF EXISTS {name};\n-- {meaning}\nCREATE VIEW {name} AS{body.rstrip()};"
        )
    return "\n".join(statements)
