"""The contact token: how two copies of one journal are told apart. Pure.

A token is (count of contacts, random). Before a node speaks it stores a *proposal* for its next token, then
sends both. The store takes the contact when the token presented is the one it has, and keeps the
proposal as the new one; or when the proposal is what it already has, which is the same message
sent again after a lost answer. All processes of one journal send the same proposal, so they do not
disturb each other.

Two copies of one journal hold the same token. The first to call moves the store on; the second
presents a token that is gone, with a proposal nobody has seen. That is the alarm. A restored
backup gives the same picture. A token *newer* than the store's means the reverse: the store lost
its memory, and it is the store that must be recovered.
"""

from __future__ import annotations

from typing import Any

from cxlocal.exchange.messages import BadMessage, text_of, whole_of
from cxlocal.values import NamedTuple

ACCEPTED = "accepted"
COPY = "copy"
STORE_WENT_BACK = "store-went-back"


class Token(NamedTuple):
    """(step, random): the step only rises; the random part cannot be guessed."""

    step: int = 0
    value: str = ""


NO_TOKEN = Token()
"""What a node presents that was never in contact."""


def propose(current: Token, value: str) -> Token:
    """The next token after ``current``."""
    return Token(current.step + 1, value)


def follows(current: Token, proposal: Token) -> bool:
    """Whether ``proposal`` may be one for the token after ``current``."""
    return proposal.step == current.step + 1 and bool(proposal.value)


def judge(presented: Token, proposal: Token, stored: Token | None) -> str:
    """What the store makes of a contact; ``stored`` is None for a node it has never heard of."""
    if stored is None:
        return ACCEPTED if presented == NO_TOKEN else STORE_WENT_BACK
    if not stored.value:
        # Forgotten by a recovery, but not how far it had come: of two copies the one that stopped
        # earlier must not set it back, or the other would take the store for restored.
        return ACCEPTED if proposal.step >= stored.step else COPY
    if presented == stored or proposal == stored:
        return ACCEPTED
    return STORE_WENT_BACK if presented.step > stored.step else COPY


def token_out(token: Token) -> dict[str, Any]:
    """A token as it travels."""
    return {"count": token.step, "value": token.value}


def token_in(item: Any) -> Token:
    """The token in a message. Raises BadMessage."""
    try:
        return Token(whole_of(item["count"]), text_of(item["value"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadMessage("the message holds a malformed token", why=repr(error)) from error
