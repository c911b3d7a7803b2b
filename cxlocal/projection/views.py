"""The views with plain names that people and pages query.

A view states nothing of its own: it joins projected and local tables. Times are UTC text,
durations end in ``_seconds``. What each column means stands in ``meanings``; a view that says something
else needs a new ``tables.PROJECTION_VERSION``.
"""

from __future__ import annotations

from cxlocal.events.hybrid import AHEAD_MS_MAX, COUNTER_BITS, IS_AHEAD_SQL
from cxlocal.events.resources import ADDRESS, MAY_DIFFER
from cxlocal.projection.live_places import AT, OPEN
from cxlocal.projection.number_ledger import ledger_sql
from cxlocal.projection.timeline import timeline_sql

# A flag that depends on when an event arrived here is no projected fact: it would differ between
# two journals with the same events. Settled once the chain's newest event says a time that is not
# ahead; its hybrid clock never goes back, and stays ahead longer.
# sql: constants of events.hybrid
_CLOCKS_AHEAD = f"""
UNION ALL SELECT strftime('%Y-%m-%dT%H:%M:%fZ', a.first / 1000.0, 'unixepoch'), 'clock-ahead',
  'the clock of ' || coalesce(m.name, substr(n.name, 1, 8)) || ' is '
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

_CONTRADICTED = """
UNION ALL SELECT b.decided_at, 'contradicted', b.name || ' of ' || coalesce(b.version, substr(b.run, 1, 8))
    || ' was granted, and did not succeed: ' || b.contradicted_by,
  b.deliverable, b.version, b.run, b.name
FROM (SELECT DISTINCT s.run FROM stage_run s WHERE s.counts = 1 AND s.outcome <> 'success'
  AND EXISTS (SELECT 1 FROM promotion p WHERE p.run = s.run)) bad
JOIN promotion_board b ON b.run = bad.run WHERE b.contradicted_by IS NOT NULL
"""

_OTHER_COMMIT = """
UNION ALL SELECT t.started_at, 'other-commit', t.stage || ' of ' || coalesce(r.version, substr(r.id, 1, 8))
    || ' was made from commit ' || substr(t.revision, 1, 12) || ', and the run is one of '
    || substr(r.revision, 1, 12) || ': it does not count',
  r.deliverable, r.version, r.id, t.stage
FROM stage_run t JOIN run r ON r.id = t.run
WHERE t.counts = -1 AND NOT EXISTS (SELECT 1 FROM stage_run o
  WHERE o.run = t.run AND o.stage = t.stage AND o.counts = 1)
"""

# Which of the two a store had first is told by that store, and known here alone.
_TWO_HISTORIES = """
UNION ALL SELECT (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', max(e.received) / 1000.0, 'unixepoch')
    FROM event e JOIN node_lookup n ON n.id = e.node WHERE n.name = t.node
      AND e.sequence = t.position),
  'two-histories',
  'machine ' || coalesce(m.host || ' (' || substr(t.node, 1, 8) || ')', substr(t.node, 1, 8))
    || ' has two histories from position ' || t.position || ' on, ' || t.one || ' and ' || t.other
    || '; ' || CASE WHEN t.one_rank < t.other_rank THEN 'the store had ' || t.one || ' first'
      WHEN t.one_rank > t.other_rank THEN 'the store had ' || t.other || ' first'
      ELSE 'which of them a store had first is not known here' END
    || '; they differ in ' || iif(t.count = 1, 'one value: ', t.count || ' values, such as ')
    || iif(t.field = '', 'what is said', t.field) || ' of ' || t.what || ' (' || t.one || ': '
    || coalesce(t.one_value, 'nothing') || ', ' || t.other || ': '
    || coalesce(t.other_value, 'nothing') || ')',
  t.deliverable, r.version, t.run, t.node
