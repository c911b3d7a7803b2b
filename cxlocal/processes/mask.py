"""Secrets never reach a log: every occurrence is replaced by ``***``, also across chunks.

Output arrives in pieces, and a secret may be cut anywhere. So an end that may be the beginning of a
secret is held back until the next bytes decide: at most one byte less than the longest thing we
look for. The result is the same bytes that masking the whole at once would give; a test compares
the two.

What is looked for: the value, and the forms in which programs print values: base64 (once or twice, alone
and inside a longer text, as in ``Authorization: Basic``) and hexadecimal, in lines and groups or not; dumps;
percent-encoded, in escapes of JSON, of programming languages and of shells, in entities of XML and HTML,
whichever characters were left as they are; and each long line of a value of several lines. Overlapping
occurrences are covered together, so that no tail of one secret is left beside another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, BinaryIO

from cxlocal.processes.forms import Forms

if TYPE_CHECKING:
    from cxlocal.processes.views import Folded, View

LEAST_CHARACTERS = 4
"""Shorter values are not masked: they would blank out half of every log and stay guessable."""

_LEAST_DERIVED = 8
"""Least length of a line of a longer value and of an inner base64 form, for the same reason."""

MARK = b"***"

_COPY_BYTES = 1 << 20


class Masker:
    """Masks a set of secret values. False when there is nothing to mask."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Values shorter than ``LEAST_CHARACTERS`` are ignored."""
        plain: set[bytes] = set()
        points: set[bytes] = set()
        based: set[bytes] = set()
        hexed: set[bytes] = set()
        for value in values:
            if len(value) >= LEAST_CHARACTERS:
                found = _plain(value)
                plain |= found
                points |= {_points(raw) for raw in found}
                for raw in found:
                    based |= _base64(raw)
                    hexed |= {raw.hex().encode(), raw.hex().upper().encode()}
        self.views: tuple[View, ...] = ()
        forms = plain | {raw.replace(b"'", b"'\\''") for raw in plain}
        forms |= {
            raw.replace(b" ", b"+") for raw in plain
        }  # a form of a page that needs no percent
        if forms:  # Most stages have no secret, and need none of the patterns.
            from cxlocal.processes.views import views_of

            self.views = views_of(plain, points, based, hexed)
        self.forms = Forms(forms)

    def __bool__(self) -> bool:
        return bool(self.forms.all)

    def stream(self) -> MaskStream:
        """A masker for output that arrives in pieces."""
        return MaskStream(self)

    def whole(self, content: bytes) -> bytes:
        """All of ``content``, masked."""
        if not self:
            return content
        stream = self.stream()
        return stream.feed(content) + stream.end()

    def text(self, text: str) -> str:
        """Text, masked. Undecodable bytes (PEP 383) survive."""
        if not self:
            return text
        raw = text.encode("utf-8", "surrogateescape" if _decodable(text) else "surrogatepass")
        return self.whole(raw).decode("utf-8", "surrogateescape")

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it masked, keys included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        return value

    def copy(self, source: BinaryIO, target: BinaryIO) -> None:
        """Copy a file of any size, masked: reports are kept, and read by many."""
        stream = self.stream()
        while chunk := source.read(_COPY_BYTES):
            target.write(stream.feed(chunk))
        target.write(stream.end())

    def look(
        self, content: bytes, *, final: bool, fresh: bool = True
    ) -> tuple[list[tuple[int, int]], int]:
        """Where forms occur, as (start, end) in order of start, which may overlap; and up to where it is
        decided what begins there. ``final``: no more bytes will come; ``fresh``: a line begins here."""
        spans = list(self.forms.spans(content))
        limit = len(content) if final else self.forms.open_from(content)
        read: list[Folded] = []
        for view in self.views:
            decided = len(content) if final else view.decided(content, fresh=fresh)
            if decided == len(content) and not view.may_hold(content):
                continue
            known = content[:decided]
            folded = view.fold(known, view.first(known), fresh=fresh)
            if view.begins and not final:
                limit = min(limit, decided)
            read.append(folded)
            if view.dropped or not folded.plain:  # what stands there as it is, is found as that
                spans += [
                    (folded.start_of(start), folded.end_of(end))
                    for start, end in view.forms.spans(folded.content)
                ]
            if not final:
                open_from = view.forms.open_from(folded.content)
                if open_from < len(folded.content):
                    limit = min(limit, folded.start_of(open_from))
        spans.sort()
        return spans, _before_tokens(read, limit)


