"""Bytes kept by digest beside the journal: artifacts and raw reports.

A blob is complete or absent: it is written under another name, flushed, and renamed. Its name is
its SHA-256, so nothing needs to be trusted when it is read back.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

from cxlocal.errors import Conflict, Trouble, UsageError
from cxlocal.files import fresh_file, take_name
from cxlocal.private import FILE, make_folder
from cxlocal.text import is_hexadecimal

CHUNK_BYTES = 1024 * 1024
PLAIN = 0o644
PROGRAM = 0o755
"""Modes of artifacts, whatever the umask: deployments copy them with their modes to where others read
them. Here the folders around them keep others out."""


def blob_path(home: Path, digest: str) -> Path:
    """Where the bytes of a digest lie (or would lie). Raises UsageError for what is no digest: an
    event from elsewhere must not name a file."""
    if not is_hexadecimal(digest, 64):
        raise UsageError(
            "a digest is 64 hexadecimal digits",
            why=repr(digest[:80]),
            hint="give the SHA-256 of the bytes in small letters",
            name="bad-digest",
        )
    return home / "blobs" / digest[:2] / digest


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 (hexadecimal) and size in bytes of a file."""
    state, size = sha256(), 0
    for chunk in _chunks(path):
        state.update(chunk)
        size += len(chunk)
    return state.hexdigest(), size


def keep_file(home: Path, source: Path, *, private: bool = False) -> tuple[str, int]:
    """Keep a copy of ``source``; returns its digest and size in bytes. ``private`` is what no command
    copies elsewhere (a report). Raises Trouble when the disk is full or ``source`` cannot be read."""
    program = os.access(source, os.X_OK)
    return keep_chunks(home, _chunks(source), source.name, executable=program, private=private)


def keep_chunks(
    home: Path,
    chunks: Iterable[bytes],
    name: str,
    *,
    executable: bool = False,
    private: bool = False,
) -> tuple[str, int]:
    """The same for bytes from anywhere. A program (``executable``) stays one: what is deployed later
    is called by this very file. ``name`` is what an error calls it."""
    folder = home / "blobs"
    state, size = sha256(), 0
    try:
        make_folder(folder)
        with fresh_file(folder) as out:
            os.fchmod(out.fileno(), FILE if private else PROGRAM if executable else PLAIN)
            for chunk in chunks:
                state.update(chunk)
                size += len(chunk)
                out.write(chunk)
            digest = state.hexdigest()
            target = blob_path(home, digest)
            make_folder(target.parent)
            take_name(out, target)
    except OSError as problem:
        raise Trouble(
            f"{name} could not be kept",
            why=f"{problem.strerror}: {problem.filename or folder}",
            hint="free some space ('cxlocal prune') or check the folder's permissions",
            name="blob-not-kept",
        ) from problem
    return digest, size


def check_blob(home: Path, digest: str) -> Path:
    """The path of a kept blob whose bytes were read and match.

    Raises Trouble where it is absent and Conflict where the bytes are not those of the digest.
    """
    path = blob_path(home, digest)
    if not path.is_file():
        raise Trouble(
            "an artifact is not on this machine",
            why=f"{digest[:12]}… is not in {home / 'blobs'}",
            hint="run the command on the machine that built it, or build it again",
            name="blob-missing",
            sha256=digest,
        )
    found, _ = digest_of(path)
    if found != digest:
        raise Conflict(
            "an artifact on this machine is damaged",
            why=f"{path} has other bytes than its name says",
            hint="remove that file; it is fetched or built again",
            name="blob-damaged",
            sha256=digest,
            found=found,
        )
    return path


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