FROM (SELECT d.node, d.one, d.other, d.deliverable, d.position, count(*) AS count, d.what, d.field,
    d.one_value, d.other_value, iif(min(d.run) = max(d.run), d.run, NULL) AS run,
    max(printf('%d %s %s %s',
      CASE d.field WHEN 'outcome' THEN 4 WHEN 'decision' THEN 3 WHEN 'sha256' THEN 2
        WHEN 'number' THEN 1 ELSE 0 END, d.what, d.subject, d.field)),
    coalesce((SELECT CAST(value AS REAL) FROM local_value WHERE name = 'beside ' || d.one), 0.5)
      AS one_rank,
    coalesce((SELECT CAST(value AS REAL) FROM local_value WHERE name = 'beside ' || d.other), 0.5)
      AS other_rank
  FROM disputed d GROUP BY d.node, d.one, d.other, d.deliverable, d.position) t
LEFT JOIN machine m ON m.node = t.node
LEFT JOIN run r ON r.id = t.run
"""

ENDINGS = {
    "failed": "failed here",
    "cancelled": "was cancelled here",
    "cut off": "was cut off here",
    "under way": "is being deployed here",
    "not ended": "began here, and its end is not known",
}
"""What is said of a deployment that did not come to run; *under way* is only known to the machine
that does it, so no view says it."""
_WORDS = "".join(f" WHEN '{state}' THEN ' {words}'" for state, words in ENDINGS.items())
# A decision holds as long as none was made in knowledge of it; of several that did not know of each
# other, or where two histories of a machine disagree, the strictest (runner.promotions says the same of the one that is in force).
_PROMOTION_BOARD = """
SELECT p.deliverable, p.version, p.name, p.decision, p.automatic, p.actor, p.reason, p.decided_at,
  p.run, p.id AS promotion,
  CASE WHEN p.decision = 'granted' THEN (SELECT group_concat(DISTINCT t.stage
      || coalesce(' (' || coalesce(nullif(t.part, ''), nullif(t.job, '')) || ')', ''))
    FROM run r JOIN promotion_rule a ON a.plan_sha256 = r.plan_sha256 AND a.promotion = p.name
      JOIN stage_run t ON t.run = r.id AND t.stage = a.stage
    WHERE r.id = p.run AND t.counts = 1 AND t.outcome <> 'success') END AS contradicted_by
FROM (SELECT *, NOT EXISTS (SELECT 1 FROM disputed x WHERE x.run = promotion.run
    AND x.what = 'promotion') AS sure FROM promotion) p
WHERE p.decision <> 'undecided' AND NOT EXISTS (SELECT 1 FROM promotion o
  WHERE o.run = p.run AND o.name = p.name AND o.decision <> 'undecided'
    AND (o.turn * p.sure, o.decision = 'denied', o.decision = 'overridden', o.id)
      > (p.turn * p.sure, p.decision = 'denied', p.decision = 'overridden', p.id))
"""

# What failed in a run the run itself says; a deployment may fail long after its run went well.
_FAILED_DEPLOYMENTS = """
UNION ALL SELECT u.since, 'deployment-failed', u.environment || ': ' || u.words
    || coalesce(': ' || nullif(u.why, ''), ''), u.deliverable, u.version, u.run, u.instance
FROM deployments_unfinished u WHERE u.state <> 'not ended'
"""

_HALF_PUBLISHED = """
UNION ALL SELECT h.since, 'half-published', h.version || ' is published at ' || h.words,
  h.deliverable, h.version, h.run, '' FROM half_published h
