"""When a journal turns out to be a copy or a restored backup: it goes on under a new node id.

Nothing is rewritten and nothing is lost. What was reserved is given up, because the other copy
holds the same numbers. The new chain's first event names the chain, sequence and hash it continues
from; the unacknowledged tail of the old chain is pushed unchanged under the old id, where the store
keeps it beside the other copy's events.
"""

from __future__ import annotations

from cxlocal.events.machines import node_moved
from cxlocal.exchange.followed import forget
from cxlocal.exchange.state import ContactRow, contact_row, fresh_contact, hash_at, save_contact
from cxlocal.journal.file import Journal, Transaction
from cxlocal.journal.whereabouts import file_hint, hint_digest, same_place
from cxlocal.journal.witness import note_head, was_put_back
from cxlocal.numbers.holdings import give_up_reserves, lock_reserves

RECOVERED = "recovered from a damaged file"
"""Why such a chain began, as its first event says: some of what it goes on from may be lost."""


def ensure_node(transaction: Transaction) -> ContactRow:
    """Our node id and its token row; both made where they are new."""
    journal = transaction.journal
    if not journal.node:
        begin_again(transaction, None, "first use")
    node = journal.node
    row = contact_row(transaction.connection, node)
    if row is None:
        row = fresh_contact(node)._replace(hint=file_hint(journal.path))
        save_contact(transaction.connection, row)
    return row


def go_on_as_copy(journal: Journal, refused: ContactRow) -> bool:
    """Begin a new node id because the store refused ``refused`` as a copy.

    False where the token row has changed since: another process was in contact meanwhile, and the
    refusal does not count.
    """
    with journal.write() as transaction:
        if contact_row(transaction.connection, journal.node) != refused:
            return False
        _continue(transaction, "copy or restored backup")
    return True


def continue_elsewhere(transaction: Transaction) -> None:
    """Begin a new node id because the journal lies elsewhere than before, and may be a copy."""
    _continue(transaction, "the journal lies elsewhere than before")


def continue_beside(transaction: Transaction) -> None:
    """Begin a new node id because the store holds events of ours that we did not record: another one
    speaks in our name, and what it said is not ours."""
    _continue(transaction, "another journal goes on under its id")


def _continue(transaction: Transaction, cause: str) -> None:
    node = transaction.journal.node
    sequence = transaction.connection.execute(
        "SELECT max(e.sequence) FROM event e JOIN node_lookup n ON n.id = e.node"
        " WHERE n.name = ? AND e.branch = 0",
        (node,),
    ).fetchone()[0]
    last = int(sequence or 0)
    parent = {
        "node": node, "sequence": last, "hash": hash_at(transaction.connection, node, last),
    }  # fmt: skip
    begin_again(transaction, parent, cause)
    give_up_reserves(transaction, "the journal was copied or restored; the other copy holds it")
    journal = transaction.journal
    row = fresh_contact(journal.node)._replace(hint=file_hint(journal.path))
    save_contact(transaction.connection, row)
    forget(transaction)


def begin_again(transaction: Transaction, parent: dict[str, object] | None, cause: str) -> None:
    """Go on under a new node id, whose first event names the chain it continues, and why."""
    from cxlocal.journal.machine import first_event

    journal = transaction.journal
    node = journal.ids.token()
    transaction.set_value("node", node)
    transaction.append(first_event(journal, node, parent=parent, cause=cause))


def lies_elsewhere(journal: Journal) -> bool:
    """Whether the journal lies elsewhere than at its last accepted contact."""
    row = contact_row(journal.connection, journal.node)
    return row is not None and not same_place(row.hint, file_hint(journal.path))


def why_doubtful(journal: Journal) -> str:
    """Why the numbers held here may be in use already, in words after "the journal"; empty where
    nothing speaks for it."""
    if lies_elsewhere(journal):
        return (
            "lies elsewhere than at its last contact with the store, so it may be a copy, and the"
            " other copy may hold the same numbers"
        )
    if was_put_back(journal):
        return (
            "was put back to an earlier state: it lacks events that it once held, and they may have"
            " used the same numbers"
        )
    return ""


def journal_was_moved(journal: Journal, reason: str, actor: dict[str, str]) -> None:
    """A person says that the journal was moved, not copied, or lost nothing that matters
    (``--journal-was-moved``): its reserve may be spent again. Recorded. Said of a copy, it can lead to
    one number in two runs."""
    with journal.write() as transaction:
        row = ensure_node(transaction)
        save_contact(transaction.connection, row._replace(hint=file_hint(journal.path)))
        lock_reserves(transaction.connection, False)
        transaction.afterwards.append(lambda: note_head(journal, settled=True))
        transaction.append(
            node_moved(
                node=journal.node, reason=reason, actor=actor, hint=hint_digest(journal.path)
            )
        )
