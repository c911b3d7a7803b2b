"""Messages: what is written is read back, and nothing hostile is believed."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxlocal.events.document import Event
from cxlocal.exchange.messages import (
    MESSAGE_BYTES_MAX,
    UNPACKED_BYTES_MAX,
    BadMessage,
    decode,
    encode,
    event_in,
    event_out,
)

texts = st.text(max_size=40)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(texts, st.recursive(st.integers() | texts | st.none(), st.lists)))
def test_what_is_written_is_read_back(extra: dict[str, object]) -> None:
    message = {**extra, "protocol": 1, "padding": "x" * 3000}
    assert decode(encode(message)) == message
    assert len(encode(message)) < 4000 + 10 * len(repr(extra)), "long messages travel compressed"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    for raw in (data, b"CXZ1" + data, encode({"protocol": 1, "x": "y" * 5000})[:-1]):
        with pytest.raises(BadMessage):
            decode(raw)


def test_p15_any_flipped_byte_of_a_compressed_message_is_noticed_or_harmless() -> None:
    raw = encode({"protocol": 1, "x": "y" * 5000})
    for index in range(len(raw)):
        flipped = raw[:index] + bytes([raw[index] ^ 0x20]) + raw[index + 1 :]
        try:
            assert decode(flipped) == decode(raw)
        except BadMessage:
            continue


def test_bombs_and_oversize_are_refused() -> None:
    bomb = b"CXZ1" + zlib.compress(b" " * (UNPACKED_BYTES_MAX + 1), 9)
    assert len(bomb) < 100_000
    for raw in (bomb, b" " * (MESSAGE_BYTES_MAX + 1), b"[" * 100_000, b"CXZ1"):
        with pytest.raises(BadMessage):
            decode(raw)


def test_p19_another_protocol_is_refused_by_name() -> None:
    for protocol in (b"2", b'"1"', b"null"):
        with pytest.raises(BadMessage) as caught:
            decode(b'{"protocol": ' + protocol + b"}")
        assert caught.value.name == "unknown-protocol"


NOT_WRITTEN_BY_ANY_JOURNAL: list[tuple[str, Any]] = [
    ("node", "../../../etc"), ("node", "A" * 32), ("node", ""), ("node", "a" * 31 + "/"),
    ("deliverable_sequence", None), ("deliverable", None), ("deliverable", "x" * 1025),
    ("type", "another"), ("run", "another"), ("run", None), ("document", "no document"),
    ("document", "[]"), ("document", "{}"), ("document", "[" * 100_000),
    ("document", '{"context":{"type":"t","chainId":"run","timestamp":"yesterday"}}'),
    ("document", '{"context":{"type":"t","chainId":"run","timestamp":"2026-11-23T02:14:05"}}'),
    ("document", '{"context":{"type":"t","chainId":"run"}}'),
    ("document", '{"context":{"type":"t","chainId":"run","timestamp":"2026-11-23T02:14:05Z"}}'
     + " " * 256 * 1024),
]  # fmt: skip

DOCUMENT = '{"context":{"type":"t","chainId":"run","timestamp":"2026-11-23T02:14:05.123Z"}}'


def test_p15_events_with_wrong_fields_are_refused() -> None:
    event = Event(
        "a" * 32, 1, 0, "t", "webshop", 1, 5, bytes(32), bytes(32), b"h" * 32, DOCUMENT, "run"
    )
    out = event_out(event)
    assert event_in(out) == event
    assert event_in({**out, "later": 1}) == event
    for name, value in [
        ("sequence", 0), ("sequence", "1"), ("sequence", True), ("sequence", 2**63), ("hash", "00"),
        ("hash", "zz" * 32), ("document", None), ("node", 5), ("clock", 1.5), ("previous", None),
        *NOT_WRITTEN_BY_ANY_JOURNAL,
    ]:  # fmt: skip
        with pytest.raises(BadMessage):
            event_in({**out, name: value})
    for thing in (None, [], "x", 5):
        with pytest.raises(BadMessage):
            event_in(thing)