"""
_OTHER = f"j.key NOT IN ({', '.join(repr(one) for one in (*MAY_DIFFER, 'options'))})"
# What a component is: what is shared, with all that an environment says of it which makes it another.
_SPEC = f"""r.component || ' ' || r.spec_sha256
      || coalesce((SELECT group_concat(' ' || j.key || '=' || j.value, '')
        FROM json_each(r.differences) j WHERE {_OTHER}), '')
      || coalesce((SELECT group_concat(' ' || o.key || '=' || o.value, '')
        FROM json_each(r.differences, '$.options') o WHERE o.key <> '{ADDRESS}'), '')"""

_AFTER_IT = """(SELECT group_concat(u.words || iif(l.deployment = '', '', ' after it'), '; ')
    FROM deployments_unfinished u WHERE u.deliverable = l.deliverable AND u.instance = l.instance
      AND u.service = l.service)"""
# The row of what failed says that nothing is live where it is the only one of its place.
_SOMETHING = f"""EXISTS (SELECT 1 FROM live_place n WHERE {AT.format("n", "{0}")}
    AND n.deployment NOT IN ('', {{0}}.deployment))"""
_DISPUTED = f"(l.disputed OR {_SOMETHING.format('l')})"
_FAILED = f"EXISTS (SELECT 1 FROM live_place f WHERE {AT.format('f', 'l')} AND f.deployment = '')"

# A plus before a column keeps SQLite from choosing the index of all times over that of what is live.
VIEWS: dict[str, tuple[str, str]] = {
    "deployments_unfinished": (
        (
            "What began to change a lasting environment and did not come to run there, with nothing"
            " deployed there since in knowledge of it."
        ),
        # sql: constants of this module
        f"""
SELECT u.*, u.version || CASE u.state{_WORDS} END AS words FROM (
  SELECT a.deliverable, a.environment, a.instance, a.service, a.stage, a.version,
    coalesce(a.outcome, 'not ended') AS state, coalesce(a.ended_at, a.tried_at) AS since, a.why,
    a.actor, a.kind, a.run, a.stage_run, a.node, a.watched, a.id AS deployment
  FROM deployment_attempt a
  WHERE a.settled = 0 AND coalesce(a.outcome, '') <> 'refused' AND a.tried_at IS NOT NULL) u
""",
    ),
    "deployments_now": (
        (
            "What is live where: deployed, replaced by none, not removed. Two rows for one service in"
            " one environment are disputed until a later deploy or 'cxlocal env confirm' names one"
            " (two rows of one deployment: 'cxlocal journal settle')."
        ),
        # sql: a constant of this module
        f"""
SELECT l.deliverable, d.environment, l.instance, l.service, nullif(l.version, '') AS version, l.number,
  d.uri, d.deployed_at AS since, d.actor, d.reason, d.kind, d.version_run, d.run, d.artifact_sha256,
  l.deployment, {_DISPUTED} AS disputed, {_AFTER_IT} AS after_it
FROM live_place l CROSS JOIN deployment d ON d.id = l.deployment
""",
    ),
    "deployment_specs": (
        "Of deployments by components: what their instances are, and what differs all the same.",
        # sql: constants of this module
        f"""
SELECT d.deliverable, d.environment, d.instance, d.service, d.version, d.id AS deployment,
  (SELECT group_concat(s, '; ') FROM (SELECT DISTINCT {_SPEC} AS s
    FROM deployment_resource x JOIN resource r ON r.id = x.resource
    WHERE x.deployment = d.id AND r.spec_sha256 <> '' ORDER BY 1)) AS spec,
  (SELECT group_concat(DISTINCT r.component || ': ' || j.key)
    FROM deployment_resource x JOIN resource r ON r.id = x.resource JOIN json_each(r.differences) j
    WHERE x.deployment = d.id) AS but_for, d.deployed_at AS since
FROM deployment d WHERE EXISTS (SELECT 1 FROM deployment_resource x
  JOIN resource r ON r.id = x.resource WHERE x.deployment = d.id AND r.spec_sha256 <> '')
""",
    ),
    "deployment_periods": (
        (
            "From when until when each deployment ran, and what ended it. What runs has no end yet. Where two"
            " machines deployed without knowing of each other, periods overlap."
        ),
        """
