"""The bytes of a report as UTF-8 that an XML parser takes.

Test tools write captured output into reports as it came: bytes in another encoding than the file
says, terminal escapes, zero bytes. A strict parser would stop there and lose every case after it.
Here bytes that cannot be decoded become U+FFFD and characters that XML 1.0 does not have become
``?`` (https://www.w3.org/TR/xml/#charsets).
"""

from __future__ import annotations

import codecs
import re

CHUNK_BYTES = 1024 * 1024

ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "ascii",
        *(f"iso8859-{part}" for part in range(1, 17) if part != 12),
        *(f"cp125{part}" for part in range(9)),
        "cp437", "cp850", "cp866", "cp932", "koi8-r", "koi8-u", "mac-roman", "shift_jis", "euc_jp",
        "iso2022_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr",
    )
)  # fmt: skip
"""What a file may say it is written in. Python knows more, among them codecs that are no encodings
of text, or that take quadratic time."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"), (b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip
"""How a file begins (https://www.w3.org/TR/xml/#sec-guessing); the longer marks come first."""

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([\w.:-]{1,40})["']""")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class UnknownEncoding(Exception):
    """The file says it is written in something that is not known here."""


class Cleaner:
    """Takes a file chunk by chunk and gives it back as clean UTF-8."""

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._plain = False
        """UTF-8 with nothing begun: a chunk of ASCII may pass as it is."""
        self._started = False

    def feed(self, chunk: bytes) -> bytes:
        """The next part. Raises UnknownEncoding."""
        if self._decoder is None:
            self._decoder, chunk = self._open(chunk)
        # By far the most common case, and the reason that big files are read in seconds.
        if self._plain and chunk.isascii() and self._decoder.getstate()[0] == b"":
            return self._begun(_CONTROLS.sub(b"?", chunk))
        return self._begun(_clean(self._decoder.decode(chunk)))

    def end(self) -> bytes:
        """What was still held back."""
        return _clean(self._decoder.decode(b"", True)) if self._decoder else b""

    def _open(self, chunk: bytes) -> tuple[codecs.IncrementalDecoder, bytes]:
        name = "utf-8"
        for mark, meant in MARKS:
            if chunk.startswith(mark):
                name = meant
                chunk = chunk if b"<" in mark else chunk[len(mark) :]
                break
        else:
            declared = _DECLARED.match(chunk)
            if declared is not None:
                name = _known(declared[1].decode("ascii"))
        self._plain = name == "utf-8"
        return codecs.getincrementaldecoder(name)("replace"), chunk

    def _begun(self, data: bytes) -> bytes:
        """Without the white space that some tools write before the XML declaration."""
        if not self._started:
            data = data.lstrip()
            self._started = bool(data)
        return data


def _known(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except LookupError:
        found = ""
    # A declaration that was readable as ASCII is no UTF-16, whatever it says.
    if found.startswith(("utf-16", "utf-32")) or found == "ascii":
        return "utf-8"
    if found not in ENCODINGS:
        raise UnknownEncoding(f"its encoding {name[:40]!r} is not known")
    return found


def _clean(text: str) -> bytes:
    return _NOT_XML.sub("?", text).encode("utf-8")
