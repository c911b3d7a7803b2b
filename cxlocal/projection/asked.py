"""What a person asked for, as SQL: a run by its version or id, a time as people write it."""

from __future__ import annotations

_NEWEST = "ORDER BY queued_at DESC LIMIT 1"
_OF_IT = "AND :deliverable IN ('', deliverable)"
CHOSEN_RUN = f"""(SELECT iif(:run = '',
  (SELECT id FROM run WHERE 1 {_OF_IT} {_NEWEST}),
  (SELECT id FROM run WHERE (version = :run OR id >= :run AND id < :run || '~')
    {_OF_IT} {_NEWEST})))"""
"""The id of the run that ``:run`` names: its version text, or the beginning of its id; empty for the
newest. A version text belongs to a deliverable: ``:deliverable`` says which, empty for any."""

RUN_WORDS = (
    "The run is a version or the beginning of a run's id; empty: the newest run. Where several"
    " deliverables have that version, the deliverable says which is meant."
)
HOW_TO_WRITE = "write 2026-11-23, 2026-11-23 02:14 or 2026-11-23T02:14+01:00"
NOT_A_TIME = f"is no time, {HOW_TO_WRITE}"


def asked_time(name: str) -> str:
    """The UTC text of the time in a parameter; ``9`` (later than any) where it is empty, the end of a
    day for a day alone.

    What is no time is refused: SQLite has no word for that, but says what a path in JSON is that it
    cannot follow. SQLite alone would take 31 February and 2026 for times.
    """
    day = f"substr(:{name}, 1, 10)"
    return f"""CASE WHEN :{name} = '' THEN '9' WHEN coalesce(date({day}, '+0 days') <> {day}
      OR length(:{name}) BETWEEN 11 AND 15 OR strftime('%s', :{name}) IS NULL, 1)
    THEN json_extract('{{}}', '"' || :{name} || '" {NOT_A_TIME}')
    ELSE strftime('%Y-%m-%dT%H:%M:%fZ', :{name}, iif(length(:{name}) = 10, '+86399.999 seconds', '0 seconds')) END"""