SELECT e.deliverable, e.environment, e.instance, e.service, e.version, e.number,
  e.deployed_at AS since, e.until,
  CASE WHEN e.until IS NULL THEN NULL
    WHEN e.at = e.until AND n.id IS NOT NULL
      THEN iif(n.kind = 'rolledback', 'rollback to ', 'deployment of ') || n.version
    WHEN e.removed_at = e.until THEN 'removal' ELSE 'confirmation' END AS ended_by,
  round((julianday(e.until) - julianday(e.deployed_at)) * 86400, 3) AS seconds,
  e.kind, e.actor, e.reason, e.version_run, e.run, e.id AS deployment
FROM (SELECT t.*, coalesce(min(t.at, t.removed_at), t.at, t.removed_at) AS until FROM (SELECT d.*,
    (SELECT min(r.since) FROM deployment_replaces r WHERE r.replaced = d.id) AS at,
    (SELECT r.deployment FROM deployment_replaces r WHERE r.replaced = d.id AND r.since IS NOT NULL
      ORDER BY r.since LIMIT 1) AS by FROM deployment d) t) e
LEFT JOIN deployment n ON n.id = e.by
WHERE e.deployed_at IS NOT NULL
""",
    ),
    "resources_now": (
        (
            "What tools made and what exists as far as is known: whether a live deployment is served by"
            " it, and whether it is due: made for a run that is over or given up, so that somebody has to take it"
            " away. One of a lasting environment that serves nowhere is spare: due when it has been kept long"
            " enough since it was released."
        ),
        """
SELECT r.deliverable, r.environment, r.instance, r.component, r.tool, r.lifetime,
  EXISTS (SELECT 1 FROM deployment_resource x JOIN deployment d ON d.id = x.deployment
    WHERE x.resource = r.id AND d.replaced = 0 AND d.removed_at IS NULL
      AND d.deployed_at IS NOT NULL) AS serves,
  r.lifetime = 'per-run' AND (w.outcome IS NOT NULL OR w.given_up_at IS NOT NULL
    OR EXISTS (SELECT 1 FROM run later WHERE later.place_run = w.place_run
      AND later.place_run <> '' AND later.place = w.place AND later.deliverable = w.deliverable
      AND later.place_attempt > w.place_attempt)) AS due,
  r.verb = 'create' AND r.lifetime = 'lasting'
    AND NOT EXISTS (SELECT 1 FROM deployment_resource x JOIN deployment d ON d.id = x.deployment
      WHERE x.resource = r.id AND d.replaced = 0 AND d.removed_at IS NULL AND d.deployed_at IS NOT NULL)
    AND (r.deployment = '' OR EXISTS (SELECT 1 FROM deployment d WHERE d.id = r.deployment
        AND d.deployed_at IS NOT NULL)
      OR EXISTS (SELECT 1 FROM deployment_attempt a WHERE a.id = r.deployment
        AND (a.outcome IS NOT NULL OR a.settled = 1)))
    AND (SELECT count(*) FROM deployment d WHERE d.deliverable = r.deliverable
      AND d.instance = r.instance AND d.service = r.component AND d.replaced = 0
      AND d.removed_at IS NULL AND d.deployed_at IS NOT NULL) < 2 AS spare,
  coalesce((SELECT max(n.deployed_at) FROM deployment_resource x
    JOIN deployment_replaces p ON p.replaced = x.deployment JOIN deployment n ON n.id = p.deployment
    WHERE x.resource = r.id AND n.replaced = 0 AND n.removed_at IS NULL), '') AS released_at,
  r.keep_seconds, coalesce((SELECT x.weight FROM deployment_resource x
    JOIN deployment d ON d.id = x.deployment WHERE x.resource = r.id AND d.replaced = 0
    AND d.removed_at IS NULL AND d.deployed_at IS NOT NULL), 0) AS weight,
  r.intended_at AS since, coalesce(r.version, w.version, '') AS version, r.expires_seconds, r.run,
  r.stage, r.stage_run, r.machine, r.node, r.verb, coalesce(r.host, '') AS host,
  coalesce(r.address, '') AS address, coalesce(r.deployment, '') AS deployment, r.options, r.handle,
  r.id AS resource
