"""The form of a bundle: messages of the exchange in one file, whole or noticeably not whole.

::

    CXBUNDLE1\\n
    frame, frame, …     kind (1 byte), length (4 bytes, big-endian), payload, running hash (32 bytes)

    kind M   a message, encoded as everywhere (``cxlocal.exchange.messages``)
    kind B   a piece of a blob, a zlib stream; it belongs to the message before it
    kind E   the end: a message that says how many frames came before it; nothing follows

The running hash is SHA-256(running hash before ‖ kind ‖ length ‖ payload); it begins with the
SHA-256 of the first line. So a file that was cut off anywhere, or in which any byte was changed, is
noticed at the frame where it happened, and whoever reads needs memory for one frame only. The hash
protects from accidents: it is no signature, and what the messages say is checked by their readers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, BinaryIO

from cxlocal.errors import Trouble, UsageError
from cxlocal.exchange.messages import (
    MESSAGE_BYTES_MAX,
    PROTOCOL,
    BadMessage,
    decode,
    encode,
    whole_of,
)
from cxlocal.values import NamedTuple

MAGIC = b"CXBUNDLE1\n"
FAMILY = b"CXBUNDLE"

MESSAGE = b"M"
PIECE = b"B"
END = b"E"

BUNDLE_BYTES_MAX = 4 * 1024**3 - 1
"""Of a bundle: what a FAT-formatted stick can hold in one file. Some ten million events."""
UNPACKED_TOTAL_MAX = 32 * 1024**3
"""Of everything in a bundle once unpacked. Event documents shrink to about a fifth; a file that
grows far more was made to fill a disk."""
PIECE_BYTES_MAX = 1024 * 1024
"""Of one piece of a blob, unpacked: what is in memory at a time."""

_HEAD = struct.Struct(">cI")
_HASH_BYTES = 32


class Frame(NamedTuple):
    """One frame of a bundle: ``message`` for kinds M and E, ``piece`` for kind B."""

    kind: bytes
    message: dict[str, Any]
    piece: bytes


class BundleWriter:
    """Writes frames; ``close`` writes the end, without which a bundle does not count."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._written = len(MAGIC)
        self._running = sha256(MAGIC).digest()
        self._frames = 0
        file.write(MAGIC)

    def message(self, message: dict[str, Any]) -> None:
        """Write a message. Raises BadMessage when it is too long for a frame."""
        self._frame(MESSAGE, encode(message))

    def piece(self, content: bytes) -> None:
        """Write a piece of a blob, at most ``PIECE_BYTES_MAX``."""
        self._frame(PIECE, zlib.compress(content, 1))

    def close(self) -> None:
        """Write the end."""
        self._frame(END, encode({"protocol": PROTOCOL, "end": {"frames": self._frames}}))

    def _frame(self, kind: bytes, payload: bytes) -> None:
        head = _HEAD.pack(kind, len(payload))
        self._running = sha256(self._running + head + payload).digest()
        self._written += len(head) + len(payload) + _HASH_BYTES
        if self._written > BUNDLE_BYTES_MAX:
            raise _too_long(self._name)
        self._file.write(head + payload + self._running)
        self._frames += 1


def read_frames(file: BinaryIO, name: str) -> Iterator[Frame]:
    """The frames of a bundle before its end, each checked before it is handed out.

    ``name`` is how the file is called in errors. Raises UsageError for a file that is no bundle or
    of a later form, Trouble ``bundle-torn`` for one that was cut off, ``bundle-damaged`` for one
    that was changed, ``bundle-too-long``.
    """
    _read_magic(file, name)
    running, frames, seen, unpacked = sha256(MAGIC).digest(), 0, len(MAGIC), 0
    while True:
        head = _exactly(file, _HEAD.size, name, seen)
        kind, length = _HEAD.unpack(head)
        if kind not in (MESSAGE, PIECE, END) or length > MESSAGE_BYTES_MAX:
            raise damaged(name, f"at byte {seen}")
        payload = _exactly(file, length, name, seen)
        told = _exactly(file, _HASH_BYTES, name, seen)
        running = sha256(running + head + payload).digest()
        if told != running:
            raise damaged(name, f"its hash does not match after byte {seen}")
        seen += len(head) + length + _HASH_BYTES
        frame, size = _open(kind, payload, name, seen)
        unpacked += size
        if unpacked > UNPACKED_TOTAL_MAX or seen > BUNDLE_BYTES_MAX:
            raise _too_long(name)
        if kind == END:
            _check_end(file, frame, frames, name)
            return
        frames += 1
        yield frame


