"""What the pages show, as SQL: each picture is drawn from rows that anybody can ask for.

Title, description, SQL, as in ``questions``.
"""

from __future__ import annotations

from cxlocal.events.types import PIPELINE_QUEUED
from cxlocal.projection.asked import (
    BEFORE,
    CHOSEN_RUN,
    DECIDED,
    PLACE,
    PLACE_IN_ORDER,
    PROMOTION,
    RUN_WORDS,
    TITLE,
    VERSION_ORDER,
    asked_time,
)
from cxlocal.projection.figures import LIVE_ENVIRONMENT
from cxlocal.projection.live_places import LASTING

USUAL_RUNS, USUAL_TIMES_MIN = 20, 3
"""What a stage usually takes: the middle value of its successes in so many releases before; not known
from fewer than so many."""
BEHIND_MAX = 99
"""Newer releases are counted up to here: a number of three digits says nothing more."""
BOARD_PRODUCTS = 50
LATELY_DAYS, COUNTED_MAX = 35, 20
"""Days before the newest, and how far things of one day are counted: a busy day would cost all of its rows."""

_HEARD_OF = """(SELECT max(e.received) / 1000 > strftime('%s', 'now') - 3600 FROM run_lookup l
    JOIN event e ON e.run = l.id WHERE l.name = r.id) AS heard_of"""
"""Whether something of a run came within the hour: what is older may have been left behind."""
_TOLD_BRANCH = f"""(SELECT e.document ->> '$.customData.cxlocal.place.branch' FROM run_lookup l
    JOIN event e ON e.run = l.id JOIN type_lookup t ON t.id = e.type WHERE l.name = r.id
    AND t.name = '{PIPELINE_QUEUED}' AND e.document ->> '$.customData.cxlocal.place.revision' = r.revision
    ORDER BY e.id LIMIT 1)"""
"""The branch by the word of a CI server, for this very commit: most of them check out no branch."""
_NEWEST_SUCCESS = """SELECT n.rowid FROM run n WHERE n.deliverable = {of} AND n.kind = 'release'
      AND n.outcome = 'success' ORDER BY n.queued_at DESC LIMIT 1"""

_FAILED_TO_GO = "a.outcome IN ('failed', 'cancelled', 'cut off')"
_OF = ":deliverable IN ('', {}.deliverable)"
_BETWEEN = "{0} >= {{lo}} AND {0} < {{hi}}"
# What happened when, of what, where that stands; and what is told of it: version, environment, actor, words, run.
_HAPPENINGS = (
    ("d.deployed_at", "iif(d.kind = 'rolledback', 'rolled back', 'went out')", "d",
     f"FROM deployment d WHERE {_OF.format('d')} AND {_BETWEEN.format('d.deployed_at')} AND {LASTING.format('d')}",
     f"d.version, {PLACE.format('d')}, d.actor, d.reason, d.version_run"),
    ("a.tried_at", "'did not go out'", "a",
     f"FROM deployment_attempt a WHERE {_FAILED_TO_GO} AND {_OF.format('a')} AND {_BETWEEN.format('a.tried_at')}",
     f"a.version, {PLACE.format('a')}, a.actor, a.outcome || coalesce(': ' || nullif(a.why, ''), ''), a.run"),
    ("p.decided_at", "'was decided'", "p",
     f"FROM promotion p WHERE p.automatic = 0 AND {_OF.format('p')} AND {_BETWEEN.format('p.decided_at')}",
     ("p.version, '', p.actor, coalesce(nullif(p.title, ''), p.name) || ': ' || "
     f"{DECIDED.format('p')} || coalesce(', ' || nullif(p.reason, ''), ''), p.run")),
    ("r.queued_at", "iif(r.planned = 0, 'emergency', 'without the store')", "r",
     (f"FROM run r WHERE (r.planned = 0 OR r.online = 0) AND {_BETWEEN.format('r.queued_at')}"
     f" AND r.kind = 'release' AND {_OF.format('r')}"),
     "r.version, '', r.actor, r.reason, r.id"),
    ("r.queued_at", "'run failed'", "r",
     (f"FROM run r WHERE {_BETWEEN.format('r.queued_at')} AND r.kind = 'release' AND r.outcome IN ('failure', 'error')"
     f" AND {_OF.format('r')} AND NOT EXISTS (SELECT 1 FROM deployment_attempt a WHERE a.run = r.id AND {_FAILED_TO_GO})"),
     "r.version, '', r.actor, r.outcome_reason, r.id"),
)  # fmt: skip


