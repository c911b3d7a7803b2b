"""Columns that follow from other rows, kept by triggers: whoever writes a row, in whatever order, and
whatever settles a dispute, they say what the rows beside them say.

A long history has few rows that are live, open or in conflict. Without these columns every page that
asks for them would look at all others.
"""

from __future__ import annotations

from cxlocal.projection.live_places import LIVE_PLACES

_REPLACED = (
    "EXISTS (SELECT 1 FROM deployment_replaces x WHERE x.replaced = {id} AND x.since IS NOT NULL)"
)
_DEPLOYED = _REPLACED.format(id="deployment.id")
_SETTLED = f"""({_REPLACED.format(id="deployment_attempt.id")}
      OR EXISTS (SELECT 1 FROM deployment d WHERE d.id = deployment_attempt.id
        AND d.deployed_at IS NOT NULL) AND outcome IS NULL)"""
# The row itself was written: what follows from these columns is to be made anew. Else only what changes.
_DEPLOYMENT = f"""
  UPDATE deployment SET replaced = {_DEPLOYED} WHERE id = {{id}};
"""
_ATTEMPT = f"""
  UPDATE deployment_attempt SET settled = {_SETTLED} WHERE id = {{id}};
"""
_ITS_DEPLOYMENT = f"""
  UPDATE deployment SET replaced = {_DEPLOYED} WHERE id = {{id}} AND replaced IS NOT {_DEPLOYED};
"""
_ITS_ATTEMPT = f"""
  UPDATE deployment_attempt SET settled = {_SETTLED} WHERE id = {{id}} AND settled IS NOT {_SETTLED};
"""
_SHARED = """
  UPDATE version SET shared = version.number >= 0 AND EXISTS (SELECT 1 FROM version o
      WHERE o.deliverable = version.deliverable AND o.line = version.line
        AND o.number = version.number AND o.run <> version.run AND o.used_at IS NOT NULL)
    WHERE deliverable = NEW.deliverable AND line = NEW.line AND number = NEW.number;
"""
# Of those with one host name only the first ever had it bare; where one is left, it has it again.
_NAMED = """
  UPDATE machine SET name = host || iif((SELECT count(*) FROM (SELECT 1 FROM machine o
      WHERE o.host = machine.host LIMIT 2)) > 1, ' (' || substr(node, 1, 8) || ')', '')
    WHERE node IN (SELECT {id} UNION ALL SELECT o.node FROM machine o
      WHERE o.host = NEW.host AND o.name = o.host{former});
"""
_FORMER = (
    "\n      UNION ALL SELECT node FROM (SELECT node FROM machine WHERE host = OLD.host LIMIT 2)"
)
_RULES = {
    ("deployment", "deployed_at"): _DEPLOYMENT + _ITS_ATTEMPT,
    # One that came to run and was refused there has failed, too: nothing made up for it yet.
    ("deployment_attempt", "tried_at, outcome"): _ATTEMPT,
    ("deployment_replaces", "since"): _ITS_DEPLOYMENT + _ITS_ATTEMPT,
    ("version", "used_at"): _SHARED,
    ("machine", "host"): _NAMED,
}
"""By table, and the column of it that others follow."""


def _triggers() -> str:
    made = []
    for (table, column), body in _RULES.items():
        key = {"deployment_replaces": "NEW.replaced", "machine": "NEW.node"}.get(table, "NEW.id")
        for when in ("INSERT", f"UPDATE OF {column}"):
            former = _FORMER if when != "INSERT" else ""
            name = f"{table}_{when.partition(' ')[0].lower()}ed"
            # sql: names and statements of this module
            made.append(
                f"CREATE TRIGGER IF NOT EXISTS {name} AFTER {when} ON {table} BEGIN"
                f"{body.format(id=key, former=former)}END;\n"
            )
    return "".join(made)


FOLLOWING = _triggers() + LIVE_PLACES
