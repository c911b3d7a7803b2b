"""Bringing to the store what came in bundles, and what a recovered store may have lost, under our own
contact: the batches of other nodes, unchanged. The store marks them as brought by us.

What the store refuses (a chain it cannot place, a deliverable we may not push) is remembered with
its reason and holds up nothing else: our own history is sent before it, other chains after it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cxlocal.errors import Refused
from cxlocal.exchange import carrying
from cxlocal.exchange import state as known
from cxlocal.exchange.carrying import Chain
from cxlocal.exchange.contact import ANSWER_SECONDS, next_batch, talk
from cxlocal.exchange.sync import LEAST_SECONDS, take_in

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal


class Relayed(NamedTuple):
    """What came of it."""

    moved: int = 0
    """Events the store did not have before."""
    refused: tuple[str, ...] = ()
    """Why the store does not take a chain, one sentence each."""


def relay(journal: Journal, store: Store, deadline: float, *, again: bool = False) -> Relayed:
    """Bring what waits until ``deadline`` (monotonic seconds). ``again``: try what was refused
    before, too. Raises StoreUnreachable."""
    lineage = known.store_state(journal.connection).lineage
    moved = 0
    for chain in carrying.waiting(journal.connection, lineage):
        if chain.refused and not again:
            continue
        last = chain.head if chain.given else carrying.before_gap(journal.connection, chain)
        moved += _relay_chain(journal, store, chain, last, deadline)
    with journal.write() as transaction:
        carrying.forget_offered(transaction.connection, lineage)
    left = carrying.waiting(journal.connection, lineage)
    return Relayed(moved, tuple(f"{one.node[:8]}: {one.refused}" for one in left if one.refused))


def _relay_chain(journal: Journal, store: Store, chain: Chain, last: int, deadline: float) -> int:
    after, moved = chain.acked, 0
    seen = {after}
    while (left := deadline - journal.clock.monotonic()) > LEAST_SECONDS:
        batch = next_batch(journal, chain.node, after, chain.branch)
        batch = [event for event in batch if event["sequence"] <= last]
        if not batch:
            return moved
        try:
            reply = talk(journal, store, batch=batch, timeout=min(left, ANSWER_SECONDS))
        except Refused as error:
            _refuse(journal, chain, error.why or error.what)
            return moved
        moved += take_in(journal, reply, settle=False).pushed
        after = known.ack_of(journal.connection, chain.node, chain.branch).sequence
        if after in seen:
            _refuse(journal, chain, "the store has nothing that this history continues")
            return moved
        seen.add(after)
    return moved


def _refuse(journal: Journal, chain: Chain, why: str) -> None:
    with journal.write() as transaction:
        carrying.note_refused(transaction.connection, chain, why)