def _happened(span: str, *, told: bool) -> str:
    """What happened between two times of a table, with what is told of it or only how much. Pure."""
    names = "(at, what, deliverable" + (
        ", title, version, environment, actor, words, run)" if told else ")"
    )
    # sql: constants of this module
    parts = [
        f"SELECT {at}, {what}, {of}.deliverable{f', {TITLE.format(of)}, {rest}' if told else ''} {where}"
        for at, what, of, where, rest in _HAPPENINGS
    ]
    union = "\nUNION ALL ".join(parts).format(
        lo=f"(SELECT lo FROM {span})", hi=f"(SELECT hi FROM {span})"
    )
    return f"happened {names} AS (\n{union}\n)"


_LATEST = "coalesce((SELECT max(deployed_at) FROM deployment), (SELECT max(queued_at) FROM run))"
_SINCE = asked_time(
    "since", f"strftime('%Y-%m-%dT00:00:00.000Z', {_LATEST}, '-6 days')", "0 seconds"
)

# Of so many, not of all that a day has: the first that was deployed elsewhere tells.
_WENT = f"""(SELECT coalesce(sum({{}}), 0) FROM (SELECT d.kind FROM deployment d WHERE d.deployed_at >= lo
    AND d.deployed_at < hi AND :deliverable IN ('', d.deliverable) AND {LASTING.format("d")}
    LIMIT {COUNTED_MAX}) d)"""

_TWO = f"""
newer AS MATERIALIZED (SELECT * FROM run WHERE id = {CHOSEN_RUN.replace(":run", ":newer")}),
older AS MATERIALIZED (SELECT o.* FROM newer n JOIN run o ON o.id = iif(:older = '',
  (SELECT p.id FROM run p WHERE p.deliverable = n.deliverable AND p.queued_at < n.queued_at
    AND p.kind = 'release' AND p.version IS NOT NULL ORDER BY p.queued_at DESC LIMIT 1),
  {CHOSEN_RUN.replace(":run", ":older")}) WHERE o.deliverable = n.deliverable)"""
_TWO_WORDS = (
    "Each is a version or the beginning of a run's id; empty: the newest run (newer), and the release"
    " before it (older). Where several deliverables have that version, the deliverable says which is meant."
)

_RUNS = """SELECT r.queued_at, coalesce(d.title, r.deliverable) AS title, r.kind, r.version,
  coalesce(r.outcome, iif(r.queued_at IS NULL, 'not yet seen', 'open')) AS outcome, r.outcome_reason,
  r.stopped_before, coalesce(nullif(r.place, ''), r.place_kind) AS place, r.actor,
  r.duration_seconds, r.revision_subject, r.deliverable, r.id AS run
FROM run r LEFT JOIN deliverable d ON d.id = r.deliverable"""

