"""Whether the bytes of a file hold a version: by name, as they are, or packed."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from cxlocal.numbers.schemes import early_parts

CHUNK_BYTES = 1024 * 1024
UNPACKED_BYTES_MAX = 1024 * 1024 * 1024
"""More than that is not looked through."""

DEPTH_MAX = 4
"""Packed files in packed files."""

OVERLAP_BYTES = 400
"""More than the longest spelling of a version."""

OPAQUE = (
    b"\x28\xb5\x2f\xfd", b"!<arch>\n", b"\xed\xab\xee\xdb", b"7z\xbc\xaf\x27\x1c", b"hsqs", b"sqsh",
    b"\x04\x22\x4d\x18", b"070701",
)  # fmt: skip
"""Beginnings of packed formats that nobody here unpacks: zstd, ar and deb, rpm, 7z, squashfs, lz4,
cpio."""

_WORDS = {"a": "a|alpha", "b": "b|beta", "rc": "rc|c|pre|preview"}
_PACKED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BROKEN = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, ValueError,
    RuntimeError,
)  # fmt: skip


def mentions(path: Path, version: str, name: str) -> bool:
    """Whether ``version``, a pre-release in any of its usual forms, stands in the ``name`` or the bytes
    of a file; True as well where that cannot be told."""
    pattern = _pattern(version)
    try:
        with path.open("rb") as file:
            texts = chain([name.encode("utf-8", "surrogateescape")], _Look().into(file))
            return any(pattern.search(text) for text in texts)
    except _BROKEN:
        return True


def _pattern(version: str) -> re.Pattern[bytes]:
    """``3.2.0rc2`` stands for ``3.2.0-rc.2`` and ``3.2.0~rc2``, too; each in UTF-16 as well."""
    parts = early_parts(version)
    if parts is None:
        return re.compile(_spelled(version), re.IGNORECASE)
    release, word, number = parts
    words = b"|".join(map(_spelled, _WORDS.get(word, word).split("|")))
    between = rb"(?:[-_.~+]\x00?){0,2}"
    spelled = [_spelled(release), between, rb"(?:", words, rb")", between, _spelled(str(number))]
    return re.compile(b"".join(spelled), re.IGNORECASE)


def _spelled(text: str) -> bytes:
    return b"".join(re.escape(one.encode()) + rb"\x00?" for one in text)


class _Look:
    """Looks through all content of a file, unpacked, names of members included. Raises one of
    ``_BROKEN`` where that cannot be done."""

    def __init__(self) -> None:
        self.left = UNPACKED_BYTES_MAX

    def into(self, file: IO[bytes], depth: int = 0) -> Iterator[bytes]:
        head = file.read(512)
        file.seek(0)
        if head.startswith(OPAQUE) or depth > DEPTH_MAX:
            raise ValueError("nobody here unpacks it")
        opener = next((one for begin, one in _PACKED.items() if head.startswith(begin)), None)
        if opener is not None:
            with opener(file, "rb") as unpacked:
                yield from self.into(unpacked, depth + 1)
        elif head[257:262] == b"ustar":
            yield from self._tar(file, depth)
        elif zipfile.is_zipfile(file):
            yield from self._zip(file, depth)
        elif head.startswith(b"PK\x03\x04"):
            raise ValueError("a broken zip")
        else:
            file.seek(0)
            yield from self._plain(file)

    def _zip(self, file: IO[bytes], depth: int) -> Iterator[bytes]:
        with zipfile.ZipFile(file) as archive:
            for one in archive.infolist():
                yield one.filename.encode("utf-8", "surrogateescape")
                with archive.open(one) as member:
                    yield from self.into(member, depth + 1)

    def _tar(self, file: IO[bytes], depth: int) -> Iterator[bytes]:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for one in archive:
                yield one.name.encode("utf-8", "surrogateescape")
                member = archive.extractfile(one) if one.isfile() else None
                if member is not None:
                    yield from self.into(member, depth + 1)

    def _plain(self, file: IO[bytes]) -> Iterator[bytes]:
        """In pieces that overlap, so that nothing is missed between two."""
        before = b""
        while chunk := file.read(CHUNK_BYTES):
            self.left -= len(chunk)
            if self.left < 0:
                raise ValueError("too large to be looked through")
            yield before + chunk
            before = chunk[-OVERLAP_BYTES:]
