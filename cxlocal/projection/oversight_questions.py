"""What was out of the ordinary, how fresh this is, and what proves a version, as SQL.

Title, description, SQL, as in ``questions``.
"""

from __future__ import annotations

from cxlocal.projection.asked import CONFLICTED

READINESS = "doctor "
"""How the local value begins that holds what ``doctor`` found last of a deliverable (JSON)."""
_TIME = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"
_OWN = "coalesce((SELECT value FROM local_value WHERE name = 'node'), '')"
_TITLE = (
    "coalesce((SELECT d.title FROM deliverable d WHERE d.id = {0}.deliverable), {0}.deliverable)"
)
_BYTES = """(SELECT json_group_array(DISTINCT a.sha256) FROM artifact a WHERE a.run = {0}.version_run
    AND a.packaged_at IS NOT NULL AND a.replaced_at IS NULL)"""
PLACES_MAX = 25
"""Places whose bytes are looked for on one page."""

# By row: looking up as many ids again costs more than all the rest.
_UNUSUAL = """(SELECT rowid FROM run WHERE planned = 0 OR online = 0
    UNION SELECT o.rowid FROM promotion p JOIN run o ON o.id = p.run WHERE p.decision = 'overridden')"""

# sql: constants of this module and of the projection
OVERSIGHT_QUESTIONS: dict[str, tuple[str, str, str]] = {
    "unusual": (
        "Unusual releases, and who answered for them",
        (
            "Unplanned, made without the store, or with a decision passed over; those first that nobody"
            " has answered for (cxlocal review)."
        ),
        f"""
SELECT r.queued_at, coalesce(d.title, r.deliverable) AS title, r.deliverable, r.version,
  rtrim(iif(r.planned = 0, 'unplanned, ', '') || iif(r.online = 0, 'without the store, ', '')
    || iif(r.id IN (SELECT run FROM promotion WHERE decision = 'overridden'),
      'a decision was passed over, ', ''), ', ') AS unusual,
  r.actor, r.reason, w.actor AS reviewed_by, w.words, w.reviewed_at, r.id AS run
FROM run r LEFT JOIN deliverable d ON d.id = r.deliverable
LEFT JOIN review w ON w.run = r.id AND NOT EXISTS (SELECT 1 FROM review l WHERE l.run = w.run
  AND (coalesce(l.reviewed_at, ''), l.id) > (coalesce(w.reviewed_at, ''), w.id))
WHERE r.kind = 'release' AND :deliverable IN ('', r.deliverable) AND r.rowid IN {_UNUSUAL}
ORDER BY w.id IS NOT NULL, r.queued_at DESC
""",
    ),
    "disputes": (
        "What two of them claim",
        "Deployments that claim one place, and runs that hold one number: a person has to say which counts.",
        f"""
SELECT n.since AS at, {_TITLE.format("n")} AS title, n.version, n.environment AS claims,
  'place' AS what, n.actor, n.deliverable, n.version_run AS run FROM deployments_now n
  WHERE n.disputed AND :deliverable IN ('', n.deliverable)
UNION ALL SELECT u.used_at, {_TITLE.format("u")}, u.version, u.version, 'number', u.actor, u.deliverable,
  u.run FROM number_uses u WHERE :deliverable IN ('', u.deliverable) AND {CONFLICTED}
ORDER BY at DESC
""",
    ),
    "machines": (
        "Machines, and when they were heard of last",
        (
            "Each history of events that this machine has: where it was written, when the newest of it came"
            " here, and of our own how much the store does not have yet."
        ),
        f"""
SELECT coalesce(m.name, substr(l.name, 1, 8)) AS machine, l.name = {_OWN} AS here, m.kept,
  {_TIME.format("e.received")} AS heard_at, {_TIME.format("e.time")} AS said_at, e.sequence AS events,
  iif(l.name = {_OWN} OR EXISTS (SELECT 1 FROM contact c WHERE c.node = l.name), max(0, e.sequence
    - coalesce((SELECT a.sequence FROM ack a WHERE a.node = l.name AND a.branch = 0), 0)), NULL)
    AS not_at_store,
  (SELECT max(k.at) FROM ack_step k WHERE k.node = l.name) AS at_store_since, m.began_at, m.platform,
  m.cxlocal_version, l.name AS node
FROM node_lookup l JOIN event e ON e.id = (SELECT n.id FROM event n WHERE n.node = l.id AND n.branch = 0
  ORDER BY n.sequence DESC LIMIT 1) LEFT JOIN machine m ON m.node = l.name
ORDER BY l.name = {_OWN} DESC, e.received DESC, l.name
""",
    ),
    "reserves": (
        "Numbers kept for the day the store cannot be reached",
        "How many numbers of each line this machine may still take without asking, and how many it wants.",
        f"""
SELECT {_TITLE.format("v")} AS title, v.line, v.hi - v.next + 1 AS numbers_left, w.count AS wanted,
  v.next AS first, v.hi AS last, v.locked, v.deliverable
FROM reserve v LEFT JOIN reserve_wish w ON w.deliverable = v.deliverable AND w.line = v.line
ORDER BY numbers_left, title, v.line
""",
    ),
    "readiness": (
        "Whether a release without the store would work",
        "As 'cxlocal doctor' found it last on this machine, and what was in the way.",
        # sql: constants of this module
        f"""
SELECT coalesce(d.title, substr(v.name, {len(READINESS) + 1})) AS title,
  json_extract(v.value, '$.at') AS at, json_extract(v.value, '$.ready') AS ready,
  json_extract(v.value, '$.because') AS because, substr(v.name, {len(READINESS) + 1}) AS deliverable
FROM local_value v LEFT JOIN deliverable d ON d.id = substr(v.name, {len(READINESS) + 1})
WHERE v.name >= '{READINESS}' AND v.name < '{READINESS.rstrip()}!' AND json_valid(v.value)
ORDER BY at DESC
""",
    ),
    "within-reach": (
        "What is live, and what was there before",
        (
            f"For {PLACES_MAX} lasting places the version that is live and the one before it, with the"
            " digests of what was made: their bytes are needed to deploy or to roll back from here."
        ),
        f"""
WITH live AS MATERIALIZED (SELECT d.*, coalesce(nullif(e.title, ''), d.environment) AS environment_title
  FROM deployment d LEFT JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance
  WHERE d.replaced = 0 AND d.removed_at IS NULL AND +d.deployed_at IS NOT NULL
    AND coalesce(e.lifetime, 'lasting') = 'lasting' LIMIT {PLACES_MAX})
SELECT {_TITLE.format("l")} AS title, l.environment_title, l.service, 'live' AS what, l.version,
  {_BYTES.format("l")} AS digests, l.deliverable, l.environment, l.version_run AS run FROM live l
UNION ALL SELECT {_TITLE.format("l")}, l.environment_title, l.service, 'before', o.version,
  {_BYTES.format("o")}, l.deliverable, l.environment, o.version_run
FROM live l JOIN deployment_replaces x ON x.deployment = l.id JOIN deployment o ON o.id = x.replaced
WHERE o.deployed_at IS NOT NULL AND o.version_run IS NOT l.version_run
ORDER BY title, environment_title, service, what DESC
""",
    ),
}
