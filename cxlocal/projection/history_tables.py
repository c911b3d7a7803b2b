"""The tables about chains: where each lives, what is disputed between two histories of one, and what a
person settled."""

from __future__ import annotations

from cxlocal.projection.description import Table

MACHINE = Table(
    "A journal's chain of events and where it lives.",
    "owned",
    "node",
    """
    node TEXT - | Id of the chain.
    host TEXT began | Host name at its beginning.
    name TEXT - | The same, and the start of the chain's id where another chain has that host name.
    platform TEXT began | Operating system.
    kept INTEGER began | 1 for a laptop or lasting agent, 0 for a passing CI job.
    cxlocal_version TEXT began | Version of cxlocal that began it.
    parent TEXT began | Chain it continues after a copy, restore or recovery; empty if none.
    cause TEXT began | Why it began.
    began_at TEXT began | When (UTC).
    """,
)

HISTORY_TABLES: dict[str, Table] = {
    "disputed": Table(
        "A value on which two histories of one chain differ, until a person names one.",
        "comparison of the histories",
        "node one other what subject field",
        """
        node TEXT - | Chain that has two histories.
        one TEXT - | One history: start of the hash of the first event that no other has.
        other TEXT - | The other one; of two names the first in the alphabet stands in `one`.
        what TEXT - | Table of the value.
        subject TEXT - | Which row it is, or what the rows are about (JSON).
        field TEXT - | Column; empty where only one history has the row.
        position INTEGER found | Position in the chain from which on the histories differ.
        deliverable TEXT found | Deliverable it belongs to; empty for none.
        run TEXT found | Run it belongs to; empty for none.
        one_value TEXT found | What the one says.
        other_value TEXT found | What the other says.
        """,
    ),
    "settlement": Table(
        "A person's word on which of two histories of one chain counts.",
        "union",
        "id",
        """
        id TEXT - | Id of the event.
        node TEXT settled | Chain that had two histories.
        deliverable TEXT settled | Deliverable it is about; empty for what belongs to none.
        first INTEGER settled | Position in the chain from which on they differed.
        kept TEXT settled | Ends of the history that counts: sequence and hash of each (JSON).
        dropped TEXT settled | Ends of those that do not (JSON).
        runs TEXT settled | Runs they disagreed about (JSON).
        actor TEXT settled | On whose behalf.
        reason TEXT settled | Why.
        settled_at TEXT settled | When (UTC).
        """,
    ),
}
