"""What this journal knows of its store: machines, lines with their cursors, reserves."""

from __future__ import annotations

from typing import Any

from cxlocal.exchange import state as known
from cxlocal.exchange.sync import pending
from cxlocal.journal.file import Journal
from cxlocal.numbers import log
from cxlocal.numbers.holdings import log_entries

_MACHINES = """
SELECT m.node, m.host, m.name, m.kept, m.parent, m.began_at,
    (SELECT max(e.sequence) FROM event e WHERE e.node = l.id AND e.branch = 0) AS events
FROM machine m LEFT JOIN node_lookup l ON l.name = m.node ORDER BY m.host, m.began_at
"""
_LINES = "SELECT DISTINCT deliverable, line FROM grant_entry ORDER BY deliverable, line"


def overview(journal: Journal) -> dict[str, Any]:
    """Machines, lines and what waits here, as of the last exchange. Asks nobody."""
    state = known.store_state(journal.connection)
    machines = [{**row, "here": row["node"] == journal.node} for row in journal.query(_MACHINES)]
    names = {row["node"]: row["name"] for row in machines}
    machines = [{"machine": row["name"] or row["node"][:8], **row} for row in machines]
    lines = [
        _line(journal, row["deliverable"], row["line"], names) for row in journal.query(_LINES)
    ]
    return {
        "generation": state.generation,
        "position": state.position,
        "pending": pending(journal),
        "machines": machines,
        "lines": lines,
    }


def _line(journal: Journal, deliverable: str, line: str, names: dict[str, str]) -> dict[str, Any]:
    folded = log.fold(log_entries(journal.connection, deliverable, line))
    # A machine that was given a newer reserve gave the older one up.
    newest = {held.node: held.k for held in sorted(folded.reserves, key=lambda held: held.k)}
    return {
        "deliverable": deliverable,
        "line": line,
        "online_up_to": folded.online,
        "granted_up_to": folded.high,
        "reserves": [
            {"lo": held.lo, "hi": held.hi, "machine": names.get(held.node) or held.node[:8]}
            for held in folded.reserves
            if newest[held.node] == held.k
        ],
    }
