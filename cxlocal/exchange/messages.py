"""The one form of requests and answers, for HTTP, files, folders and sticks alike.

A message is a JSON object, UTF-8, optionally compressed. What is not known is ignored by readers
and, inside events, carried on unchanged: events travel as the exact text that was hashed. The
parts and their fields are described in sync/README.md, section 2.

Limits are checked before anything is believed: how many bytes come in, and how many they unpack
to. A message of another protocol number is refused by name, never guessed at.
"""

from __future__ import annotations

import json
import zlib
from typing import Annotated, Any

import msgspec

from cxlocal.errors import CxError
from cxlocal.events.document import Event
from cxlocal.events.validity import are_well, is_keepable, read_json, what_is_wrong
from cxlocal.numbers.log import KINDS, Entry
from cxlocal.text import is_hexadecimal

PROTOCOL = 1

MESSAGE_BYTES_MAX = 8 * 1024 * 1024
"""Of an encoded message. Eight full batches."""
UNPACKED_BYTES_MAX = 32 * 1024 * 1024
"""Of a message once unpacked: bounds memory against a decompression bomb."""
ELEMENTS_MAX = 2_000_000
"""Commas and opening brackets in a message, wherever they stand. Each makes an object of some 60
bytes, so 32 MiB of brackets would unpack once more, to gigabytes. A full batch, even one of nothing
but commas, has less."""
BATCH_EVENTS_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
"""Of a batch of events: what an interrupted exchange may have to send again."""
SPAN_MAX = 5000
"""From the first to the last event of a batch that leaves some out: what the store looks up at once."""
RUN_HAS_NUMBER = "run-has-number"
"""Name of the refusal of a number to a run that was granted one through another machine."""
GRANTS_ELSEWHERE = "grants-elsewhere"
"""Name of the refusal of a number by a store whose numbers another machine hands out."""
STORE_MOVED = "moved"
"""Cause of a store's stop: its file lies elsewhere than where it was made."""
STORE_LEFT = "left"
"""Cause of a store's stop: another one counts on above it (``cxlocal store adopt``). For good."""
WITNESS = "witness"
"""Part a server adds: the deliverables whose numbers may be stopped by what the speaker remembers."""
PULL_MAX = 500
BLOB_BYTES_MAX = 64 * 1024 * 1024
"""Of a raw report in a store or a bundle: several are in the memory of a server at once. Longer ones
stay where they were made; artifacts have places of their own."""

_PACKED = b"CXZ1"
_PACK_FROM_BYTES = 2048
"""Shorter messages are not compressed: it would cost more time than it saves bytes."""


class BadMessage(CxError):
    """Bytes that are not a message of this protocol. No user writes one, so the way out depends on
    the name alone: what changed on the way, and what a program got wrong."""

    default_name = "bad-message"

    def __init__(
        self, what: str, *, why: str = "", hint: str = "", name: str | None = None, **data: object
    ) -> None:
        way_out = _CHANGED if name == "bad-hash" else _AT_FAULT
        super().__init__(what, why=why, hint=hint or way_out, name=name, **data)


_CHANGED = "run 'cxlocal sync' again; if that does not help, 'cxlocal verify' where the events were recorded"
_AT_FAULT = "compare 'cxlocal --version' on both sides, and update the older one"


def encode(message: dict[str, Any]) -> bytes:
    """A message as bytes. Raises BadMessage when it is too long to be accepted anywhere."""
    raw = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
    if len(raw) > UNPACKED_BYTES_MAX:
        raise BadMessage("the message is too long", why=f"{len(raw)} bytes", name="too-long")
    if len(raw) < _PACK_FROM_BYTES:
        return raw
    return _PACKED + zlib.compress(raw, 1)


