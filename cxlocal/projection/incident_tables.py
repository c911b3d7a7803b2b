"""The table of incidents: which version was said to be at fault, and when that was over."""

from __future__ import annotations

from cxlocal.projection.description import Table
from cxlocal.projection.facts import Fact, Said, run_stub

INCIDENT = Table(
    "Something was wrong with what was live.",
    "owned",
    "id",
    """
    id TEXT - | Its id.
    deliverable TEXT detected | Deliverable that was at fault.
    run TEXT detected | Run that made the version at fault.
    version TEXT detected | That version.
    environment TEXT detected | Environment it was live in.
    actor TEXT detected | Who said so.
    words TEXT detected | What was wrong.
    opened_at TEXT detected | When that was said (UTC).
    closed_at TEXT resolved | When it was over (UTC); empty while it is not.
    closed_by TEXT resolved | Who said so.
    closed_words TEXT resolved | What put it right.
    """,
)


def detected(said: Said) -> list[Fact]:
    """A version is said to be at fault."""
    custom = said.custom
    values = {
        "deliverable": said.event.deliverable, "run": said.run, "version": custom.get("version"),
        "environment": custom.get("environment"), "actor": (custom.get("actor") or {}).get("id"),
        "words": custom.get("words"), "opened_at": said.at,
    }  # fmt: skip
    return [Fact("incident", (said.subject,), "detected", values), run_stub(said)]


def resolved(said: Said) -> list[Fact]:
    """It is over."""
    custom = said.custom
    values = {
        "closed_at": said.at, "closed_by": (custom.get("actor") or {}).get("id"),
        "closed_words": custom.get("words"),
    }  # fmt: skip
    return [Fact("incident", (said.subject,), "resolved", values)]
