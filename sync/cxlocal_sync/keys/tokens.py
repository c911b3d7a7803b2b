"""Contact tokens as keys: the token a node holds is the last one written in its folder.

A proposal becomes the token by being the first to take the name with its count, so two copies of a
journal that present one token cannot both go on (``cxlocal.exchange.token``). After a recovery a node's
count goes on from wherever it was. Names that were passed are removed, except the last; so whoever had
looked before that and was held up could take one of them again, and looks once more after it did: the
highest name is never removed. What does not follow the last token here takes the name after it as
well, so that whoever held that one finds the way on taken: it would never look far enough ahead.
"""

from __future__ import annotations

import contextlib
from typing import Any

from cxlocal.exchange.token import NO_TOKEN, Token
from cxlocal_sync.keys import names
from cxlocal_sync.keys.follow import StoreDamaged
from cxlocal_sync.keys.form import Damaged, seal, unseal
from cxlocal_sync.keys.space import KeySpace, SpaceError, claim
from cxlocal_sync.stores.session import SqliteSession

KEPT = 2
"""Names of a node that stay."""
FORGOTTEN_MAX = 100
"""Names removed in one contact: of a store that was kept by an earlier release there may be many."""


def stored_token(space: KeySpace, who: dict[str, Any], generation: int) -> Token | None:
    """The token the store has of the speaker, as far as it matters for judging what it presents."""
    presented, proposal, node = who["token"], who["proposal"], who["node"]
    if presented != NO_TOKEN and who["generation"] >= generation:
        following = _read(space, generation, node, proposal.step)
        if following == proposal:
            # The same message again; or a very late one, which its node has moved on from since.
            return _read(space, generation, node, proposal.step + 1) or following
        known = following or _read(space, generation, node, presented.step)
        if known is not None:
            return known
    # It was never in contact, or not since the recovery, or it is a copy of one that was, with
    # whatever count: look at all there are.
    found = names.counts(space.names(names.contacts_of(generation, node)))
    return _read(space, generation, node, found[-1]) if found else None


def keep_token(space: KeySpace, who: dict[str, Any], generation: int, *, follows: bool) -> bool:
    """Make the proposal the token; False where another one took its place. ``follows``: what was
    presented is the token of this generation."""
    proposal: Token = who["proposal"]
    content = seal({"kind": "contact", "node": who["node"], "token": list(proposal)})
    counts = [proposal.step]
    if not follows:
        found = names.counts(space.names(names.contacts_of(generation, who["node"])))
        after_last = (found[-1] if found else 0) + 1
        if after_last < proposal.step:
            counts = [after_last, proposal.step]
    node = who["node"]
    if not all(
        claim(space, names.contact_key(generation, node, count), content) for count in counts
    ):
        return False
    held = names.counts(space.names(names.contacts_of(generation, node)))
    _forget_older(space, generation, node, held[:-KEPT])
    return held[-1:] <= [proposal.step]


def _forget_older(space: KeySpace, generation: int, node: str, counts: list[int]) -> None:
    """Remove names that no contact looks at any more: a contact that brings nothing leaves the store as
    large as it was. What cannot be removed now is at a later one."""
    with contextlib.suppress(SpaceError):
        for count in counts[:FORGOTTEN_MAX]:
            space.remove(names.contact_key(generation, node, count))


def load_token(connection: SqliteSession, node: str, token: Token | None) -> None:
    """Put the token into the copy, where the rules look for it."""
    connection.execute("INSERT OR IGNORE INTO node (node, member) VALUES (?, 1)", (node,))
    connection.execute(
        "UPDATE node SET token_count = ?, token = ? WHERE node = ?",
        (*(token or (None, None)), node),
    )


def token_of(connection: SqliteSession, node: str) -> Token | None:
    """The token in the copy."""
    row = connection.execute(
        "SELECT token_count, token FROM node WHERE node = ? AND token_count IS NOT NULL", (node,)
    ).fetchone()
    return Token(*row) if row else None


def _read(space: KeySpace, generation: int, node: str, count: int) -> Token | None:
    key = names.contact_key(generation, node, count)
    content = space.get(key)
    if content is None:
        return None
    try:
        value = unseal(content, "contact")
        token = Token(int(value["token"][0]), str(value["token"][1]))
        if value["node"] != node or token.step < count:
            raise Damaged("it is the token of another contact")
    except (Damaged, KeyError, TypeError, ValueError, IndexError) as error:
        raise StoreDamaged(f"{key}: {error}") from error
    return token