# sql: constants of this module and of the projection
PAGE_QUESTIONS: dict[str, tuple[str, str, str]] = {
    "board": (
        "What is live, product by product",
        (
            f"{BOARD_PRODUCTS} products at a time (part: 1 is the first), those first that need a look;"
            " how many releases are newer, who approved, what it took over from and which run failed there after it."
            " Search: a part of a product's title; or one deliverable."
        ),
        f"""
WITH found AS MATERIALIZED (SELECT deliverable, title, look FROM release_board
  WHERE :deliverable IN ('', deliverable)
    AND (:search = '' OR instr(lower(title), lower(:search)) > 0)),
product AS (SELECT deliverable, title, max(look) AS look, row_number() OVER (
    ORDER BY max(look) DESC, title, deliverable) AS place, count(*) OVER () AS products,
    sum(max(look)) OVER () AS to_look_at FROM found GROUP BY deliverable)
SELECT p.title, f.environment_title, f.service, f.version, f.state, f.since, f.actor, f.after_it,
  (SELECT group_concat(actor, char(10)) FROM (SELECT DISTINCT g.actor FROM promotion g
    WHERE g.run = f.run AND g.automatic = 0
    AND g.decision IN ('granted', 'overridden'))) AS approved_by,
  (SELECT count(*) FROM (SELECT 1 FROM run r JOIN run n ON n.deliverable = r.deliverable
    AND n.kind = 'release' AND n.outcome = 'success' AND n.queued_at > r.queued_at
    AND n.version IS NOT NULL
    WHERE r.id = f.run LIMIT {BEHIND_MAX})) AS behind,
  (SELECT o.version_run FROM deployment_replaces x JOIN deployment o ON o.id = x.replaced
    WHERE x.deployment = f.deployment AND o.version_run <> f.run
    ORDER BY o.deployed_at DESC LIMIT 1) AS run_before,
  iif(f.after_it <> '', (SELECT u.run FROM deployments_unfinished u WHERE u.deliverable = f.deliverable
    AND u.environment = f.environment AND u.service = f.service ORDER BY u.since DESC LIMIT 1), NULL) AS failed_run,
  f.uri, f.position, f.environment, f.deliverable, f.run, p.look, p.products, p.to_look_at
FROM product p CROSS JOIN release_board f ON f.deliverable = p.deliverable
WHERE (p.place - 1) / {BOARD_PRODUCTS} = max(0, coalesce(nullif(:part, ''), 1) - 1)
ORDER BY p.place, f.position IS NULL, f.position, f.environment, f.service, f.since DESC
""",
    ),
    "waiting": (
        "Releases that wait for somebody",
        (
            "The newest release of each product, where it went well and stopped before an environment"
            " that it has not reached since, and what it still needs to go there."
        ),
        f"""
SELECT d.title, r.stopped_before AS environment, r.version, r.finished_at AS since,
  (SELECT group_concat(DISTINCT {PROMOTION.format("r", "q.value")}) FROM plan_stage s, json_each(s.requires) q WHERE s.plan_sha256 = r.plan_sha256
      AND s.environment = r.stopped_before AND NOT EXISTS (SELECT 1 FROM promotion p
        WHERE p.run = r.id AND p.name = q.value AND p.decision IN ('granted', 'overridden')))
    AS waits_for, d.id AS deliverable, r.id AS run
FROM deliverable d JOIN run r ON r.rowid = ({_NEWEST_SUCCESS.format(of="d.id")})
WHERE r.stopped_before <> '' AND :deliverable IN ('', d.id) AND NOT EXISTS (SELECT 1 FROM deployment x WHERE x.version_run = r.id
  AND x.environment = r.stopped_before)
ORDER BY since
""",
    ),
    "open-runs": (
        "Runs that have not ended",
        "Under way, or left behind by a machine that ended without a word.",
        f"""
SELECT r.queued_at, coalesce(d.title, r.deliverable) AS title, r.version, r.actor,
  coalesce(nullif(r.place, ''), r.place_kind) AS place, r.host, r.deliverable,
  {_HEARD_OF}, r.id AS run
FROM run r LEFT JOIN deliverable d ON d.id = r.deliverable
WHERE r.outcome IS NULL AND +r.queued_at IS NOT NULL AND :deliverable IN ('', r.deliverable)
ORDER BY +r.queued_at DESC
""",
    ),
    "runs": (
        "Runs, newest first",
        "Every run that this machine knows of. Empty: of all deliverables.",
        f"""
{_RUNS} WHERE :deliverable = ''
UNION ALL {_RUNS} WHERE r.deliverable = nullif(:deliverable, '')
ORDER BY 1 DESC
""",
    ),
    "one-run": (
        "One run",
        f"What it was, who asked for it, and how it ended. {RUN_WORDS}",
        f"""
SELECT coalesce(d.title, r.deliverable) AS title, r.deliverable, r.version, r.kind,
  coalesce(r.outcome, iif(r.queued_at IS NULL, 'not yet seen', 'open')) AS outcome, r.outcome_reason,
  coalesce((SELECT nullif(o.title, '') FROM plan_environment o WHERE o.plan_sha256 = r.plan_sha256
    AND o.name = r.stopped_before), r.stopped_before) AS stopped_before, r.actor, r.reason, r.planned, r.online, r.place_kind, r.place, r.place_url,
  coalesce(m.name, r.host) AS machine, r.queued_at, r.started_at, r.finished_at, r.duration_seconds,
  r.revision, r.revision_subject, r.revision_author, r.revision_at,
  coalesce(nullif(r.branch, ''), {_TOLD_BRANCH}) AS branch, r.proof,
  r.fixes, (SELECT group_concat(version, ', ') FROM (SELECT w.version FROM run w WHERE w.deliverable = r.deliverable
    AND w.fixes = r.version ORDER BY {VERSION_ORDER.format("w")})) AS fixed_by,
  (SELECT i.words || iif(i.closed_at IS NULL, ' (not over)', '') FROM incident i WHERE i.run = r.id
    ORDER BY i.opened_at DESC LIMIT 1) AS at_fault,
  r.changes_total, r.changes_since, b.number_state,
  (SELECT group_concat(DISTINCT {PLACE.format("u")} || ': ' || u.state) FROM deployments_unfinished u
    WHERE u.run = r.id AND u.state <> 'not ended') AS trouble, d.links, d.owner,
  (SELECT p.id FROM run p WHERE p.deliverable = r.deliverable AND p.queued_at < r.queued_at
    ORDER BY p.queued_at DESC LIMIT 1) AS run_before,
  (SELECT n.id FROM run n WHERE n.deliverable = r.deliverable AND n.queued_at > r.queued_at
    ORDER BY n.queued_at LIMIT 1) AS run_after,
  (SELECT p.id FROM run p WHERE p.deliverable = r.deliverable AND p.queued_at < r.queued_at
    AND p.kind = 'release' AND p.version IS NOT NULL ORDER BY p.queued_at DESC LIMIT 1) AS release_before,
  {_HEARD_OF}, r.id AS run
FROM run r JOIN run_board b ON b.run = r.id LEFT JOIN deliverable d ON d.id = r.deliverable
LEFT JOIN machine m ON m.node = r.node
WHERE r.id = {CHOSEN_RUN}
""",
    ),
    "stages": (
        "Stages of a run, as its plan had them",
        (
            "Each attempt of each stage: what it waited for, how long it took and usually takes (the"
            f" middle of the {USUAL_RUNS} releases before); and the stages of the plan that did not run."
            f" {RUN_WORDS}"
        ),
        f"""
WITH chosen AS MATERIALIZED (SELECT id, plan_sha256, deliverable, queued_at, outcome FROM run
  WHERE id = {CHOSEN_RUN}),
asked AS MATERIALIZED (SELECT DISTINCT j.value AS stage FROM chosen c JOIN run_asked q ON q.run = c.id,
  json_each(q.stages) j),
ranked AS (SELECT t.stage, t.duration_seconds AS seconds, count(*) OVER (PARTITION BY t.stage) AS times,
    row_number() OVER (PARTITION BY t.stage ORDER BY t.duration_seconds) AS rank
  FROM (SELECT e.id FROM chosen c JOIN run e ON e.deliverable = c.deliverable
      AND e.queued_at < c.queued_at AND e.kind = 'release'
      ORDER BY e.queued_at DESC LIMIT {USUAL_RUNS}) e
    JOIN stage_run t ON t.run = e.id AND t.counts = 1 AND t.outcome = 'success'
  WHERE t.duration_seconds IS NOT NULL),
usual AS (SELECT stage, max(iif(rank = (times + 1) / 2, seconds, NULL)) AS seconds FROM ranked
  WHERE times >= {USUAL_TIMES_MIN} GROUP BY stage),
named AS (SELECT s.stage, s.position, s.kind, s.environment, s.waits_for, s.requires FROM chosen c
    JOIN plan_stage s ON s.plan_sha256 = c.plan_sha256
  UNION ALL SELECT DISTINCT t.stage, NULL, NULL, NULL, '[]', '[]' FROM chosen c
    JOIN stage_run t ON t.run = c.id WHERE NOT EXISTS (SELECT 1 FROM plan_stage s
      WHERE s.plan_sha256 = c.plan_sha256 AND s.stage = t.stage))
SELECT n.stage, t.part, coalesce(t.kind, n.kind) AS kind,
  coalesce((SELECT nullif(e.title, '') FROM plan_environment e WHERE e.plan_sha256 = c.plan_sha256
    AND e.name = n.environment), nullif(t.environment, ''), n.environment) AS environment,
  CASE WHEN t.id IS NOT NULL THEN coalesce(t.outcome, 'running')
    WHEN NOT EXISTS (SELECT 1 FROM asked) THEN 'not run'
    WHEN n.stage NOT IN (SELECT stage FROM asked) THEN 'not asked for'
    WHEN c.outcome IS NULL THEN 'not yet' ELSE 'not reached' END AS result,
  t.reason AS words, t.attempt, t.counts, t.ready_at, t.started_at, t.finished_at, t.waiting_seconds,
  t.duration_seconds, u.seconds AS usual_seconds, n.waits_for, n.requires,
  (SELECT json_group_array(DISTINCT a.stage) FROM json_each(n.requires) q JOIN promotion_rule a
    ON a.plan_sha256 = c.plan_sha256 AND a.promotion = q.value) AS earned_by, t.exit_code, t.host, t.log,
  t.log_bytes, t.tail_sha256, n.position, t.id AS stage_run
FROM chosen c JOIN named n LEFT JOIN stage_run t ON t.run = c.id AND t.stage = n.stage
  AND t.started_at IS NOT NULL
LEFT JOIN usual u ON u.stage = n.stage
ORDER BY n.position IS NULL, n.position, n.stage, t.started_at, t.id
""",
    ),
    "went-to": (
        "Where a version went",
        f"Each place it came to run, since when, until when, and what took over. {RUN_WORDS}",
        f"""
SELECT d.deployed_at AS since, coalesce(nullif(e.title, ''), d.environment) AS environment, d.service,
  d.kind, d.version, coalesce(d.removed_at, x.since) AS until,
  iif(d.removed_at IS NULL, x.version, 'removed') AS replaced_by, d.actor, d.reason, d.uri,
  d.artifact_sha256, e.lifetime, s.host, d.run
FROM deployment d LEFT JOIN stage_run s ON s.id = d.stage_run LEFT JOIN environment e ON e.deliverable = d.deliverable AND e.instance = d.instance
LEFT JOIN (SELECT p.replaced, min(p.since) AS since, n.version FROM deployment_replaces p
    LEFT JOIN deployment n ON n.id = p.deployment
    WHERE p.replaced IN (SELECT id FROM deployment WHERE version_run = {CHOSEN_RUN}
      UNION SELECT id FROM deployment WHERE run = {CHOSEN_RUN}) GROUP BY p.replaced) x
  ON x.replaced = d.id
WHERE d.id IN (SELECT id FROM deployment WHERE version_run = {CHOSEN_RUN}
  UNION SELECT id FROM deployment WHERE run = {CHOSEN_RUN})
ORDER BY d.deployed_at
""",
    ),
    "decisions": (
        "Decisions about a version",
        f"What was decided, by whom, and why; decisions of gates among them. {RUN_WORDS}",
        f"""
SELECT p.decided_at AS at, coalesce(nullif(p.title, ''), p.name) AS decision_about, p.decision,
  iif(p.automatic = 1, 'earned by its stages', p.actor) AS by_whom, p.reason, p.automatic, p.run
FROM promotion p WHERE p.run = {CHOSEN_RUN}
UNION ALL SELECT g.judged_at, g.gate || coalesce(' before ' || nullif(g.environment, ''), ''),
  g.verdict, 'a gate', g.reason, 1, g.run FROM verdict g WHERE g.run = {CHOSEN_RUN}
ORDER BY at
""",
    ),
    "artifacts": (
        "What a run made",
        f"Its artifacts: name, size, digest. {RUN_WORDS}",
        f"""
SELECT a.name, a.file_name, a.size_bytes, a.sha256, a.stage, a.packaged_at, a.purl, a.run
FROM artifact a WHERE a.run = {CHOSEN_RUN} AND a.packaged_at IS NOT NULL AND a.replaced_at IS NULL
ORDER BY a.packaged_at, a.name
""",
    ),
    "failing-cases": (
        "Tests that failed in a run",
        f"Each case that failed or broke, with its first message. {RUN_WORDS}",
        f"""
SELECT r.stage, c.suite, c.name, c.outcome, c.message, r.environment, r.run
FROM report r JOIN report_case c ON c.report = r.id AND c.outcome IN ('failed', 'error')
WHERE r.run = {CHOSEN_RUN} ORDER BY r.started_at, c.suite, c.name
""",
    ),
    "diary": (
        "What happened, day by day",
        (
            "What went out, was rolled back, did not go out, was decided by a person, failed, or was out of"
            " the ordinary: since a day or time (empty: the week before the newest) until another."
        ),
        f"""
WITH span AS MATERIALIZED (SELECT {_SINCE} AS lo, {asked_time("until")} AS hi),
{_happened("span", told=True)}
SELECT at, what, title, version, environment, actor, words, deliverable, run FROM happened h
ORDER BY at, what, title, {PLACE_IN_ORDER.format("h.run", "h.version")}, version
""",
    ),
    "diary-days": (
        "How many things happened on each day of a month",
        (
            "By day and by what happened, and of how many products. The month is written 2026-11; empty: that of the newest. Days: a list of"
            " name, beginning and end of each (JSON, UTC) instead; else of the zone of the machine that is asked."
        ),
        f"""
WITH span AS MATERIALIZED (SELECT iif(:month = '', strftime('%Y-%m', {_LATEST}, 'localtime'), :month) AS month),
asked AS MATERIALIZED (SELECT value ->> 0 AS day, value ->> 1 AS lo, value ->> 2 AS hi
  FROM json_each(:days) WHERE :days <> ''),
edge AS MATERIALIZED (SELECT strftime('%Y-%m-%dT%H:%M:%fZ', month || '-01', 'utc') AS lo,
    strftime('%Y-%m-%dT%H:%M:%fZ', month || '-01', '+1 month', 'utc') AS hi FROM span WHERE :days = ''
  UNION ALL SELECT min(lo), max(hi) FROM asked WHERE :days <> ''),
{_happened("edge", told=False)}
SELECT iif(:days = '', date(at, 'localtime'), (SELECT max(day) FROM asked WHERE lo <= at)) AS day, what, count(*) AS times,
  count(DISTINCT deliverable) AS products FROM happened GROUP BY 1, 2 ORDER BY 1, 2
""",
    ),
    "lately": (
        "How each day of some weeks went",
        (
            f"What went out, was rolled back, did not go out or was out of the ordinary on each day, counted up to"
            f" {COUNTED_MAX}. Days: as of diary-days; empty: the last {LATELY_DAYS} until the newest."
        ),
        f"""
WITH RECURSIVE back(n) AS (SELECT 0 WHERE :days = '' UNION ALL SELECT n + 1 FROM back WHERE n < {LATELY_DAYS - 1}),
edge AS (SELECT value ->> 0 AS day, value ->> 1 AS lo, value ->> 2 AS hi FROM json_each(:days) WHERE :days <> ''
  UNION ALL SELECT day, strftime('%Y-%m-%dT%H:%M:%fZ', day, 'utc'),
    strftime('%Y-%m-%dT%H:%M:%fZ', day, '+1 day', 'utc')
  FROM (SELECT date({_LATEST}, 'localtime', '-' || n || ' days') AS day FROM back))
SELECT day, {_WENT.format("d.kind <> 'rolledback'")} AS went_out, {_WENT.format("d.kind = 'rolledback'")} AS rolled_back,
  (SELECT count(*) FROM (SELECT 1 FROM deployment_attempt a WHERE a.outcome IN ('failed', 'cancelled', 'cut off')
    AND a.tried_at >= lo AND a.tried_at < hi AND :deliverable IN ('', a.deliverable) LIMIT {COUNTED_MAX})) AS did_not_go_out,
  (SELECT count(*) FROM (SELECT 1 FROM run r WHERE (r.planned = 0 OR r.online = 0) AND r.queued_at >= lo
    AND r.queued_at < hi AND r.kind = 'release' AND :deliverable IN ('', r.deliverable)
    LIMIT {COUNTED_MAX})) AS unusual
FROM edge WHERE day IS NOT NULL ORDER BY day DESC
""",
    ),
    "product-places": (
        "What ran where, of one product",
        (
            "Each stay of a version in a lasting environment, newest first: since when, until when. Empty:"
            " the deliverable that ran last."
        ),
        f"""
WITH chosen AS MATERIALIZED (SELECT coalesce(nullif(:deliverable, ''),
    (SELECT deliverable FROM run ORDER BY queued_at DESC LIMIT 1)) AS id)
SELECT d.deployed_at AS since, coalesce(d.removed_at, (SELECT min(x.since) FROM deployment_replaces x
    WHERE x.replaced = d.id)) AS until, {PLACE.format("d")} AS environment_title, d.service,
  d.version, d.kind, d.actor, d.environment, {TITLE.format("d")} AS title,
  (SELECT o.position FROM plan_environment o WHERE o.name = d.environment AND o.plan_sha256 =
    (SELECT n.plan_sha256 FROM run n WHERE n.deliverable = d.deliverable AND n.kind = 'release'
      ORDER BY n.queued_at DESC LIMIT 1)) AS position, d.version_run AS run
FROM chosen c CROSS JOIN deployment d ON d.deliverable = c.id
WHERE d.deployed_at IS NOT NULL AND {LASTING.format("d")}
ORDER BY d.deployed_at DESC
""",
    ),
    "not-live-yet": (
        "Commits that are released and not live yet",
        (
            "What came since the version that is live (in the environment that the plan calls live, else in its last;"
            " of several the newest), and the lowest version that went well and has it. Empty: the deliverable"
            " that ran last."
        ),
        f"""
WITH chosen AS MATERIALIZED (SELECT coalesce(nullif(:deliverable, ''),
    (SELECT deliverable FROM run ORDER BY queued_at DESC LIMIT 1)) AS id),
live AS MATERIALIZED (SELECT b.version, max(r.queued_at) AS asked_at FROM chosen c
    JOIN deployments_now b ON b.deliverable = c.id JOIN run r ON r.id = b.version_run
  WHERE b.environment = {LIVE_ENVIRONMENT.format(of="c.id")}
  GROUP BY b.service ORDER BY asked_at LIMIT 1),
came AS MATERIALIZED (SELECT g.revision, g.committed_at, g.subject, g.author, min(r.queued_at) AS asked_at
  FROM live l CROSS JOIN chosen c JOIN run r ON r.deliverable = c.id AND r.queued_at > l.asked_at AND r.kind = 'release'
    -- What went well and made no version put an older one back.
    AND (r.version IS NOT NULL OR coalesce(r.outcome, '') <> 'success')
  JOIN run_change g ON g.run = r.id
  WHERE NOT {BEFORE.format("g", "r", "l.asked_at")}
  GROUP BY g.revision),
able AS (SELECT m.revision, (SELECT s.id FROM run s WHERE s.deliverable = (SELECT id FROM chosen) AND s.kind = 'release'
    AND s.outcome = 'success' AND s.version IS NOT NULL AND s.queued_at >= m.asked_at ORDER BY s.queued_at LIMIT 1) AS run
  FROM came m
  UNION SELECT g.revision, r.id FROM live l CROSS JOIN chosen c JOIN run r ON r.deliverable = c.id
    AND r.queued_at > l.asked_at AND r.kind = 'release' AND r.outcome = 'success' AND r.version IS NOT NULL
  JOIN run_change g ON g.run = r.id),
told AS (SELECT a.revision, r.version, r.id,
    row_number() OVER (PARTITION BY a.revision ORDER BY {VERSION_ORDER.format("r")}) AS place
  FROM able a JOIN run r ON r.id = a.run)
SELECT m.committed_at, m.revision, m.subject, m.author,
  t.version AS first_in, l.version AS live_version, t.id AS run
FROM live l CROSS JOIN came m JOIN told t ON t.revision = m.revision AND t.place = 1
ORDER BY m.committed_at DESC, m.revision
""",
    ),
    "way": (
        "The way of a version, from its commit to where it is live",
        (
            "What happened to it in order, and whose turn each step was: of people, where somebody decided,"
            f" went on or rolled back; else of machines. {RUN_WORDS}"
        ),
        f"""
WITH chosen AS MATERIALIZED (SELECT * FROM run WHERE id = {CHOSEN_RUN})
SELECT r.revision_at AS at, 'commit' AS what, substr(r.revision, 1, 8) AS name, 'people' AS whose,
  r.revision_author AS actor, r.revision_subject AS words, r.id AS run
FROM chosen r WHERE r.revision_at IS NOT NULL
UNION ALL SELECT r.queued_at, 'asked for', coalesce(r.version, ''), 'people', r.actor, r.reason, r.id
  FROM chosen r WHERE r.queued_at IS NOT NULL
UNION ALL SELECT q.asked_at, 'went on', coalesce(q.up_to, ''), 'people', q.actor, q.reason, q.run
  FROM chosen r JOIN run_asked q ON q.run = r.id WHERE q.resumed = 1
UNION ALL SELECT p.decided_at, p.decision, coalesce(nullif(p.title, ''), p.name),
    iif(p.automatic = 1, 'machines', 'people'), iif(p.automatic = 1, '', p.actor), p.reason, p.run
  FROM chosen r JOIN promotion p ON p.run = r.id
UNION ALL SELECT d.deployed_at, iif(d.kind = 'rolledback', 'rolled back', 'live'), {PLACE.format("d")},
    iif(d.kind = 'rolledback', 'people', 'machines'), d.actor, d.service, d.run
  FROM chosen r JOIN deployment d ON d.version_run = r.id WHERE {LASTING.format("d")}
UNION ALL SELECT a.tried_at, a.outcome, {PLACE.format("a")}, 'machines', a.actor, a.why, a.run
  FROM chosen r JOIN deployment_attempt a ON a.run = r.id
  WHERE a.outcome IN ('failed', 'cancelled', 'cut off')
UNION ALL SELECT r.finished_at, 'ended: ' || r.outcome, '', 'machines', '', r.outcome_reason, r.id
  FROM chosen r WHERE r.outcome <> 'success'
ORDER BY at, what
""",
    ),
    "commits-between": (
        "Commits between two versions",
        f"What every release after the older one brought, up to the newer one. {_TWO_WORDS}",
        f"""
WITH {_TWO.strip()}
SELECT committed_at, revision, subject, author, version AS first_in, id AS run
FROM (SELECT g.*, r.version, r.id, row_number() OVER (PARTITION BY g.revision ORDER BY {VERSION_ORDER.format("r")}) AS place
  FROM older o CROSS JOIN newer n JOIN run r ON r.deliverable = n.deliverable
    AND r.queued_at > o.queued_at AND r.queued_at <= n.queued_at AND r.kind = 'release'
  JOIN run_change g ON g.run = r.id
  WHERE NOT EXISTS (SELECT 1 FROM run_change x WHERE x.run = o.id AND x.revision = g.revision))
WHERE place = 1 ORDER BY committed_at DESC, revision
""",
    ),
    "differences": (
        "What is different in two versions",
        f"Artifacts, tests, and stages of the plan side by side. {_TWO_WORDS}",
        f"""
WITH {_TWO.strip()},
side AS (SELECT 'older' AS side, id, plan_sha256 FROM older
  UNION ALL SELECT 'newer', id, plan_sha256 FROM newer),
fact AS (SELECT s.side, 'artifact' AS what, a.name, a.sha256 AS value FROM side s
    JOIN artifact a ON a.run = s.id AND a.packaged_at IS NOT NULL AND a.replaced_at IS NULL
  UNION ALL SELECT s.side, 'tests', p.stage || ': ' || p.suite,
    p.passed || ' of ' || p.total || ' passed' FROM side s JOIN report p ON p.run = s.id
    WHERE p.finished_at IS NOT NULL AND p.passed + p.total IS NOT NULL
  UNION ALL SELECT s.side, 'stage', g.stage, coalesce(g.kind, '') || coalesce(' in ' || coalesce((SELECT nullif(o.title, '')
        FROM plan_environment o WHERE o.plan_sha256 = s.plan_sha256 AND o.name = g.environment),
        nullif(g.environment, '')), '')
      || coalesce(', after ' || (SELECT group_concat(j.value, ', ') FROM json_each(g.waits_for) j), '')
      || coalesce(', needs ' || (SELECT group_concat({PROMOTION.format("s", "j.value")}, ', ')
        FROM json_each(g.requires) j), '')
    FROM side s JOIN plan_stage g ON g.plan_sha256 = s.plan_sha256)
SELECT what, name, max(iif(side = 'older', value, NULL)) AS older,
  max(iif(side = 'newer', value, NULL)) AS newer,
  max(iif(side = 'older', value, NULL)) IS max(iif(side = 'newer', value, NULL)) AS same
FROM fact GROUP BY what, name ORDER BY same, what, name
""",
    ),
}