FROM resource r LEFT JOIN run w ON w.id = r.run
WHERE r.intended_at IS NOT NULL AND r.gone_at IS NULL
""",
    ),
    "half_published": (
        "Versions that are at some of their targets and not at all that they were to go to.",
        """
SELECT p.deliverable, p.version, p.run, a.there, a.targets,
  a.there || ' of ' || a.targets || ': ' || group_concat(p.target || ' '
    || CASE WHEN p.state IS NULL AND p.begun_at IS NULL THEN 'not begun'
      WHEN p.state IS NULL THEN 'begun, and its end is not known' ELSE p.state END
    || coalesce(' (' || p.why || ')', ''), ', ') AS words,
  min(coalesce(p.found_at, p.begun_at, p.wanted_at)) AS since
FROM publication p JOIN (
  SELECT o.run, sum(coalesce(o.state, '') = 'there') AS there, count(*) AS targets,
    max(o.begun_at IS NOT NULL OR coalesce(o.files_there, 0) > 0) AS begun
  FROM publication o WHERE o.withdrawn_at IS NULL AND o.wanted_at IS NOT NULL AND o.run IN (
    SELECT run FROM publication WHERE wanted_at IS NOT NULL
      AND coalesce(state, '') <> 'there' AND withdrawn_at IS NULL)
  GROUP BY o.run) a ON a.run = p.run AND a.begun
WHERE p.wanted_at IS NOT NULL AND coalesce(p.state, '') <> 'there' AND p.withdrawn_at IS NULL
GROUP BY p.run
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
    WHEN EXISTS (SELECT 1 FROM disputed x WHERE x.run = v.run AND x.what = 'version')
      THEN 'conflicted'
    WHEN v.shared = 1 THEN 'conflicted'
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
    THEN coalesce((SELECT k.at FROM ack_step k WHERE k.node = v.node
      AND k.generation = (SELECT generation FROM store_state) AND k.sequence >= v.sequence
      ORDER BY k.sequence LIMIT 1), v.received_at) END AS confirmed_at,
  v.node, v.sequence
FROM version v WHERE v.used_at IS NOT NULL
""",
    ),
    "promotion_board": (
        (
            "The promotion decisions in force. A granted one is contradicted where a stage that earns it"
            " has a part that failed since, until somebody passes over it."
        ),
        _PROMOTION_BOARD,
    ),
    "services_now": (
        (
            "What stands in each environment, service by service: what is live, or nothing where all"
            " that was tried failed; and what failed there after it."
        ),
        # sql: a constant of this module
        f"""
SELECT l.deliverable, coalesce(d.environment, a.environment) AS environment, l.instance, l.service,
  nullif(l.version, '') AS version, coalesce(d.deployed_at, a.ended_at, a.tried_at) AS since,
  coalesce(d.actor, a.actor) AS actor, iif(l.deployment = '', a.why, d.reason) AS reason,
  {_DISPUTED} AS disputed, {_AFTER_IT} AS after_it, coalesce(d.uri, '') AS uri, l.run,
  nullif(l.deployment, '') AS deployment, EXISTS (SELECT 1 FROM live_place o
    WHERE o.deliverable = l.deliverable AND o.instance = l.instance AND o.run <> l.run
      AND NOT (o.deployment = '' AND {_SOMETHING.format("o")})) AS partly,
  l.number, l.lasting, {_FAILED} AS failed
FROM live_place l LEFT JOIN deployment d ON d.id = l.deployment
LEFT JOIN deployment_attempt a ON l.deployment = '' AND a.id = (SELECT o.id FROM deployment_attempt o
  WHERE {AT.format("o", "l")} AND {OPEN.format("o")}
  ORDER BY coalesce(o.ended_at, o.tried_at) DESC, o.id LIMIT 1)
