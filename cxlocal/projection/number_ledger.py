"""What became of every number, as SQL: one statement for the view of all lines, and for the pages and
commands that ask about one deliverable or line and must not work through the others.

A number in a cursor's way is passed over; a grant over it says who got it; a machine's word that it
will never be used is stronger; a run that uses it is strongest, and two runs make it conflicted.
"""

from __future__ import annotations

# A sweep along each line: what begins and ends at every edge is summed up, so that a stretch of a
# million numbers costs as much as one, and 10,000 stretches are not compared with each other. The
# last stretch to begin is known by the highest mark (first number, last number, who, why); only
# where it has ended and an older one goes on are all looked at. Below the highest number granted
# none is free: what no entry here speaks of, another machine has.
_SQL = """
WITH layer(deliverable, line, lo, hi, kind, node, why) AS (
  SELECT deliverable, line, lo, hi, iif(kind = 'raise', 'passed', 'granted'), node,
    iif(kind = 'raise', trim(why), kind || ' ' || run) FROM grant_entry WHERE {here}
  UNION ALL SELECT deliverable, line, 0, max(hi), 'begun', '', '' FROM grant_entry
    WHERE {here} AND kind <> 'reserve' GROUP BY deliverable, line
  UNION ALL SELECT deliverable, line, lo, hi, 'skipped', coalesce(node, ''), trim(coalesce(why, ''))
    FROM number_skip WHERE skipped_at IS NOT NULL AND {here}
  UNION ALL SELECT DISTINCT deliverable, line, number, number, 'used', '', '' FROM version
    WHERE used_at IS NOT NULL AND {here}
),
sound AS (
  SELECT * FROM layer WHERE typeof(lo) = 'integer' AND typeof(hi) = 'integer' AND lo >= 0
    AND lo <= hi
),
edge(deliverable, line, at, kind, step, mark) AS (
  SELECT deliverable, line, lo, kind, 1, printf('%019d%019d', lo, hi) || node || char(10) || why
    FROM sound
  UNION ALL SELECT deliverable, line, hi + 1, kind, -1, NULL FROM sound
),
stretch AS (
  SELECT deliverable, line, at AS lo, lead(at) OVER here - 1 AS hi,
    sum(sum(step * (kind = 'begun'))) OVER here AS begun,
    sum(sum(step * (kind = 'passed'))) OVER here AS passed,
    sum(sum(step * (kind = 'granted'))) OVER here AS granted,
    sum(sum(step * (kind = 'skipped'))) OVER here AS skipped,
    sum(sum(step * (kind = 'used'))) OVER here AS used,
    max(max(iif(kind = 'passed', mark, ''))) OVER here AS pass_mark,
    max(max(iif(kind = 'granted', mark, ''))) OVER here AS grant_mark,
    max(max(iif(kind = 'skipped', mark, ''))) OVER here AS skip_mark
  FROM edge GROUP BY deliverable, line, at
  WINDOW here AS (PARTITION BY deliverable, line ORDER BY at)
),
unused AS (
  SELECT deliverable, line, lo, hi,
    CASE WHEN skipped THEN 'given up' WHEN granted THEN 'granted' WHEN passed THEN 'passed over'
      ELSE 'not told' END AS fate,
    CASE WHEN skipped AND CAST(substr(skip_mark, 20, 19) AS INTEGER) >= lo THEN substr(skip_mark, 39)
      WHEN skipped THEN (SELECT coalesce(s.node, '') || char(10) || trim(coalesce(s.why, ''))
        FROM number_skip s
        WHERE s.deliverable = stretch.deliverable AND s.line = stretch.line
          AND s.lo <= stretch.lo AND s.hi >= stretch.lo ORDER BY s.lo DESC LIMIT 1)
      WHEN granted AND CAST(substr(grant_mark, 20, 19) AS INTEGER) >= lo
        THEN substr(grant_mark, 39)
      WHEN NOT granted AND passed AND CAST(substr(pass_mark, 20, 19) AS INTEGER) >= lo
        THEN substr(pass_mark, 39)
      WHEN granted OR passed THEN (SELECT g.node || char(10)
          || iif(g.kind = 'raise', trim(g.why), g.kind || ' ' || g.run) FROM grant_entry g
        WHERE g.deliverable = stretch.deliverable AND g.line = stretch.line
          AND (g.kind = 'raise') = NOT granted
          AND g.lo <= stretch.lo AND g.hi >= stretch.lo ORDER BY g.lo DESC LIMIT 1)
      ELSE char(10) END AS who_why
  FROM stretch WHERE NOT used AND (begun OR passed OR granted OR skipped)
),
turn AS (
  SELECT *, coalesce(lag(hi) OVER here = lo - 1 AND lag(fate) OVER here = fate
    AND lag(who_why) OVER here = who_why, 0) AS goes_on
  FROM unused WINDOW here AS (PARTITION BY deliverable, line ORDER BY lo)
),
joined AS (
  SELECT deliverable, line, min(lo) AS lo, max(hi) AS hi, fate,
    substr(who_why, 1, instr(who_why, char(10)) - 1) AS node,
    substr(who_why, instr(who_why, char(10)) + 1) AS why
  FROM (SELECT *, sum(NOT goes_on) OVER (PARTITION BY deliverable, line ORDER BY lo) AS stretch
    FROM turn)
  GROUP BY deliverable, line, stretch
)
SELECT j.deliverable, j.line, j.lo, j.hi, iif(j.fate IN ('granted', 'not told'), 'reserved', 'skipped')
    AS state,
  CASE WHEN j.fate = 'not told'
      THEN 'granted to another machine whose history has not arrived here yet'
    WHEN j.fate IN ('passed over', 'given up')
      THEN iif(j.fate = 'given up', coalesce(m.name, nullif(substr(j.node, 1, 8), ''), '?')
        || ' gave it up', j.fate) || coalesce(': ' || nullif(trim(j.why), ''), ', and no reason was recorded')
    WHEN j.why LIKE 'reserve %' THEN 'held by ' || coalesce(m.name, substr(j.node, 1, 8))
      || ' for the day the store cannot be reached'
    ELSE 'granted to a run on ' || coalesce(m.name, substr(j.node, 1, 8))
      || '; its use has not been reported yet' END AS why,
  NULL AS version,
  iif(j.fate = 'granted', nullif(substr(j.why, instr(j.why, ' ') + 1), ''), NULL) AS run, NULL AS how,
  NULL AS used_at,
  iif(j.fate = 'passed over', NULL, coalesce(m.name, nullif(substr(j.node, 1, 8), ''))) AS machine,
  iif(j.fate = 'passed over', NULL, nullif(j.node, '')) AS node
FROM joined j LEFT JOIN machine m ON m.node = j.node
UNION ALL
SELECT u.deliverable, u.line, u.number, u.number, u.state,
  CASE WHEN EXISTS (SELECT 1 FROM version o WHERE o.deliverable = u.deliverable AND o.line = u.line
      AND o.number = u.number AND o.run <> u.run AND o.used_at IS NOT NULL)
    THEN 'two runs hold it: ' || (SELECT group_concat(run, ' and ') FROM (SELECT o.run FROM version o
      WHERE o.deliverable = u.deliverable AND o.line = u.line AND o.number = u.number
        AND o.used_at IS NOT NULL ORDER BY o.run)) || '; name a run or a digest instead'
    WHEN u.how = 'reserve' THEN 'taken from the reserve'
    WHEN u.how = 'lent' THEN 'taken from the reserve of another machine, which lent it'
    ELSE 'taken online' END,
  u.version, u.run, u.how, u.used_at, coalesce(m.name, substr(u.node, 1, 8)), u.node
FROM (SELECT * FROM number_uses WHERE {here}) u LEFT JOIN machine m ON m.node = u.node
WHERE typeof(u.number) = 'integer' AND u.number >= 0
"""


def ledger_sql(here: str = "1") -> str:
    """The statement; ``here`` is a condition of ours on deliverable and line."""
    return _SQL.replace("{here}", here)
