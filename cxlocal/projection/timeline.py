"""What happened in a run, in order, as SQL: one statement for the view of all runs, and for the page of
one, which must not read all others.

SQLite takes a condition into the arms of a view where its value is known beforehand; a run that is
looked up by its version is not.
"""

from __future__ import annotations

import re

# A deployment that went well and is done once more is no retry: the version went back, or was deployed again.
_AGAIN = """iif(t.outcome = 'success', (SELECT iif(a.kind = 'rollback', 'a later rollback did it once more',
      'a later deployment did it once more') FROM stage_run o JOIN deployment_attempt a ON a.stage_run = o.id
    WHERE o.run = t.run AND o.stage = t.stage AND o.started_at > t.started_at
    ORDER BY o.started_at DESC LIMIT 1), NULL)"""
_SQL = f"""
SELECT t.run, t.started_at AS at, 'stage' AS what, t.stage || coalesce(' ('
    || coalesce(nullif(t.part, ''), nullif(t.job, '')) || ')', '') AS name,
  coalesce(t.outcome, 'running') AS result, t.environment, t.waiting_seconds, t.duration_seconds,
  CASE t.counts WHEN 0 THEN ltrim(coalesce(t.reason, '') || '; ' || coalesce({_AGAIN}, 'replaced by a retry'), '; ')
    WHEN -1 THEN ltrim(coalesce(t.reason, '') || '; does not count: made from another commit, '
      || substr(t.revision, 1, 12), '; ')
    ELSE t.reason END AS words FROM stage_run t WHERE t.started_at IS NOT NULL {{t.run}}
UNION ALL SELECT p.run, p.finished_at, 'tests', p.suite, p.outcome, p.environment, NULL,
  p.duration_seconds, p.passed || ' of ' || p.total || ' passed' FROM report p
  WHERE p.finished_at IS NOT NULL {{p.run}}
UNION ALL SELECT d.run, d.deployed_at, 'deployment', d.service, d.kind, d.environment, NULL, NULL,
  d.version FROM deployment d WHERE d.deployed_at IS NOT NULL {{d.run}}
UNION ALL SELECT a.run, a.ended_at, 'deployment', a.service, a.outcome, a.environment, NULL, NULL,
  a.why FROM deployment_attempt a WHERE a.ended_at IS NOT NULL {{a.run}}
UNION ALL SELECT p.run, p.found_at, 'publication', p.target, p.state, '', NULL, NULL, p.why
  FROM publication p WHERE p.found_at IS NOT NULL {{p.run}}
UNION ALL SELECT p.run, p.withdrawn_at, 'publication', p.target, 'withdrawn', '', NULL, NULL,
  p.withdrawn_why FROM publication p WHERE p.withdrawn_at IS NOT NULL {{p.run}}
UNION ALL SELECT m.run, m.decided_at, 'promotion', m.name, m.decision, '', NULL, NULL, m.reason
  FROM promotion m WHERE m.decided_at IS NOT NULL {{m.run}}
UNION ALL SELECT b.run, b.decided_at, 'promotion', b.name, 'contradicted', '', NULL, NULL,
  'did not succeed: ' || b.contradicted_by FROM promotion_board b
  WHERE b.contradicted_by IS NOT NULL {{b.run}}
UNION ALL SELECT g.run, g.judged_at, 'gate', g.gate, g.verdict, coalesce(g.environment, ''), NULL,
  NULL, g.reason FROM verdict g WHERE g.judged_at IS NOT NULL {{g.run}}
UNION ALL SELECT l.run, l.at, 'plugin', l.plugin, 'left out', '', NULL, NULL, l.how
  FROM left_out l WHERE l.at IS NOT NULL {{l.run}}
UNION ALL SELECT q.run, q.asked_at, 'run', coalesce(q.up_to, ''), 'went on', '', NULL, NULL,
  coalesce(nullif(q.reason, ''), q.actor) FROM run_asked q WHERE q.resumed = 1 {{q.run}}
UNION ALL SELECT w.run, w.reviewed_at, 'review', coalesce(w.actor, ''), 'answered for', '', NULL, NULL,
  w.words FROM review w WHERE w.reviewed_at IS NOT NULL {{w.run}}
UNION ALL SELECT x.run, x.redacted_at, 'redaction', coalesce(x.stage, ''), 'removed', '', NULL, NULL,
  coalesce(x.actor, '') || ': ' || coalesce(x.reason, '') FROM redaction x
  WHERE x.redacted_at IS NOT NULL {{x.run}} GROUP BY x.run, x.id
UNION ALL SELECT i.run, i.opened_at, 'incident', coalesce(i.actor, ''), 'at fault',
  coalesce(i.environment, ''), NULL, NULL, i.words FROM incident i WHERE i.opened_at IS NOT NULL {{i.run}}
UNION ALL SELECT i.run, i.closed_at, 'incident', coalesce(i.closed_by, ''), 'over',
  coalesce(i.environment, ''), NULL, NULL, i.closed_words FROM incident i WHERE i.closed_at IS NOT NULL {{i.run}}
UNION ALL SELECT v.run, v.used_at, 'number', v.text, v.how, '', NULL, NULL, v.line
  FROM version v WHERE v.used_at IS NOT NULL {{v.run}}
UNION ALL SELECT e.created_by_run, e.created_at, 'environment', e.instance, 'created', e.name,
  NULL, NULL, e.lifetime FROM environment e WHERE e.created_at IS NOT NULL {{e.created_by_run}}
UNION ALL SELECT e.created_by_run, e.deleted_at, 'environment', e.instance, e.deleted_how, e.name,
  NULL, NULL, e.deleted_why FROM environment e WHERE e.deleted_at IS NOT NULL {{e.created_by_run}}
"""


def timeline_sql(run: str = "") -> str:
    """The statement; ``run`` is an expression of ours, empty for all runs."""
    return re.sub(r" {([\w.]+)}", rf"\n    AND \1 = {run}" if run else "", _SQL)
