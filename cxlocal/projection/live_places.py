"""What is live where: the table of it, and the triggers that keep it.

A long history has few places, and each page begins with them. The rows of a place follow from those of its
deployments and attempts: whatever of these is written, in whatever order, makes the place's rows anew.
"""

from __future__ import annotations

from cxlocal.projection.description import Table

LIVE_PLACE = Table(
    "What stands in a place now: in a service of an environment. Several rows of one place are disputed.",
    "follows from deployments and attempts",
    "deliverable instance service deployment version",
    """
    deliverable TEXT - | Deliverable.
    instance TEXT - | Id of the environment: its name, or name and run for a per-run one.
    service TEXT - | Service.
    deployment TEXT - | What is live: id of the deployment; empty where all that was tried there failed.
    version TEXT - | Its version; each of them where two histories say different ones.
    environment TEXT - | Name of the environment.
    run TEXT - | Run that made the version; empty where nothing is live.
    number INTEGER - | Number of the version; empty for rehearsals, and where nothing is live.
    lasting INTEGER - | 1 in a lasting environment, 0 in one made for a run.
    disputed INTEGER - | 1 when another deployment or another history claims the place, 0 when not.
    attempt TEXT - | What failed there last after it, or began and has not ended: id of the attempt; empty for none.
    """,
)

LASTING = (
    "coalesce((SELECT e.lifetime FROM environment e WHERE e.deliverable = {0}.deliverable"
    " AND e.instance = {0}.instance), 'lasting') = 'lasting'"
)
"""Whether the environment of a row lasts; ``{0}`` is that row."""
_AT = "{0}.deliverable = {1}.deliverable AND {0}.instance = {1}.instance AND {0}.service = {1}.service"
_LIVE = "{0}.replaced = 0 AND {0}.removed_at IS NULL AND +{0}.deployed_at IS NOT NULL"
_OPEN = "{0}.settled = 0 AND coalesce({0}.outcome, '') <> 'refused' AND {0}.tried_at IS NOT NULL"
_NEWEST = "ORDER BY coalesce(a.ended_at, a.tried_at) DESC, a.id LIMIT 1"
_ROW = f"""SELECT d.deliverable, d.instance, d.service, d.id, coalesce({{version}}, ''), d.environment,
      coalesce(d.version_run, ''), {{number}}, {LASTING.format("d")}, {{disputed}},
      coalesce((SELECT a.id FROM deployment_attempt a
        WHERE {_AT.format("a", "d")} AND {_OPEN.format("a")} {_NEWEST}), '')"""
_OTHER = "iif(x.one_value IS d.version, x.other_value, x.one_value)"
_DISPUTE = """x.what = 'deployment' AND x.subject = '["' || d.id || '"]'"""
_SEVERAL = f"""(SELECT count(*) FROM deployment o WHERE {_AT.format("o", "d")} AND {_LIVE.format("o")}) > 1
      OR EXISTS (SELECT 1 FROM disputed x WHERE {_DISPUTE})"""
_PLACE = f"""
  DELETE FROM live_place WHERE {_AT.format("live_place", "{row}")};
  INSERT INTO live_place
    {_ROW.format(version="d.version", number="d.number", disputed=_SEVERAL)}
    FROM deployment d WHERE {_AT.format("d", "{row}")} AND {_LIVE.format("d")}
    UNION {_ROW.format(version=_OTHER, number="NULL", disputed="1")}
    FROM deployment d JOIN disputed x ON {_DISPUTE} AND x.field = 'version'
      AND coalesce({_OTHER}, '') <> coalesce(d.version, '')
    WHERE {_AT.format("d", "{row}")} AND {_LIVE.format("d")};
  INSERT INTO live_place SELECT a.deliverable, a.instance, a.service, '', '', a.environment, '', NULL,
      {LASTING.format("a")}, 0, a.id
    FROM deployment_attempt a WHERE {_AT.format("a", "{row}")} AND {_OPEN.format("a")}
      AND NOT EXISTS (SELECT 1 FROM live_place l WHERE {_AT.format("l", "a")}) {_NEWEST};
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
    "live_deployment": ("UPDATE OF replaced, removed_at ON deployment", _PLACE.format(row="NEW")),
    "live_attempt": ("UPDATE OF settled ON deployment_attempt", _PLACE.format(row="NEW")),
    "live_deployment_moved": (
        f"UPDATE OF deployed_at ON deployment WHEN {_MOVED}",
        _PLACE.format(row="OLD"),
    ),
    "live_attempt_moved": (
        f"UPDATE OF tried_at ON deployment_attempt WHEN {_MOVED}",
        _PLACE.format(row="OLD"),
    ),
    "live_environment": ("UPDATE OF lifetime ON environment", _LASTS),
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
