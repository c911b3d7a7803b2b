"""The table of turns: who was about to change a lasting environment, and when that was over."""

from __future__ import annotations

from cxlocal.projection.description import Table
from cxlocal.projection.facts import Fact, Said, run_stub

TURN = Table(
    "A turn at changing a lasting environment, of those that several machines may change.",
    "owned",
    "id",
    """
    id TEXT - | Its id.
    deliverable TEXT asked | Deliverable that was to be deployed.
    environment TEXT asked | Name of the environment.
    instance TEXT asked | Id of the environment.
    run TEXT asked | Run that was to be deployed.
    stage TEXT asked | Stage that was to deploy it.
    version TEXT asked | Version that was to be deployed.
    host TEXT asked | Host name of the machine that asked.
    granted INTEGER asked | 1 when the store was asked, 0 when it did not answer.
    node TEXT asked | Id of the journal chain that asked.
    sequence INTEGER asked | Position of that event in the chain.
    asked_at TEXT asked | When (UTC).
    ended_at TEXT ended | When it was over (UTC); empty while it is not.
    ended_how TEXT ended | given back, stood back (another one was first), cut off, or taken.
    ended_why TEXT ended | Why it was taken.
    ended_by TEXT ended | On whose behalf it was taken.
    """,
)


def turn_asked(said: Said) -> list[Fact]:
    """Somebody is about to change an environment."""
    custom = said.custom
    values = {
        **{name: custom.get(name) for name in ("environment", "instance", "stage", "version", "host")},
        "granted": int(bool(custom.get("granted"))), "deliverable": said.event.deliverable,
        "run": said.run, "node": said.event.node, "sequence": said.event.sequence,
        "asked_at": said.at,
    }  # fmt: skip
    return [Fact("turn", (custom["turn"],), "asked", values), run_stub(said)]


def turn_ended(said: Said) -> list[Fact]:
    """A turn is over."""
    custom = said.custom
    values = {
        "ended_at": said.at, "ended_how": custom.get("how"), "ended_why": custom.get("why"),
        "ended_by": (custom.get("actor") or {}).get("id"),
    }  # fmt: skip
    return [Fact("turn", (custom["turn"],), "ended", values)]
