"""What makes an event from elsewhere one that a journal may have written. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

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


def are_well(events: Sequence[Event]) -> bool:
    """Whether all of them are as any journal writes them. False where there are none, or where it takes
    ``what_is_wrong`` and ``is_keepable`` to tell: this says the same of usual events, at once."""
    different = {(one.node, one.type, one.deliverable, one.run) for one in events}
    return (
        bool(different)
        and all(
            is_hexadecimal(node, 32)
            and all(
                name is None or (len(name) <= COORDINATE_CHARACTERS_MAX and is_keepable(name))
                for name in names
            )
            for node, *names in different
        )
        and _are_usual(events)
    )


def _are_usual(events: Sequence[Event]) -> bool:
    # One loop and no calls of ours: every event that a store takes in comes through here.
    read, to_time = _HEAD_DECODER.decode, datetime.fromisoformat
    try:
        for event in events:
            text = event.document
            context = read(text).context
            said = context.timestamp
            if (
                context.type != event.type
                or context.chainId != event.run
                or said[-1:] != "Z"
                or event.sequence < 1
                or len(event.previous) != 32
                or len(event.hash) != 32
                or (event.deliverable is None) is not (event.deliverable_sequence is None)
                or len(text) * 4 > DOCUMENT_BYTES_MAX
                or "\0" in text
                or not (text.isascii() or is_keepable(text))
            ):
                return False
            to_time(said)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True


def is_keepable(text: str) -> bool:
    """Whether every store can keep ``text``: SQLite and PostgreSQL take no half of a surrogate pair,
    and PostgreSQL no zero byte."""
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False


def read_json(text: str | bytes) -> Any:
    """What ``json.loads`` makes of ``text``, in a third of the time where it is as we write it. Raises
    ValueError and RecursionError."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return json.loads(text)


def parsed(event: Event) -> Any:
    """The document of an event; None for one that cannot be read."""
    try:
        return read_json(event.document)
    except (ValueError, RecursionError):
        return None


def read_head(text: str) -> tuple[Any, Any, Any]:
    """Type, chain and time that a document names. Raises ValueError, KeyError and TypeError."""
    try:
        context = _HEAD_DECODER.decode(text).context
        return context.type, context.chainId, context.timestamp
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass  # another reader may take it
    try:
        told = json.loads(text)["context"]
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return told["type"], told.get("chainId"), told["timestamp"]


class _Context(msgspec.Struct, gc=False):
    type: str
    timestamp: str
    chainId: str | None = None  # as CDEvents spells it


class _Head(msgspec.Struct, gc=False):
    context: _Context


_HEAD_DECODER = msgspec.json.Decoder(_Head)