WHERE l.deployment <> '' OR NOT {_SOMETHING.format("l")}
""",
    ),
    "release_board": (
        (
            "Deliverable by environment and service: which version is there, since when, by whom, and"
            " its state; and what failed there after it."
        ),
        """
SELECT b.deliverable, coalesce(p.title, b.deliverable) AS title, b.environment,
  coalesce(e.title, b.environment) AS environment_title, b.service, b.version, b.since, b.actor,
  b.reason,
  CASE WHEN b.disputed OR EXISTS (SELECT 1 FROM disputed x WHERE x.run = b.run) THEN 'disputed'
    WHEN b.partly THEN 'partly'
    WHEN b.deployment IS NULL THEN 'nothing live'
    ELSE coalesce((SELECT u.state FROM number_uses u WHERE u.deliverable = b.deliverable
      AND u.run = b.run AND u.version = b.version ORDER BY u.state LIMIT 1), 'no number') END AS state,
  b.after_it,
  (SELECT group_concat(pr.name || iif(pr.contradicted_by IS NULL, '', ' (contradicted)'))
    FROM promotion_board pr
    WHERE pr.run = b.run AND pr.decision IN ('granted', 'overridden')
      AND NOT EXISTS (SELECT 1 FROM disputed x WHERE x.run = pr.run AND x.what = 'promotion'))
    AS promotions,
  b.uri, nullif(b.run, '') AS run, b.deployment,
  (SELECT o.position FROM plan_environment o WHERE o.name = b.environment AND o.plan_sha256 =
    (SELECT n.plan_sha256 FROM run n WHERE n.deliverable = b.deliverable AND n.kind = 'release'
      ORDER BY n.queued_at DESC LIMIT 1)) AS position,
  b.disputed OR b.partly OR b.deployment IS NULL OR b.failed
    OR b.run IN (SELECT run FROM disputed WHERE run IS NOT NULL)
    OR coalesce((b.deliverable, b.run, b.version) IN
      (SELECT deliverable, run, text FROM version WHERE shared = 1), 0) AS look
FROM services_now b
LEFT JOIN deliverable p ON p.id = b.deliverable
LEFT JOIN environment e ON e.deliverable = b.deliverable AND e.instance = b.instance
WHERE b.lasting AND (b.deployment IS NULL OR b.number IS NOT NULL
  OR EXISTS (SELECT 1 FROM run r WHERE r.id = b.run AND r.kind = 'release'))
""",
    ),
    "run_board": (
        "Runs, newest first when sorted by queued_at: version, outcome, place, work and state.",
        """
SELECT r.id AS run, r.deliverable, r.kind, r.version,
  CASE WHEN r.outcome IS NOT NULL THEN r.outcome
    WHEN r.given_up_at IS NOT NULL THEN 'given up'
    WHEN r.queued_at IS NULL THEN 'not yet seen' ELSE 'open' END AS outcome,
  coalesce(u.state, 'no number') AS number_state, r.outcome_reason, r.stopped_before,
  coalesce(nullif(r.place, ''), r.place_kind) AS place, r.host, r.actor, r.reason, r.revision,
  r.revision_subject, r.proof, r.online, r.queued_at, r.started_at, r.finished_at,
  r.duration_seconds, r.place_url,
  (SELECT group_concat(u.environment || ': ' || u.state, '; ') FROM deployments_unfinished u
    WHERE u.run = r.id AND u.state <> 'not ended') AS trouble
FROM run r LEFT JOIN number_uses u ON u.run = r.id AND u.deliverable = r.deliverable
  AND u.version = r.version
""",
    ),
    "run_timeline": (
        (
            "What happened in a run, in order: its stages with waiting and working time, tests,"
            " deployments, decisions, what gates said, and plugins that were left out."
        ),
        timeline_sql(),
    ),
    "open_flags": (
        "What somebody should look at and nothing has settled since.",
        """
