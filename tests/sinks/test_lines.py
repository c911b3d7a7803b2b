"""Logs cut into lines: the same from wherever one goes on, nothing lost, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxlocal.sinks.lines import LINE_BYTES, Spot, lines_of

START = Spot()


def texts(content: bytes, size: int = 65536) -> list[str]:
    return [line.text for line in lines_of(pieces(content, size), START)]


def pieces(content: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(content), size):
        yield content[at : at + size]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"one\n", ["one"]),
        (b"one\ntwo", ["one", "two"]),
        (b"\n\nx\n", ["", "", "x"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07end\n", ["red end"]),
        (b"10%\r50%\r100%\n", ["100%"]),
        (b"dos\r\n", ["dos"]),
        (b"caf\xe9\n", ["caf\\xe9"]),
        (b"nul\x00 bell\x07 back\x08\n", ["nul bell back"]),
        ("right \u202eto left\n".encode(), ["right to left"]),
        ("ünï\u2028code\n".encode(), ["ünï\u2028code"]),
    ],
)
def test_lines_are_plain(content: bytes, expected: list[str]) -> None:
    assert texts(content) == expected


@pytest.mark.parametrize("length", [LINE_BYTES, LINE_BYTES + 1, 2 * LINE_BYTES, 3 * LINE_BYTES + 7])
def test_a_long_line_goes_in_numbered_pieces(length: int) -> None:
    content = b"first\n" + b"x" * length + b"\nlast\n"
    found = list(lines_of([content], START))
    assert [(line.number, line.piece) for line in found[:1] + found[-1:]] == [(1, 0), (3, 0)]
    long = found[1:-1]
    assert "".join(line.text for line in long) == "x" * length
    assert {line.number for line in long} == {2}
    expected = [0] if length <= LINE_BYTES else list(range(1, -(-length // LINE_BYTES) + 1))
    assert [line.piece for line in long] == expected


@pytest.mark.parametrize("special", ["☃".encode(), "🜁".encode(), b"\x1b[38;5;200m"])
def test_no_character_and_no_escape_is_cut(special: bytes) -> None:
    """Wherever it falls upon the end of a piece."""
    for before in range(LINE_BYTES - 16, LINE_BYTES + 2):
        content = b"x" * before + special + b"y" * 50 + b"\n"
        text = "".join(line.text for line in lines_of([content], START))
        shown = "" if special.startswith(b"\x1b") else special.decode()
        assert text == "x" * before + shown + "y" * 50


CONTENT = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r", b"\x1b[1m", b"\xff", "ü☃".encode(), b"x" * LINE_BYTES]),
        st.binary(max_size=30),
    ),
    max_size=30,
).map(b"".join)


@given(CONTENT, st.integers(1, 9000), st.data())
def test_going_on_from_any_place_gives_the_rest(
    content: bytes, size: int, data: st.DataObject
) -> None:
    whole = list(lines_of(pieces(content, 65536), START))
    assert [*lines_of(pieces(content, size), START)] == whole
    assert len({(line.number, line.piece) for line in whole}) == len(whole)
    if whole:
        index = data.draw(st.integers(0, len(whole) - 1))
        after = whole[index].after
        assert list(lines_of([content[after.offset :]], after)) == whole[index + 1 :]


@given(CONTENT)
def test_every_line_of_the_log_is_there(content: bytes) -> None:
    numbers = [line.number for line in lines_of([content], START)]
    count = content.count(b"\n") + (not content.endswith(b"\n") and content != b"")
    assert sorted(set(numbers)) == list(range(1, count + 1))