def _open(kind: bytes, payload: bytes, name: str, at: int) -> tuple[Frame, int]:
    """The frame, and how many bytes it unpacks to (for a message: at least its documents)."""
    if kind == PIECE:
        content = _unpack(payload, name, at)
        return Frame(kind, {}, content), len(content)
    try:
        message = decode(payload)
    except BadMessage as error:
        if error.name == "unknown-protocol":
            raise UsageError(
                f"{name} was written by another release of cxlocal",
                why=error.what,
                hint="bring both machines to one release of cxlocal",
                name="bundle-unknown",
            ) from error
        raise damaged(name, f"before byte {at}: {error.what}") from error
    return Frame(kind, message, b""), _size_of(message)


def _size_of(message: dict[str, Any]) -> int:
    """About what a message takes on disk once taken in."""
    found = 0
    batches = message.get("push")
    for batch in batches if isinstance(batches, list) else []:
        events = batch.get("events") if isinstance(batch, dict) else None
        for event in events if isinstance(events, list) else []:
            document = event.get("document") if isinstance(event, dict) else None
            found += len(document) if isinstance(document, str) else 0
    return found


def _unpack(payload: bytes, name: str, at: int) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(payload, PIECE_BYTES_MAX)
    except zlib.error as error:
        raise damaged(name, f"before byte {at}: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise damaged(name, f"before byte {at}: a piece of a file is longer than it may be")
    return content


def _read_magic(file: BinaryIO, name: str) -> None:
    found = file.read(len(MAGIC))
    if found == MAGIC:
        return
    if MAGIC.startswith(found):
        raise _torn(name, len(found))
    if found == MAGIC.replace(b"\n", b"\r"):  # of "\r\n", too, as many bytes are read
        raise Trouble(
            f"the line ends of {name} were changed on the way",
            why="it was copied as a text: by FTP in ASCII mode, by a mail program, or by git with"
            " core.autocrlf; nothing of it was taken",
            hint="copy it again as a binary file; in git: *.bundle -text in .gitattributes",
            name="bundle-line-ends",
        )
    if found.startswith(FAMILY):
        raise UsageError(
            f"{name} is a bundle of a later form",
            why=f"it begins with {found[:9].decode('ascii', 'replace')}",
            hint="bring both machines to one release of cxlocal",
            name="bundle-unknown",
        )
    raise UsageError(
        f"{name} is not a bundle",
        why="it does not begin like one",
        hint="cxlocal export --bundle FILE writes one",
        name="not-a-bundle",
    )


def _exactly(file: BinaryIO, length: int, name: str, at: int) -> bytes:
    found = file.read(length)
    if len(found) != length:
        raise _torn(name, at)
    return found


def _check_end(file: BinaryIO, frame: Frame, frames: int, name: str) -> None:
    try:
        told = whole_of(frame.message["end"]["frames"])
    except (KeyError, TypeError) as error:
        raise damaged(name, "its end cannot be read") from error
    if told != frames:
        raise damaged(name, f"{frames} parts, and it says {told}")
    if file.read(1):
        raise damaged(name, "something follows its end")


def _torn(name: str, at: int) -> Trouble:
    return Trouble(
        f"{name} is not complete",
        why=f"it was cut off after byte {at}; nothing of it was taken",
        hint="copy it again; if it was written so, 'cxlocal export --bundle' writes it anew",
        name="bundle-torn",
    )


def damaged(name: str, where: str, taken: str = "nothing of it was taken") -> Trouble:
    """The error for a bundle that is not as it was written."""
    return Trouble(
        f"{name} was changed after it was written",
        why=f"{where}; {taken}",
        hint="copy it again; if it was written so, 'cxlocal export --bundle' writes it anew",
        name="bundle-damaged",
    )


def _too_long(name: str) -> Trouble:
    return Trouble(
        f"{name} holds more than a bundle may",
        why=f"at most {BUNDLE_BYTES_MAX} bytes, {UNPACKED_TOTAL_MAX} once unpacked; nothing of it"
        " counts",
        hint="export smaller ones more often: 'cxlocal export --bundle' leaves out what the store"
        " is known to have",
        name="bundle-too-long",
    )
