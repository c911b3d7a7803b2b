"""One event: the document, its header, its place in two hash chains.

A ``Draft`` is what somebody wants to say. Appending turns it into an ``Event``: the journal adds
the context (id, source, time, chain), encodes the document once, and chains it:

    hash = SHA-256( previous hash of the node
                  ‖ previous hash of this node within this deliverable
                  ‖ header
                  ‖ SHA-256(document bytes as stored) )

The header is a JSON array, so that no two different headers have the same bytes. Both previous
hashes stand in the row: a replica that holds one deliverable only can verify it alone.
"""

from __future__ import annotations

import json
from hashlib import sha256
from json.encoder import encode_basestring
from typing import Any

from cxlocal.errors import Trouble
from cxlocal.events.types import SPECVERSION
from cxlocal.text import clean_text, utc_text
from cxlocal.values import NamedTuple

DOCUMENT_BYTES_MAX = 256 * 1024
"""An event is read whole into memory by everyone who ever syncs it; longer parts go to blobs."""

NO_HASH = bytes(32)
"""Stands for "nothing came before"."""


class Draft(NamedTuple):
    """What is to be recorded, before it has a place in the journal."""

    type: str
    subject: str
    content: dict[str, Any]
    custom: dict[str, Any]
    """Facts CDEvents has no place for; stored as ``customData.cxlocal``."""
    deliverable: str | None = None
    run: str | None = None
    """The run this belongs to; also the CDEvents chain id."""
    id: str = ""
    """Context id, where something else must name it beforehand; else drawn at append."""
    at_ms: int = 0
    """When it happened; 0 means now."""
    links: tuple[dict[str, Any], ...] = ()


class Event(NamedTuple):
    """An event with its place in the chain of its node."""

    node: str
    """The chain it stands in: 32 hexadecimal digits, one for each machine."""
    sequence: int
    """Its place in the chain, from 1 on."""
    branch: int
    """0; more for a second history under the same node."""
    type: str
    """The CDEvents type."""
    deliverable: str | None
    """The product it is about; None where it is about a machine."""
    deliverable_sequence: int | None
    """Its place among those of the product in the chain."""
    clock: int
    """Hybrid clock: for display in order, and nothing else."""
    previous: bytes
    """SHA-256 of the event before it in the chain."""
    previous_in_deliverable: bytes
    """SHA-256 of the one before it of the product."""
    hash: bytes
    """Its own SHA-256."""
    document: str
    """The CDEvents document, as the text that was hashed."""
    run: str | None = None
    """The run it belongs to."""
    received_at_ms: int = 0
    """When this journal first held it: milliseconds since 1970, UTC."""

    def parsed(self) -> dict[str, Any]:
        """The document as a dictionary. Raises ValueError for one that cannot be read."""
        try:
            parsed: dict[str, Any] = json.loads(self.document)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        return parsed


def build_document(draft: Draft, *, event_id: str, source: str, time_ms: int) -> dict[str, Any]:
    """The CDEvents document of a draft, ready to be encoded."""
    context: dict[str, Any] = {
        "specversion": SPECVERSION,
        "id": event_id,
        "source": source,
        "type": draft.type,
        "timestamp": utc_text(time_ms),
    }
    if draft.run:
        context["chainId"] = draft.run
    if draft.links:
        context["links"] = list(draft.links)
    return {
        "context": context,
        "subject": {"id": draft.subject, "content": draft.content},
        "customData": {"cxlocal": draft.custom},
    }


_ENCODER = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False
)


def encode_document(document: dict[str, Any]) -> str:
    """The one text form of a document, stored as it is and never encoded again.

    Undecodable bytes from paths and output become visible escapes. Raises Trouble for a document
    above ``DOCUMENT_BYTES_MAX``.
    """
    text = _ENCODER.encode(document)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = _ENCODER.encode(_clean(document))
    if len(text) * 4 > DOCUMENT_BYTES_MAX and len(text.encode()) > DOCUMENT_BYTES_MAX:
        raise Trouble(
            f"an event of type {document['context']['type']} is too long to be recorded",
            why=f"it has {len(text.encode())} bytes, {DOCUMENT_BYTES_MAX} at most",
            hint="shorten the output or the names it carries; long parts belong in reports",
            name="event-too-long",
        )
    return text


def _clean(value: Any) -> Any:
    """``value`` with every text made valid UTF-8. Cleaned before encoding: an escape written into
    finished JSON would not be JSON any more."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {_clean(name): _clean(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    return value


def header_bytes(
    node: str,
    sequence: int,
    deliverable: str | None,
    deliverable_sequence: int | None,
    event_type: str,
    clock: int,
) -> bytes:
    """The coordinates of an event as they enter its hash."""
    # What _ENCODER makes of the list of them, letter by letter, in a quarter of the time: every
    # event that is written or arrives comes through here.
    name = "null" if deliverable is None else encode_basestring(deliverable)
    place = "null" if deliverable_sequence is None else deliverable_sequence
    kind = encode_basestring(event_type)
    return f"[{encode_basestring(node)},{sequence},{name},{place},{kind},{clock}]".encode()


def event_hash(
    previous: bytes, previous_in_deliverable: bytes, header: bytes, document: str
) -> bytes:
    """The hash that chains an event; 32 bytes."""
    body = sha256(document.encode()).digest()
    return sha256(previous + previous_in_deliverable + header + body).digest()


def hash_of(event: Event) -> bytes:
    """The hash an event must have, computed from everything else in it."""
    header = header_bytes(
        event.node,
        event.sequence,
        event.deliverable,
        event.deliverable_sequence,
        event.type,
        event.clock,
    )
    return event_hash(event.previous, event.previous_in_deliverable, header, event.document)
