"""Secrets never reach a log: every occurrence is replaced by ``***``, also across chunks.

Output arrives in pieces, and a secret may be cut anywhere. So an end that may be the beginning of a
secret is held back until the next bytes decide: at most one byte less than the longest thing we
look for. The result is the same bytes that masking the whole at once would give; a test compares
the two.

What is looked for: the value, and the forms in which programs print values: base64 (alone and
inside a longer text, as in ``Authorization: Basic``), percent-encoded, escaped for JSON, for XML
and by ``sh -x``, and each long line of a value of several lines. Overlapping occurrences are covered together, so that no
tail of one secret is left beside another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, BinaryIO

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
        forms: set[bytes] = set()
        for value in values:
            if len(value) >= LEAST_CHARACTERS:
                forms |= forms_of(value)
        self.forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def __bool__(self) -> bool:
        return bool(self.forms)

    def stream(self) -> MaskStream:
        """A masker for output that arrives in pieces."""
        return MaskStream(self)

    def whole(self, content: bytes) -> bytes:
        """All of ``content``, masked."""
        if not self.forms:
            return content
        stream = self.stream()
        return stream.feed(content) + stream.end()

    def text(self, text: str) -> str:
        """Text, masked. Undecodable bytes (PEP 383) survive."""
        if not self.forms:
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

    def spans(self, content: bytes) -> list[tuple[int, int]]:
        """Where forms occur, as (start, end) in order of start; they may overlap."""
        found: list[tuple[int, int]] = []
        for form in self.forms:
            at = content.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = content.find(form, at + 1)
        found.sort()
        return found

    def undecided_from(self, content: bytes) -> int:
        """Where the first form may begin that ``content`` holds only the beginning of."""
        first = len(content)
        for form in self.forms:
            start = form[:1]
            at = content.find(start, max(0, len(content) - len(form) + 1))
            while 0 <= at < first and not form.startswith(content[at:]):
                at = content.find(start, at + 1)
            if 0 <= at < first:
                first = at
        return first


class MaskStream:
    """Masks one stream of bytes."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        self._covered = 0
        """How many held bytes belong to an occurrence whose mark was already given out."""

    def feed(self, chunk: bytes) -> bytes:
        """Take the next bytes; give those that are decided."""
        if not self._masker:
            return chunk
        content = self._held + chunk
        return self._give(content, self._masker.undecided_from(content))

    def end(self) -> bytes:
        """The held-back rest, once no more bytes will come."""
        return self._give(self._held, len(self._held))

    def _give(self, content: bytes, limit: int) -> bytes:
        """Give ``content`` up to ``limit``; every form beginning before it lies in ``content``."""
        out: list[bytes] = []
        done = self._covered
        for start, end in self._masker.spans(content):
            if start >= limit:
                break
            if start >= done:
                out += (content[done:start], MARK)
            done = max(done, end)
        if done < limit:
            out.append(content[done:limit])
        self._held = content[limit:]
        self._covered = max(0, done - limit)
        return b"".join(out)


def forms_of(value: str) -> set[bytes]:
    """The bytes by which ``value`` may appear in output. Pure."""
    raw = value.encode("utf-8", "surrogateescape" if _decodable(value) else "surrogatepass")
    forms = {raw, _percent(raw, upper=True), _percent(raw, upper=False)}
    forms.add(_percent(raw, upper=True).replace(b"%20", b"+"))
    for ascii_only in (True, False):
        inner = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        forms.add(inner.encode("utf-8", "surrogatepass"))
        forms.add(inner.replace("/", "\\/").encode("utf-8", "surrogatepass"))
    forms |= _base64(raw) | _escaped(raw)
    lines = [line.strip() for line in raw.splitlines()]
    if len(lines) > 1:
        forms.update(line for line in lines if len(line) >= _LEAST_DERIVED)
        forms.add(b"\r\n".join(raw.splitlines()))
    return {form for form in forms if form}


def _decodable(text: str) -> bool:
    return not any(0xD800 <= ord(char) < 0xDC80 or 0xDD00 <= ord(char) < 0xE000 for char in text)


def _escaped(raw: bytes) -> set[bytes]:
    """``raw`` in XML text and attributes, and between the single quotes of a shell."""
    text = raw.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    return {text, text.replace(b'"', b"&quot;"), raw.replace(b"'", b"'\\''")}


_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
"""RFC 3986 section 2.3."""


def _percent(raw: bytes, *, upper: bool) -> bytes:
    form = "%%%02X" if upper else "%%%02x"
    return "".join(chr(b) if b in _UNRESERVED else form % b for b in raw).encode("ascii")


def _base64(raw: bytes) -> set[bytes]:
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