def decode(data: bytes) -> dict[str, Any]:
    """The message in ``data``. Raises BadMessage, whose name says what is wrong with it."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise BadMessage(
            "the message is too long", why=f"{len(data)} bytes, {MESSAGE_BYTES_MAX} at most",
            name="too-long",
        )  # fmt: skip
    raw = _unpack(data)
    if len(raw) > ELEMENTS_MAX and sum(map(raw.count, (b",", b"[", b"{"))) > ELEMENTS_MAX:
        raise BadMessage(
            "the message holds too many things", why=f"{ELEMENTS_MAX} at most", name="too-long"
        )
    try:
        message = read_json(raw)
    except (ValueError, RecursionError) as error:
        raise BadMessage("the message cannot be read", why=f"not JSON: {error}") from error
    if not isinstance(message, dict):
        raise BadMessage("the message cannot be read", why="it is not a JSON object")
    if message.get("protocol") != PROTOCOL:
        raise BadMessage(
            f"the message speaks protocol {message.get('protocol')!r}, we speak {PROTOCOL}",
            hint="bring both sides to one release of cxlocal",
            name="unknown-protocol",
        )
    return message


def _unpack(data: bytes) -> bytes:
    if not data.startswith(_PACKED):
        return data
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(data[len(_PACKED) :], UNPACKED_BYTES_MAX)
    except zlib.error as error:
        raise BadMessage("the message cannot be unpacked", why=str(error)) from error
    if unpacker.unconsumed_tail:
        raise BadMessage(
            "the message unpacks to too many bytes", why=f"{UNPACKED_BYTES_MAX} at most",
            name="too-long",
        )  # fmt: skip
    if not unpacker.eof:
        raise BadMessage("the message was cut off")
    return raw


def refusal(name: str, cause: str, fix: str, /, **data: object) -> dict[str, Any]:
    """The refusal part of an answer: what is refused, why, and what resolves it."""
    return {"name": name, "cause": cause, "fix": fix, "data": data}


def event_out(event: Event) -> dict[str, Any]:
    """An event as it travels; hashes in hexadecimal, the document as the text that was hashed."""
    return {
        "node": event.node,
        "sequence": event.sequence,
        "type": event.type,
        "deliverable": event.deliverable,
        "deliverable_sequence": event.deliverable_sequence,
        "clock": event.clock,
        "previous": event.previous.hex(),
        "previous_in_deliverable": event.previous_in_deliverable.hex(),
        "hash": event.hash.hex(),
        "run": event.run,
        "document": event.document,
    }


def event_in(item: Any) -> Event:
    """The event in a message. Raises BadMessage when a field is missing or of the wrong kind.

    Whoever it comes from, what is taken here may stand in a path and a table, and every reader can
    read it. Its hash is not checked here (see ``cxlocal.events.document.hash_of``); its branch is a
    matter of the place that stores it.
    """
    try:
        event = Event(
            _text(item["node"]), _whole(item["sequence"]), 0, _text(item["type"]),
            _maybe_text(item.get("deliverable")), _maybe_whole(item.get("deliverable_sequence")),
            _whole(item["clock"]), bytes.fromhex(item["previous"]),
            bytes.fromhex(item["previous_in_deliverable"]), bytes.fromhex(item["hash"]),
            _text(item["document"]), _maybe_text(item.get("run")),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadMessage("the message holds a malformed event", why=repr(error)) from error
    wrong = what_is_wrong(event)
    if wrong:
        raise BadMessage("the message holds a malformed event", why=wrong)
    return event


_Whole = Annotated[int, msgspec.Meta(ge=-1, le=2**63 - 1)]


class _Sent(msgspec.Struct, gc=False):
    """An event as it travels."""

    node: str
    sequence: _Whole
    type: str
    clock: _Whole
    previous: str
    previous_in_deliverable: str
    hash: str
    document: str
    deliverable: str | None = None
    deliverable_sequence: _Whole | None = None
    run: str | None = None


_BATCH = list[_Sent]


def events_in(items: list[Any]) -> list[Event]:
    """What ``event_in`` makes of each event of a batch. Raises BadMessage.

    Most batches are what an honest journal sends: their kinds are then checked all at once, and of
    what many have in common each is looked at once. Any other is read event by event.
    """
    digest = bytes.fromhex
    try:
        events = [
            Event(
                one.node, one.sequence, 0, one.type, one.deliverable, one.deliverable_sequence,
                one.clock, digest(one.previous), digest(one.previous_in_deliverable),
                digest(one.hash), one.document, one.run,
            )
            for one in msgspec.convert(items, _BATCH)
        ]  # fmt: skip
    except (msgspec.ValidationError, ValueError):
        events = []
    return events if are_well(events) else [event_in(item) for item in items]


def entry_out(deliverable: str, line: str, entry: Entry) -> dict[str, Any]:
    """An entry of a grant log as it travels."""
    return {"deliverable": deliverable, "line": line, **entry._asdict()}


def entry_in(item: Any) -> tuple[str, str, Entry]:
    """Deliverable, line and entry in a message. Raises BadMessage."""
    try:
        entry = Entry(
            _whole(item["k"]), _text(item["kind"]), _whole(item["lo"]), _whole(item["hi"]),
            _text(item["node"]), _text(item["run"]), _text(item["nonce"]),
            _whole(item["generation"]), _text(item["why"]), _text(item["previous"]),
            _text(item["hash"]),
        )  # fmt: skip
        deliverable, line = _text(item["deliverable"]), _text(item["line"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadMessage("the message holds a malformed grant", why=repr(error)[:300]) from error
    if entry.k < 1 or entry.kind not in KINDS or not 0 <= entry.lo <= entry.hi:
        raise BadMessage("the message holds a malformed grant", why="its kind or its numbers")
    return deliverable, line, entry


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    if not is_keepable(value):
        raise TypeError("a text holds what no store can keep")
    return value


def hash_of_text(value: Any) -> str:
    """A SHA-256 as it travels: 64 hexadecimal digits. Raises TypeError and ValueError."""
    if not is_hexadecimal(_text(value), 64):
        raise ValueError(f"{value[:80]!r} is not a SHA-256")
    return str(value)


def _whole(value: Any) -> int:
    # 2**63 - 1 is the largest integer SQLite and PostgreSQL keep; bool is an int to Python only.
    if not isinstance(value, int) or isinstance(value, bool) or not -1 <= value < 2**63:
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _maybe_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _maybe_whole(value: Any) -> int | None:
    return None if value is None else _whole(value)


def read_part(message: dict[str, Any], name: str) -> Any:
    """The part ``name``, or None where it is absent. Raises BadMessage for a wrong kind."""
    value = message.get(name)
    if value is not None and not isinstance(value, (dict, list)):
        raise BadMessage("the message cannot be read", why=f"its part {name!r} is malformed")
    return value


text_of = _text
whole_of = _whole
