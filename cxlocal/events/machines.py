"""Builders for versions and machines: numbers used, reserved, skipped; nodes that begin."""

from __future__ import annotations

from typing import Any

from cxlocal.events import types
from cxlocal.events.document import Draft


def version_used(
    *,
    deliverable: str,
    run: str,
    line: str,
    number: int | None,
    scheme: str,
    text: str,
    sort_key: str,
    how: str,
    lineage: str,
    generation: int,
    k: int,
    actor: dict[str, str],
    lent: dict[str, str] | None = None,
    event_id: str = "",
) -> Draft:
    """A number was taken for a run and is final. ``how``: online, reserve, suffix, lent;
    a suffix text is unique by construction and has no number. ``lent`` names the other machine where
    one machine's reserve numbers a run of another: ``to`` on the one that held it, ``by`` on the
    other."""
    custom = {
        "line": line,
        "number": number,
        "scheme": scheme,
        "text": text,
        "sort_key": sort_key,
        "how": how,
        "lineage": lineage,
        "generation": generation,
        "k": k,
        "actor": actor,
    }
    if lent is not None:
        custom["lent"] = lent
    subject = f"{deliverable}@{text}"
    return Draft(
        types.VERSION_USED, subject, {"version": text}, custom, deliverable, run, id=event_id
    )


def version_reserved(
    *, deliverable: str, line: str, lo: int, hi: int, lineage: str, generation: int, k: int
) -> Draft:
    """This machine holds [lo, hi] for the day the store cannot be reached."""
    custom = {
        "line": line,
        "lo": lo,
        "hi": hi,
        "lineage": lineage,
        "generation": generation,
        "k": k,
    }
    return Draft(types.VERSION_RESERVED, f"{deliverable}@{line}", {}, custom, deliverable)


def version_skipped(*, deliverable: str, line: str, lo: int, hi: int, why: str) -> Draft:
    """[lo, hi] will never be used; ``why`` says so in words."""
    custom = {"line": line, "lo": lo, "hi": hi, "why": why}
    return Draft(types.VERSION_SKIPPED, f"{deliverable}@{line}", {}, custom, deliverable)


def node_began(
    *,
    node: str,
    kept: bool,
    host: str,
    platform: str,
    cxlocal_version: str,
    hint: str,
    parent: dict[str, Any] | None,
    cause: str,
) -> Draft:
    """A chain of events begins. ``parent`` {node, sequence, hash} where it follows another one
    (copy noticed, backup restored, journal recovered) and ``cause`` says which."""
    custom = {
        "node": node,
        "kept": kept,
        "host": host,
        "platform": platform,
        "cxlocal_version": cxlocal_version,
        "hint": hint,
        "parent": parent,
        "cause": cause,
    }
    return Draft(types.NODE_BEGAN, node, {}, custom)


def node_moved(*, node: str, reason: str, actor: dict[str, str], hint: str) -> Draft:
    """A person says that the journal was moved, not copied; its reserve is spendable again."""
    custom = {"reason": reason, "actor": actor, "hint": hint}
    return Draft(types.NODE_MOVED, node, {}, custom)


def node_mirrored(*, node: str, url: str, created: bool, refs: list[str]) -> Draft:
    """A mirror of the repository was added on this machine."""
    return Draft(types.NODE_MIRRORED, node, {}, {"url": url, "created": created, "refs": refs})


def node_pruned(*, node: str, removed: list[dict[str, Any]], freed_bytes: int) -> Draft:
    """Files were removed by the keep rules: kind, run, path, sha256, size of each, and of a log awaited:
    the sink that had not got all of it."""
    return Draft(types.NODE_PRUNED, node, {}, {"removed": removed, "freed_bytes": freed_bytes})


def node_handed(*, node: str, sinks: list[dict[str, Any]]) -> Draft:
    """How far a machine that goes away has delivered itself: sink (a digest of what it takes and of
    its address), kind, sequence, and the place in the log of the next event (line, piece, offset)."""
    return Draft(types.NODE_HANDED, node, {}, {"sinks": sinks})


def node_settled(
    *,
    node: str,
    deliverable: str | None,
    first: int,
    kept: list[list[Any]],
    dropped: list[list[Any]],
    runs: list[str],
    reason: str,
    actor: dict[str, str],
) -> Draft:
    """Of two histories of ``node`` that part at sequence ``first`` a person names the one that counts,
    for what they say of a deliverable (None: of none). ``kept`` and ``dropped`` are the ends, sequence
    and hash in hexadecimal, of what was known of each; ``runs`` those they disagree about."""
    custom = {
        "node": node,
        "first": first,
        "kept": kept,
        "dropped": dropped,
        "runs": runs,
        "reason": reason,
        "actor": actor,
    }
    return Draft(types.NODE_SETTLED, node, {}, custom, deliverable)
