"""What stands in a key: a line with the SHA-256 of what follows, then JSON, often compressed. Pure.

So a file that is torn, half arrived or changed is noticed whatever brought it about, and nothing in
it is believed.
"""

from __future__ import annotations

import json
import zlib
from hashlib import sha256
from typing import Any

from cxlocal.exchange.messages import (
    MESSAGE_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    BadMessage,
    text_of,
    whole_of,
)
from cxlocal.values import NamedTuple

FORMAT = 1

NO_ENTRY = "0" * 64
"""What the first entry of the log names as the one before it."""

_MAGIC = b"cxk1 "
_HEAD = len(_MAGIC) + 64 + 1
_PACKED = b"Z"
_PLAIN = b"J"
_PACK_FROM_BYTES = 2048


class Damaged(ValueError):
    """Content that is not what was written."""


def seal(value: dict[str, Any]) -> bytes:
    """``value`` as the content of a key."""
    raw = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    body = _PLAIN + raw if len(raw) < _PACK_FROM_BYTES else _PACKED + zlib.compress(raw, 6)
    return _MAGIC + sha256(body).hexdigest().encode() + b"\n" + body


def seal_hash(content: bytes) -> str:
    """The hash in the first line of sealed content."""
    return content[len(_MAGIC) : _HEAD - 1].decode("ascii", "replace")


def unseal(content: bytes, kind: str) -> dict[str, Any]:
    """The value of a key. Raises Damaged."""
    body = content[_HEAD:]
    head = _MAGIC + sha256(body).hexdigest().encode() + b"\n"
    if content[:_HEAD] != head:
        raise Damaged("it is torn, or was changed")
    if len(content) > MESSAGE_BYTES_MAX:
        raise Damaged("it is too long")
    try:
        value = json.loads(_unpack(body))
    except (ValueError, RecursionError, zlib.error) as error:
        raise Damaged(f"it cannot be read: {error}") from error
    if not isinstance(value, dict) or value.get("kind") != kind:
        raise Damaged("it is something else than its name says")
    return value


def _unpack(body: bytes) -> bytes:
    if body[:1] == _PLAIN:
        return body[1:]
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(body[1:], UNPACKED_BYTES_MAX)
    if not unpacker.eof:
        raise Damaged("it unpacks to too much, or too little")
    return raw


class Marker(NamedTuple):
    """What a folder or bucket says of the store in it."""

    lineage: str
    granter: str
    """The one node that hands out numbers, where a sync program carries the folder; else empty."""
    hash: str


def marker_out(lineage: str, granter: str) -> bytes:
    """The content of the marker of a new store."""
    return seal({"kind": "store", "format": FORMAT, "lineage": lineage, "granter": granter})


def marker_in(content: bytes) -> Marker:
    """The marker of a store. Raises Damaged."""
    value = unseal(content, "store")
    if value.get("format") != FORMAT:
        raise Damaged(f"it has format {value.get('format')!r}, ours is {FORMAT}")
    try:
        return Marker(text_of(value["lineage"]), text_of(value["granter"]), seal_hash(content))
    except (KeyError, TypeError) as error:
        raise Damaged(repr(error)) from error


class LogEntry(NamedTuple):
    """One change of the store: what one message brought about, whole or not at all."""

    n: int
    generation: int
    previous: str
    """Hash of the entry before it."""
    before: int
    """Generation of the entry before it."""
    carrier: str
    """The node whose message it was."""
    nonce: str
    """Drawn for this entry, so that its writer recognises it."""
    batches: tuple[tuple[str, str], ...]
    """(key, hash) of the batches whose events it appends."""
    items: tuple[dict[str, Any], ...]
    """In feed order: ``{"batch", "count", "branch"}``, the next events of a batch, or ``{"grant"}``."""
    stops: tuple[tuple[str, str, str, str, int], ...]
    recovered: bool
    """Begins a generation: what stopped the store before is settled."""
    hash: str = ""


def entry_out(entry: LogEntry) -> bytes:
    """An entry as the content of its key."""
    value = entry._asdict()
    value.pop("hash")
    return seal({"kind": "entry", **value})


def entry_in(content: bytes) -> LogEntry:
    """The entry in a key. Raises Damaged."""
    value = unseal(content, "entry")
    try:
        return LogEntry(
            whole_of(value["n"]),
            whole_of(value["generation"]),
            text_of(value["previous"]),
            whole_of(value["before"]),
            text_of(value["carrier"]),
            text_of(value["nonce"]),
            tuple((text_of(key), text_of(digest)) for key, digest in value["batches"]),
            tuple(dict(item) for item in value["items"]),
            tuple(
                (text_of(a), text_of(b), text_of(c), text_of(d), whole_of(e))
                for a, b, c, d, e in value["stops"]
            ),
            bool(value["recovered"]),
            seal_hash(content),
        )
    except (KeyError, TypeError, ValueError, BadMessage) as error:
        raise Damaged(f"it is malformed: {error!r}") from error
