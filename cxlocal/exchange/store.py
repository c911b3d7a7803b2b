"""What every store is: something that answers encoded messages.

This docstring is the contract; ``tests/stores`` runs one suite over every implementation.

- ``exchange`` takes one encoded request and returns one encoded answer (``cxlocal.exchange.
  messages`` encodes and decodes both). One request is one transaction at the store: either all of
  its parts took effect, or none, and a refusal says why in the answer itself.
- A store never rewrites or forgets an event it acknowledged.
- A store grants a number at most once, whatever is lost, repeated or delayed on the way.
- When the store cannot be reached or does not answer within ``timeout`` seconds, ``exchange``
  raises ``StoreUnreachable``. The request may have taken effect all the same: the caller asks
  again with the same nonce and the same proposal, which is harmless.
- Blobs are bytes named by their SHA-256. ``put_blob`` refuses bytes that do not match; one that was
  dropped is as one that never was.
"""

from __future__ import annotations

from cxlocal.errors import CxError, StoreNeeded
from cxlocal.values import Protocol


class StoreUnreachable(StoreNeeded):
    """No answer: path gone, connection refused, locked, too slow, or an answer no one can read.

    ``why`` says what was seen in words an operator can act on.
    """

    default_name = "store-unreachable"

    @property
    def after_seconds(self) -> int:
        """How long it asks to be left alone; 0 where it does not say."""
        told = self.data.get("after_seconds")
        return told if isinstance(told, int) else 0


def cannot_serve(url: str, name: str, why: str, hint: str) -> StoreUnreachable:
    """The error for a no that is none to what was asked: ``name`` is what it was called there."""
    return StoreUnreachable(
        "the store answers, and cannot serve us",
        why=f"it says {name}: {why}" if why else f"it says {name}",
        hint=hint or "see 'cxlocal doctor'; releases go on from the reserve",
        url=url,
        refused=name,
    )


class Store(Protocol):
    """A build data repository."""

    url: str
    """Its address as it was given."""

    def exchange(self, request: bytes, *, timeout: float) -> bytes:
        """Send one message and return the answer. Raises StoreUnreachable."""

    def missing_blobs(self, digests: list[str], *, timeout: float) -> list[str]:
        """Which of these SHA-256 digests (hexadecimal) the store does not hold."""

    def put_blob(self, digest: str, content: bytes, *, timeout: float) -> None:
        """Keep ``content``. Idempotent. Raises CxError when the digest does not match."""

    def get_blob(self, digest: str, *, timeout: float) -> bytes | None:
        """The bytes of a digest, or None where the store lacks them."""

    def drop_blob(self, digest: str, *, timeout: float) -> None:
        """Have these bytes no more. Idempotent. Raises CxError where this machine may not say so."""

    def close(self) -> None:
        """Let go of files and connections. The store can not be used afterwards."""


__all__ = ["CxError", "Store", "StoreUnreachable", "cannot_serve"]
