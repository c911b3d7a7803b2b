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
    events_in,
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


ODD = [
    None, True, 0, -1, -2, 1, 1.0, 2**63 - 1, 2**63, 2**70, "", "x", "0" * 64, "AB" * 32, " ab" * 32, "a" * 32,
    "\0", "\ud800", "ü", "x" * 1025, [], {}, "{}", "null", '{"context":{"type":"t","timestamp":"x"}}',
    '{"context":{"type":"t","timestamp":"2026-11-23T02:14:05Z"}}',
    '{"context":{"type":"t","timestamp":"0001-01-01T00:00:00+23:59"}}',
    '{"context":{"type":"t","timestamp":"2026-11-23T02:14:05"}}',
    '{"context":{"type":"t","timestamp":"2026-11-23T02:14:05Z","chainId":"run"}}',
    '{"context":{"type":"t","timestamp":"2026-11-23T02:14:05Z","chainId":null},"x":"\ud800"}',
    '{"context":{"type":"t","timestamp":"2026-11-23T02:14:05Z"},"x":"\0"}', "[" * 9000,
]  # fmt: skip
"""What may stand in a field of an event, by whom it may."""


def plain(sequence: int) -> dict[str, Any]:
    """An event as it travels, with nothing odd in it."""
    return {
        "node": "a" * 32, "sequence": sequence, "type": "t", "clock": 7, "previous": "00" * 32,
        "previous_in_deliverable": "00" * 32, "hash": "11" * 32, "run": None, "deliverable": "shop",
        "deliverable_sequence": sequence,
        "document": '{"context":{"type":"t","timestamp":"2026-11-23T02:14:05.123Z"}}',
    }  # fmt: skip


def as_read(read: Any) -> Any:
    """The events, or why there are none."""
    try:
        return read()
    except BadMessage as problem:
        return problem.what, problem.why, problem.name


@settings(deadline=None, max_examples=150)
@given(
    changed=st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from([*plain(1), "more"]), st.sampled_from(ODD)),
        max_size=3,
    ),
    gone=st.none() | st.sampled_from(sorted(plain(1))),
    whole=st.none() | st.sampled_from(ODD),
)
def test_a_batch_is_read_as_each_of_its_events_is(
    changed: list[tuple[int, str, Any]], gone: str | None, whole: Any
) -> None:
    """What is looked at once for a batch comes to what each event by itself comes to."""
    items: list[Any] = [plain(sequence) for sequence in range(1, 5)]
    for place, name, odd in changed:
        items[place][name] = odd
    if gone is not None:
        del items[2][gone]
    if whole is not None:
        items[3] = whole
    assert as_read(lambda: events_in(items)) == as_read(lambda: [event_in(one) for one in items])


@pytest.mark.parametrize("name", plain(1))
def test_each_field_of_a_batch_is_read_as_that_of_an_event(name: str) -> None:
    for odd in ODD:
        items = [plain(1), {**plain(2), name: odd}]
        read = as_read(lambda items=items: events_in(items))
        assert read == as_read(lambda items=items: [event_in(one) for one in items]), odd
