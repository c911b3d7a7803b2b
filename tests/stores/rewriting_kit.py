"""Rewriting what was recorded, as somebody does who knows the format: every hash after it fits again."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from pathlib import Path
from typing import Any

from cxlocal.events.document import event_hash, header_bytes


def rewrite(path: Path, old: str, new: str) -> int:
    """Replace ``old`` in every document of every chain, so that all hashes fit again; how many."""
    changed = 0
    with sqlite3.connect(path) as direct:
        triggers = direct.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            direct.execute(f"DROP TRIGGER {name}")
        heads: dict[Any, bytes] = {}
        rows = direct.execute(
            "SELECT e.id, n.name, e.branch, e.sequence, d.name, e.deliverable_sequence, t.name, e.clock,"
            " e.previous, e.previous_in_deliverable, e.document FROM event e"
            " JOIN node_lookup n ON n.id = e.node JOIN type_lookup t ON t.id = e.type"
            " LEFT JOIN deliverable_lookup d ON d.id = e.deliverable ORDER BY e.node, e.branch, e.sequence"
        ).fetchall()
        for (
            key,
            node,
            branch,
            sequence,
            deliverable,
            within,
            kind,
            clock,
            before,
            inside,
            text,
        ) in rows:
            fresh = text.replace(old, new)
            changed += fresh != text
            before = heads.get((node, branch), before)
            inside = heads.get((node, branch, deliverable), inside) if deliverable else inside
            header = header_bytes(node, sequence, deliverable, within, kind, clock)
            value = event_hash(before, inside, header, fresh)
            heads[node, branch] = value
            if deliverable:
                heads[node, branch, deliverable] = value
            direct.execute(
                "UPDATE event SET document = ?, previous = ?, previous_in_deliverable = ?, hash = ?"
                " WHERE id = ?",
                (fresh, before, inside, value, key),
            )
        for _, sql in triggers:
            direct.execute(sql)
    direct.close()
    return changed


def rewrite_store(path: Path, old: str, new: str, *, running: bool) -> None:
    """The same in a store's file; with ``running`` the hash over its whole feed fits again, too."""
    with sqlite3.connect(path) as direct:
        triggers = direct.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            direct.execute(f"DROP TRIGGER {name}")
        heads: dict[Any, bytes] = {}
        for row in direct.execute(
            "SELECT e.position, n.node, e.sequence, e.branch, e.type, e.deliverable,"
            " e.deliverable_sequence, e.clock, e.document FROM event e JOIN node n ON n.id = e.node"
            " ORDER BY n.node, e.branch, e.sequence"
        ).fetchall():
            position, node, sequence, branch, kind, deliverable, within, clock, text = row
            fresh = text.replace(old, new)
            before = heads.get((node, branch), bytes(32))
            inside = heads.get((node, branch, deliverable), bytes(32)) if deliverable else bytes(32)
            header = header_bytes(node, sequence, deliverable, within, kind, clock)
            value = event_hash(before, inside, header, fresh)
            heads[node, branch] = value
            if deliverable:
                heads[node, branch, deliverable] = value
            direct.execute(
                "UPDATE event SET document = ?, previous = ?, previous_in_deliverable = ?, hash = ?"
                " WHERE position = ?",
                (fresh, before, inside, value, position),
            )
        total = bytes(32)
        items = direct.execute(
            "SELECT position, hash, 'event' FROM event UNION ALL"
            " SELECT position, hash, 'grant_entry' FROM grant_entry ORDER BY 1"
        ).fetchall()
        for position, value, table in items if running else []:
            raw = bytes.fromhex(value) if isinstance(value, str) else value
            total = sha256(total + raw).digest()
            direct.execute(f"UPDATE {table} SET running = ? WHERE position = ?", (total, position))
        if running:
            direct.execute("UPDATE store SET hash = ?", (total,))
        for _, sql in triggers:
            direct.execute(sql)
    direct.close()