SELECT f.raised_at, f.kind, f.text, f.deliverable, r.version, f.run, f.subject
FROM flag f LEFT JOIN run r ON r.id = f.run
WHERE f.kind <> 'settled-by-hand'
  AND NOT (f.kind = 'revision-gone' AND coalesce(r.reverified, 0) = 1)
  AND NOT (f.kind = 'half-applied' AND (EXISTS (SELECT 1 FROM flag later
    WHERE later.kind IN ('settled-by-hand', 'half-applied') AND later.subject = f.subject
      AND later.deliverable = f.deliverable AND later.raised_at > f.raised_at)
    OR EXISTS (SELECT 1 FROM deployment d WHERE d.deliverable = f.deliverable
      AND d.environment = substr(f.subject, instr(f.subject, ' in ') + 4)
      AND (d.deployed_at > f.raised_at OR d.removed_at > f.raised_at))))
  AND NOT (f.kind IN ('changed-outside', 'other-weights', 'found-instances', 'not-drained',
     'went-unobserved', 'host-left-out') AND (
    EXISTS (SELECT 1 FROM deployment d WHERE d.deliverable = f.deliverable
      AND d.environment = f.subject AND d.deployed_at > f.raised_at
      AND NOT (f.kind = 'went-unobserved' AND EXISTS (SELECT 1 FROM stage_run s
        WHERE s.id = d.stage_run AND s.started_at <= f.raised_at)))
    OR EXISTS (SELECT 1 FROM flag later WHERE later.kind = f.kind AND later.subject = f.subject
      AND later.deliverable = f.deliverable AND later.raised_at > f.raised_at)
    OR EXISTS (SELECT 1 FROM deployment d WHERE d.deliverable = f.deliverable
      AND d.environment = f.subject AND d.removed_at > f.raised_at)))
  AND NOT (f.kind IN ('uncommitted-changes', 'unreadable-report', 'not-asked', 'not-provisioned',
      'bump-not-pushed') AND
    EXISTS (SELECT 1 FROM run later WHERE later.deliverable = f.deliverable
      AND later.kind = 'release' AND later.outcome = 'success' AND later.queued_at > r.queued_at))
  AND NOT (f.kind = 'no-witness' AND EXISTS (SELECT 1 FROM number_uses u
    WHERE u.run = f.run AND u.deliverable = f.deliverable AND u.state = 'in use, confirmed'))
  AND NOT (f.kind = 'not-destroyed' AND EXISTS (SELECT 1 FROM environment e
    WHERE e.deliverable = f.deliverable AND e.instance = f.subject
      AND e.deleted_at > f.raised_at))
  AND NOT (f.kind = 'not-removed' AND EXISTS (SELECT 1 FROM resource x
    WHERE x.id = f.subject AND x.gone_at IS NOT NULL))
  AND NOT (f.kind = 'closed-not-destroyed' AND (
    EXISTS (SELECT 1 FROM flag later WHERE later.kind = f.kind AND later.subject = f.subject
      AND later.deliverable = f.deliverable AND later.raised_at > f.raised_at)
    OR EXISTS (SELECT 1 FROM environment e WHERE e.deliverable = f.deliverable
      AND e.name = f.subject AND e.deleted_how = 'destroyed' AND e.deleted_at > f.raised_at)))
  AND NOT (f.kind = 'store-changed' AND EXISTS (SELECT 1 FROM settlement s
    WHERE s.node = f.subject AND s.settled_at >= f.raised_at))
"""
        + _CONTRADICTED
        + _OTHER_COMMIT
        + _FAILED_DEPLOYMENTS
        + _HALF_PUBLISHED
        + _CLOCKS_AHEAD
        + _TWO_HISTORIES,
    ),
    "number_ledger": (
        (
            "What became of every number up to the highest granted, in stretches of one fate: exactly"
            " one state each, and why. Numbers without a row are free."
        ),
        ledger_sql(),
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
