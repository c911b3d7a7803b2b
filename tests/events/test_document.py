"""The form in which an event's coordinates enter its hash."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from cxlocal.events.document import header_bytes

# Halves of surrogate pairs are no text and never get here.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
COUNTS = st.integers(-(2**63), 2**63 - 1)


@given(TEXTS, COUNTS, st.none() | TEXTS, st.none() | COUNTS, TEXTS, COUNTS)
def test_the_header_is_a_json_array(
    node: str, sequence: int, deliverable: str | None, place: int | None, kind: str, clock: int
) -> None:
    """Byte for byte the compact JSON of the list: no two headers have the same bytes, and anybody
    can compute them."""
    header = [node, sequence, deliverable, place, kind, clock]
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":"))
    assert header_bytes(node, sequence, deliverable, place, kind, clock) == text.encode()
