"""What is live where: the table of it, and the triggers that keep it.

A long history has few places, and each page begins with them. A row follows from its deployment, or from the
attempts of its place: whatever of these is written, in whatever order, makes it anew.
"""

from __future__ import annotations

from cxlocal.projection.description import Table

LIVE_PLACE = Table(
    "What stands in a place now, a service of an environment: a row for each deployment that is live there,"
    " and one for what failed there after it.",
    "follows from deployments and attempts",
    "deliverable instance service deployment version",
    """
    deliverable TEXT - | Deliverable.
    instance TEXT - | Id of the environment: its name, or name and run for a per-run one.
    service TEXT - | Service.
    deployment TEXT - | Id of the deployment that is live; empty: what was tried there failed, or began and has not ended.
    version TEXT - | Its version; each of them where two histories say different ones.
    run TEXT - | Run that made the version.
    number INTEGER - | Number of the version; empty for rehearsals.
    lasting INTEGER - | 1 in a lasting environment, 0 in one made for a run.
    disputed INTEGER - | 1 when another history says otherwise of the deployment, 0 when not.
    """,
)

LASTING = (
    "coalesce((SELECT e.lifetime FROM environment e WHERE e.deliverable = {0}.deliverable"
    " AND e.instance = {0}.instance), 'lasting') = 'lasting'"
)
"""Whether the environment of a row lasts; ``{0}`` is that row."""
AT = "{0}.deliverable = {1}.deliverable AND {0}.instance = {1}.instance AND {0}.service = {1}.service"
"""Whether two rows are of one place."""
OPEN = "{0}.settled = 0 AND coalesce({0}.outcome, '') <> 'refused' AND {0}.tried_at IS NOT NULL"
"""Whether an attempt failed, or has not ended, and nothing has made up for it."""
_ROW = f"""SELECT d.deliverable, d.instance, d.service, d.id, coalesce({{version}}, ''),
      coalesce(d.version_run, ''), {{number}}, {LASTING.format("d")}, {{disputed}}"""
_ALIVE = """d.id = NEW.id AND d.id <> '' AND d.replaced = 0 AND d.removed_at IS NULL
      AND d.deployed_at IS NOT NULL AND d.deliverable || d.instance || d.service IS NOT NULL"""
_OTHER = "iif(x.one_value IS d.version, x.other_value, x.one_value)"
_DISPUTE = """x.what = 'deployment' AND x.subject = '["' || d.id || '"]'"""
# Each event touches rows of its own: a history that comes machine by machine has many that are not replaced yet.
_GONE = f"""
  DELETE FROM live_place WHERE {AT.format("live_place", "{row}")} AND deployment = {{row}}.id;
"""
_DEPLOYED = f"""{_GONE.format(row="NEW")}  INSERT INTO live_place
    {_ROW.format(version="d.version", number="d.number", disputed=f"EXISTS (SELECT 1 FROM disputed x WHERE {_DISPUTE})")}
    FROM deployment d WHERE {_ALIVE}
    UNION {_ROW.format(version=_OTHER, number="NULL", disputed="1")}
    FROM deployment d JOIN disputed x ON {_DISPUTE} AND x.field = 'version'
      AND coalesce({_OTHER}, '') <> coalesce(d.version, '')
    WHERE {_ALIVE};
"""
_SETTLED = f"""
  DELETE FROM live_place WHERE {AT.format("live_place", "{row}")} AND deployment = ''
    AND NOT EXISTS (SELECT 1 FROM deployment_attempt a WHERE {AT.format("a", "{row}")} AND {OPEN.format("a")});
"""
_TRIED = f"""{_SETTLED.format(row="NEW")}  INSERT INTO live_place
    SELECT a.deliverable, a.instance, a.service, '', '', '', NULL, {LASTING.format("a")}, 0
    FROM deployment_attempt a WHERE a.id = NEW.id AND {OPEN.format("a")}
      AND a.deliverable || a.instance || a.service IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM live_place l WHERE {AT.format("l", "a")} AND l.deployment = '');
"""
_LASTS = f"""
  UPDATE live_place SET lasting = {LASTING.format("live_place")}
    WHERE deliverable = NEW.deliverable AND instance = NEW.instance;
"""
# Functions that read JSON are none that a trigger may call where the schema is not trusted.
_TOUCH = """
  UPDATE deployment SET replaced = replaced WHERE id = substr({row}.subject, 3, length({row}.subject) - 4);
"""
_MOVED = "(OLD.deliverable, OLD.instance, OLD.service) IS NOT (NEW.deliverable, NEW.instance, NEW.service)"

# What a deployment or an attempt says else is written first; ``following`` then writes these columns.
_RULES = {
    "live_deployment": ("UPDATE OF replaced, removed_at ON deployment", _DEPLOYED),
    "live_attempt": ("UPDATE OF settled ON deployment_attempt", _TRIED),
    "live_deployment_moved": (
        f"UPDATE OF deployed_at ON deployment WHEN {_MOVED}",
        _GONE.format(row="OLD"),
    ),
    "live_attempt_moved": (
        f"UPDATE OF tried_at ON deployment_attempt WHEN {_MOVED}",
        _SETTLED.format(row="OLD"),
    ),
    "live_environment": (
        "UPDATE OF lifetime ON environment WHEN NEW.lifetime IS NOT OLD.lifetime",
        _LASTS,
    ),
    "live_environment_new": ("INSERT ON environment WHEN NEW.lifetime IS NOT NULL", _LASTS),
    "live_dispute": (
        "INSERT ON disputed WHEN NEW.what = 'deployment'",
        _TOUCH.format(row="NEW"),
    ),
    "live_dispute_ended": (
        "DELETE ON disputed WHEN OLD.what = 'deployment'",
        _TOUCH.format(row="OLD"),
    ),
}
# sql: names and statements of this module
LIVE_PLACES = "".join(
    f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {when} BEGIN{body}END;\n"
    for name, (when, body) in _RULES.items()
)
