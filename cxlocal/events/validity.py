"""What makes an event from elsewhere one that a journal may have written. Pure."""

from __future__ import annotations

import msgspec

from cxlocal.events.document import DOCUMENT_BYTES_MAX, Event
from cxlocal.text import is_hexadecimal, parse_utc

COORDINATE_CHARACTERS_MAX = 1024
"""Of a type, a deliverable or a run as they stand beside the document."""


def what_is_wrong(event: Event) -> str:
    """What no journal would have written; empty where everything is as it should be.

    An event that comes from elsewhere may have a right hash and still be of no use: it may fill the
    memory of every reader, name a path as its node, or say beside its document what the document
    does not say. The run is not even in the hash.
    """
    if not is_hexadecimal(event.node, 32):
        return "its node is not named by 32 hexadecimal digits"
    if event.sequence < 1 or {len(event.previous), len(event.hash)} != {32}:
        return "sequence or hash"
    if (event.deliverable is None) != (event.deliverable_sequence is None):
        return "it has half a deliverable"
    named = (event.type, event.deliverable or "", event.run or "")
    if max(map(len, named)) > COORDINATE_CHARACTERS_MAX:
        return f"a name in it has more than {COORDINATE_CHARACTERS_MAX} characters"
    text = event.document
    if len(text) * 4 > DOCUMENT_BYTES_MAX and len(text.encode()) > DOCUMENT_BYTES_MAX:
        return f"it has more than {DOCUMENT_BYTES_MAX} bytes"
    try:
        context = _HEAD_DECODER.decode(text).context
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return "it is no document"
    if (context.type, context.chainId) != (event.type, event.run):
        return "its document names another type or run"
    try:
        parse_utc(context.timestamp)
    except (ValueError, OverflowError):
        return "it does not say when it happened"
    return ""


class _Context(msgspec.Struct):
    type: str
    timestamp: str
    chainId: str | None = None  # as CDEvents spells it


class _Head(msgspec.Struct):
    context: _Context


_HEAD_DECODER = msgspec.json.Decoder(_Head)
