"""The bytes of a log cut into lines that can be sent. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cxlocal.processes.echo import plain
from cxlocal.values import NamedTuple

LINE_BYTES = 8192
"""A longer line goes in numbered pieces: receivers cut or refuse longer ones."""
_ESCAPE_BYTES = 64
"""An escape at the end of a piece that is not closed within it goes to the next one."""


class Spot(NamedTuple):
    """A place in a log between two records."""

    line: int = 0
    """Lines that are taken whole."""
    piece: int = 0
    """Pieces of the next one that are taken."""
    offset: int = 0
    """The byte that comes next."""


class Line(NamedTuple):
    """One line, or a piece of a long one."""

    number: int
    """From 1 on."""
    piece: int
    """From 1 on; 0: the whole line."""
    begins: int
    """Its first byte."""
    text: str
    after: Spot


def lines_of(chunks: Iterable[bytes], spot: Spot) -> Iterator[Line]:
    """The lines from ``spot`` on, of which ``chunks`` hold the bytes. Colours and control characters
    leave; bytes that are no UTF-8 become escapes."""
    buffer = b""
    for chunk in chunks:
        buffer += chunk
        while True:
            end = buffer.find(b"\n", 0, LINE_BYTES + 1)
            if end >= 0:
                found, buffer = buffer[:end], buffer[end + 1 :]
                line = _line(found, spot, whole=True, taken=end + 1)
                spot = line.after
                if found or not line.piece:
                    yield line
            elif len(buffer) > LINE_BYTES:
                cut = _cut(buffer)
                line = _line(buffer[:cut], spot, whole=False, taken=cut)
                buffer, spot = buffer[cut:], line.after
                yield line
            else:
                break
    if buffer:
        yield _line(buffer, spot, whole=True, taken=len(buffer))


def _line(content: bytes, spot: Spot, *, whole: bool, taken: int) -> Line:
    piece = spot.piece + 1 if spot.piece or not whole else 0
    offset = spot.offset + taken
    after = Spot(spot.line + 1, 0, offset) if whole else Spot(spot.line, piece, offset)
    return Line(spot.line + 1, piece, spot.offset, plain(content).decode(), after)


def _cut(buffer: bytes) -> int:
    """Where a long line is cut: in no character and in no escape."""
    cut = LINE_BYTES
    escape = buffer.rfind(b"\x1b", cut - _ESCAPE_BYTES, cut)
    if escape > 0:
        return escape
    while cut > LINE_BYTES - 4 and buffer[cut] & 0xC0 == 0x80:
        cut -= 1
    return cut
