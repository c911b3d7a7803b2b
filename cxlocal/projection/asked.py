"""What a person asked for, as SQL: a run by its version or id, a time as people write it."""

from __future__ import annotations

PAGE_ROWS = 50
"""Rows of a stored query on one page."""
SINCE_ROWS = 2000
"""Runs or deployments that statistics read where nobody says since when."""
_NEWEST = "ORDER BY queued_at DESC LIMIT 1"
_OF_IT = "AND :deliverable IN ('', deliverable)"
CHOSEN_RUN = f"""(SELECT iif(:run = '',
  (SELECT id FROM run WHERE 1 {_OF_IT} {_NEWEST}),
  (SELECT id FROM run WHERE (version = :run OR id >= :run AND id < :run || '~')
    {_OF_IT} {_NEWEST})))"""
"""The id of the run that ``:run`` names: its version text, or the beginning of its id; empty for the
newest. A version text belongs to a deliverable: ``:deliverable`` says which, empty for any."""

UNCONFIRMED = """state = 'in use, not yet confirmed' AND run IN (SELECT c.run FROM node_lookup n
  CROSS JOIN version c ON c.node = n.name AND c.sequence > iif(
    EXISTS (SELECT 1 FROM event e WHERE e.node = n.id AND e.branch <> 0), -1,
    coalesce((SELECT max(a.sequence) FROM ack a JOIN store_state s ON s.generation = a.generation
      WHERE a.node = n.name), -1)))"""
CONFLICTED = """state = 'conflicted' AND run IN (SELECT run FROM version WHERE shared = 1
  UNION SELECT run FROM disputed WHERE what = 'version')"""
"""Conditions on ``number_uses``: the state, and the few rows that can have it. The store has all of a
chain up to what it acknowledged, where that chain has one history."""

RUN_WORDS = (
    "The run is a version or the beginning of a run's id; empty: the newest run. Where several"
    " deliverables have that version, the deliverable says which is meant."
)
HOW_TO_WRITE = "write 2026-11-23, 2026-11-23 02:14 or 2026-11-23T02:14+01:00"
NOT_A_TIME = f"is no time, {HOW_TO_WRITE}"


def asked_time(name: str, empty: str = "'9'", day: str = "+86399.999 seconds") -> str:
    """The UTC text of the time in a parameter; ``empty`` where that is empty (a text later than any
    time), the end of a day for a day alone.

    What is no time is refused: SQLite has no word for that, but says what a path in JSON is that it
    cannot follow. SQLite alone would take 31 February and 2026 for times.
    """
    date = f"substr(:{name}, 1, 10)"
    return f"""CASE WHEN :{name} = '' THEN {empty} WHEN coalesce(date({date}, '+0 days') <> {date}
      OR length(:{name}) BETWEEN 11 AND 15 OR strftime('%s', :{name}) IS NULL, 1)
    THEN json_extract('{{}}', '"' || :{name} || '" {NOT_A_TIME}')
    ELSE strftime('%Y-%m-%dT%H:%M:%fZ', :{name}, iif(length(:{name}) = 10, '{day}', '0 seconds')) END"""


def since(column: str, table: str) -> str:
    """The UTC text of ``:since``; 90 days before the newest of a column where it is empty, and not more than
    ``SINCE_ROWS`` of its table. Statistics over a whole history would read all of it for what nobody
    remembers."""
    empty = (
        f"max((SELECT strftime('%Y-%m-%dT00:00:00.000Z', max({column}), '-90 days') FROM {table}),"
        f" {newest(column, table)})"
    )
    return asked_time("since", empty, "0 seconds")


def newest(column: str, table: str) -> str:
    """The UTC text from which on a table has ``SINCE_ROWS`` rows; an empty one where it has no more."""
    return f"coalesce((SELECT {column} FROM {table} ORDER BY {column} DESC LIMIT 1 OFFSET {SINCE_ROWS}), '')"


SINCE_WORDS = f"Since a day or time; empty: the last 90 days of the history, the newest {SINCE_ROWS} of it at most."

BEFORE = (
    "EXISTS (SELECT 1 FROM run_change o CROSS JOIN run x ON x.id = o.run WHERE o.revision = {0}.revision"
    " AND x.deliverable = {1}.deliverable AND x.kind = 'release' AND x.queued_at <= {2})"
)
"""Whether a release asked for until ``{2}`` listed the commit of a row ``{0}``: then it came with that, or with
the next one. ``{1}`` is a row of the deliverable."""
PLACE_IN_ORDER = "(SELECT max(v.sort_key) FROM version v WHERE v.run = {0} AND v.text = {1})"
"""By what versions are in the order of their scheme; ``{0}`` is the run that has one, ``{1}`` its text."""
VERSION_ORDER = (
    f"coalesce({PLACE_IN_ORDER.format('{0}.id', '{0}.version')},\n    '~' || {{0}}.queued_at)"
)
"""By what runs of one deliverable are in the order of their versions, 1.0.9 before 1.0.10, those without one
last; ``{0}`` is the run. A text of a version says nothing of its order."""
DECISION_WORDS = {
    "granted": "given",
    "overridden": "passed over by hand",
    "denied": "refused",
    "undecided": "not decided",
}
"""A decision about a promotion, for people."""
DECIDED = (
    "CASE {0}.decision "
    + " ".join(f"WHEN '{one}' THEN '{words}'" for one, words in DECISION_WORDS.items())
    + " ELSE {0}.decision END"
)
"""The same in SQL; ``{0}`` is the row of the decision."""
TITLE = (
    "coalesce((SELECT d.title FROM deliverable d WHERE d.id = {0}.deliverable), {0}.deliverable)"
)
"""A product by its title, in the SQL of a row that has a deliverable; ``{0}`` is that row."""
PLACE = (
    "coalesce((SELECT nullif(e.title, '') FROM environment e WHERE e.deliverable = {0}.deliverable"
    " AND e.instance = {0}.instance), {0}.environment)"
)
"""The same of its environment."""
PROMOTION = (
    "coalesce((SELECT nullif(iif(g.type = 'object', g.value ->> 'title', ''), '') FROM plan n,"
    " json_each(n.plan, '$.promotions') g WHERE n.sha256 = {0}.plan_sha256"
    " AND iif(g.type = 'object', g.value ->> 'name', NULL) = {1} LIMIT 1), {1})"
)
"""A promotion by the title that the plan of a row gives it; ``{0}`` is that row, ``{1}`` the name."""