def _before_tokens(read: Iterable[Folded], limit: int) -> int:
    """``limit`` moved back until it cuts no token: what is held is read from its beginning again."""
    while True:
        moved = min((folded.before_token(limit) for folded in read), default=limit)
        if moved == limit:
            return limit
        limit = moved


class MaskStream:
    """Masks one stream of bytes."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        self._fresh = True
        """Whether what is held begins a line."""
        self._covered = 0
        """How many held bytes belong to an occurrence whose mark was already given out."""

    @property
    def holds(self) -> bool:
        """Whether something is held back."""
        return bool(self._held)

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give those that are decided."""
        if not self._masker:
            return chunk
        content = self._held + chunk
        return self._give(content, *self._masker.look(content, final=False, fresh=self._fresh))

    def end(self) -> bytes:
        """The held-back rest, once no more bytes will come."""
        return self._give(self._held, *self._masker.look(self._held, final=True, fresh=self._fresh))

    def _give(self, content: bytes, spans: list[tuple[int, int]], limit: int) -> bytes:
        """Give ``content`` up to ``limit``; every form beginning before it lies in ``content``."""
        out: list[bytes] = []
        done = self._covered
        for start, end in spans:
            if start >= limit:
                break
            if start >= done:
                out += (content[done:start], MARK)
            done = max(done, end)
        if done < limit:
            out.append(content[done:limit])
        self._held = content[limit:]
        if limit:
            self._fresh = content[limit - 1 : limit] == b"\n"
        self._covered = max(0, done - limit)
        return b"".join(out)


def _plain(value: str) -> set[bytes]:
    """``value`` as bytes, and its long lines where it has several."""
    raw = value.encode("utf-8", "surrogateescape" if _decodable(value) else "surrogatepass")
    found = {raw}
    lines = [line.strip() for line in raw.splitlines()]
    if len(lines) > 1:
        found.update(line for line in lines if len(line) >= _LEAST_DERIVED)
        found.add(b"\r\n".join(raw.splitlines()))
    return found


def _decodable(text: str) -> bool:
    return not any(0xD800 <= ord(char) < 0xDC80 or 0xDD00 <= ord(char) < 0xE000 for char in text)


def _points(raw: bytes) -> bytes:
    """``raw`` as escapes of characters are read (``\\xe9``): those below 256 as one byte."""
    text = raw.decode("utf-8", "surrogateescape")
    return b"".join(
        bytes([ord(char)]) if ord(char) < 256 else char.encode("utf-8", "surrogateescape")
        for char in text
    )


def _base64(raw: bytes) -> set[bytes]:
    """``raw`` in base64, and in base64 of that."""
    once = _encoded(raw)
    return once | {form for inner in once for form in _encoded(inner)}


def _encoded(raw: bytes) -> set[bytes]:
    """``raw`` in base64: alone, and the part that is the same wherever it stands in a longer text.

    Three bytes make four characters, so a value inside a longer text begins at one of three
    offsets. Characters that also depend on the neighbours are left out.
    """
    from base64 import b64encode

    alone = b64encode(raw)
    found = {alone, alone.rstrip(b"=")}
    for offset in (0, 1, 2):
        encoded = b64encode(bytes(offset) + raw).rstrip(b"=")
        first = (0, 2, 3)[offset]
        last = (offset + len(raw)) * 8 // 6
        if last - first >= _LEAST_DERIVED:
            found.add(encoded[first:last])
    return found | {form.translate(_URL_SAFE) for form in found}


_URL_SAFE = bytes.maketrans(b"+/", b"-_")
