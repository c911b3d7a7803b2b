"""What is stated about numbers."""

from __future__ import annotations

from cxlocal.projection.facts import Fact, Said, run_stub


def used(said: Said) -> list[Fact]:
    """A run took a number."""
    custom, event = said.custom, said.event
    values = {
        "text": custom.get("text"), "scheme": custom.get("scheme"),
        "sort_key": custom.get("sort_key"), "how": custom.get("how"),
        "actor": (custom.get("actor") or {}).get("id"), "used_at": said.at,
        "lineage": custom.get("lineage"), "generation": custom.get("generation"),
        "node": event.node, "sequence": event.sequence, "received_at": said.received_at,
    }  # fmt: skip
    number = -1 if custom["number"] is None else custom["number"]
    key = (event.deliverable or "", custom["line"], number, said.run)
    return [Fact("version", key, "used", values), run_stub(said)]


def reserved(said: Said) -> list[Fact]:
    """A machine received numbers as a reserve."""
    custom = said.custom
    key = (said.event.deliverable or "", custom["line"], custom["lo"], said.event.node)
    values = {"hi": custom["hi"], "reserved_at": said.at}
    return [Fact("number_range", key, "reserved", values)]


def skipped(said: Said) -> list[Fact]:
    """Numbers will never be used."""
    custom = said.custom
    key = (said.event.deliverable or "", custom["line"], custom["lo"], custom["hi"])
    values = {"why": custom.get("why"), "node": said.event.node, "skipped_at": said.at}
    return [Fact("number_skip", key, "skipped", values)]
