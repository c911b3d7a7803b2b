"""What was acknowledged and is another one now: here, or at the store.

Every contact compares. What a store acknowledged of our chains stands in ``ack`` with its hash, and a store says the hash at
the end of our chain with every answer. Where they differ, both histories are brought to both sides: what is
here is pushed from its beginning, and what the store has is pulled from its beginning. Nothing is overwritten
anywhere, and every machine then compares the two (``cxlocal.journal.histories``).
"""

from __future__ import annotations

from cxlocal.events.runs import run_flagged
from cxlocal.exchange.answers import Held
from cxlocal.exchange.state import ack_of, branch_at, forget_cursor, hash_at
from cxlocal.journal.file import Transaction
from cxlocal.journal.read import rewritten_since_acknowledged

CHANGED = "changed at the store "
"""Followed by a node id, the name of a local value: what the store had acknowledged of that chain, and has
another one for now."""


def notice(transaction: Transaction, ack: Held) -> tuple[str, ...]:
    """What is another one than was acknowledged, in sentences; from then on both sides are brought both.
    ``ack`` is what the store says of our chain. Call before that takes effect."""
    connection = transaction.connection
    words = []
    for node, branch, sequence, acknowledged, here in rewritten_since_acknowledged(
        connection, own=True
    ):
        words.append(
            f"the journal here was rewritten: of {node[:8]} up to position {sequence} the store"
            f" acknowledged {acknowledged[:16]}, and here is {here[:16]} now"
        )
        connection.execute("DELETE FROM ack WHERE node = ? AND branch = ?", (node, branch))
    remembered = ack_of(connection, ack.node)
    if (
        remembered.sequence == ack.sequence > 0
        and remembered.hash != ack.hash
        and hash_at(connection, ack.node, ack.sequence) == remembered.hash
        and branch_at(connection, ack.node, ack.sequence, ack.hash) is None
    ):
        text = (
            f"the store's history was changed, or it was put back and went on: of {ack.node[:8]} at"
            f" position {ack.sequence} it acknowledged {remembered.hash[:16]}, and has {ack.hash[:16]} now"
        )
        words.append(text)
        transaction.set_value(CHANGED + ack.node, remembered.hash)
        transaction.append(run_flagged(kind="store-changed", subject=ack.node, text=text))
        connection.execute("DELETE FROM ack WHERE node = ? AND branch = 0", (ack.node,))
    if words:
        forget_cursor(connection)
    return tuple(words)
