"""Where a file lies, in a form that changes when the file is copied or moved elsewhere.

A hint is machine, inode, file-system id and the time the inode was made. It is weak evidence: a copy
of a whole virtual machine keeps all four. The time is there because a file system gives the number of a
deleted file to the next one: a home that was removed and unpacked from a backup would look untouched.
It is a label that is compared, never a time that is calculated with, and left out where the file system
does not keep it. The contact token decides; the hint only makes a machine careful while it cannot
ask. The device number is left out because it changes at reboot. The machine's id is
hashed, since machine-id(5) calls the raw value confidential and the hint is sent to the store.
"""

from __future__ import annotations

import os
import struct
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

_LINUX_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@cache
def machine_id() -> str:
    """The platform's id of this machine, or an empty text where it has none (many containers).
    It does not change under a running process, so it is read once."""
    if sys.platform == "darwin":
        return _mac_id()
    for name in _LINUX_FILES:
        try:
            with open(name, encoding="ascii") as file:
                text = file.read().strip()
        except (OSError, ValueError):
            continue
        if text and text != "uninitialized":
            return text
    return ""


def machine_mark() -> str:
    """The same for this machine on every day, and for no other; empty where it has no id."""
    found = machine_id()
    return sha256(found.encode()).hexdigest()[:12] if found else ""


def _mac_id() -> str:
    # gethostuuid(2) gives the hardware UUID without starting a process.
    import ctypes

    raw = (ctypes.c_ubyte * 16)()
    wait = (ctypes.c_long * 2)(1, 0)
    return bytes(raw).hex() if ctypes.CDLL(None).gethostuuid(raw, wait) == 0 else ""


def file_hint(path: str | Path) -> str:
    """The hint of an existing file: machine, inode, file system, birth of the inode. Raises
    OSError."""
    raw = machine_id()
    machine = sha256(b"cxlocal hint:" + raw.encode()).hexdigest()[:16] if raw else ""
    seen = os.stat(path)
    place = f"{machine}|{seen.st_ino}|{os.statvfs(path).f_fsid}"
    born = _born(path, seen)
    return f"{place}|{born}" if born else place


def _born(path: str | Path, seen: os.stat_result) -> str:
    """When the inode was made, as the file system says it; empty where it does not."""
    told = getattr(seen, "st_birthtime", None)
    if told is not None:
        return str(told)
    return _born_linux(path) if sys.platform == "linux" else ""


def _born_linux(path: str | Path) -> str:
    """By statx(2), which Python does not call. It takes a path: a file that SQLite has open must not
    be opened and closed beside it, that would release its locks."""
    statx, new_buffer = _statx()
    found = new_buffer(_STATX_BYTES)
    if statx is None or statx(_AT_FDCWD, os.fsencode(path), 0, _STATX_BTIME, found) != 0:
        return ""
    (mask,) = struct.unpack_from("I", found, 0)
    seconds, nanoseconds = struct.unpack_from("qI", found, _BTIME_OFFSET)
    return f"{seconds}.{nanoseconds:09}" if mask & _STATX_BTIME else ""


@cache
def _statx() -> tuple[Any, Any]:
    """The call, None in a C library before it, and what makes room for its answer. Opening the library
    costs more than the call, and each number that is taken asks."""
    import ctypes

    return getattr(ctypes.CDLL(None), "statx", None), ctypes.create_string_buffer


# statx(2): <linux/stat.h>, <fcntl.h>
_AT_FDCWD = -100
_STATX_BTIME = 0x800
_STATX_BYTES = 256
_BTIME_OFFSET = 80


def hint_digest(path: str | Path) -> str:
    """The hint in the form that events carry: the machine id in it is confidential
    (machine-id(5)), and events travel. Raises OSError."""
    return sha256(file_hint(path).encode()).hexdigest()


def same_place(known: str, seen: str) -> bool:
    """Whether two hints speak of one place. An empty one is not known yet and matches all; where one
    was taken without the inode's birth, the rest is compared."""
    fields = min(known.count("|"), seen.count("|")) + 1
    return not known or not seen or known.split("|")[:fields] == seen.split("|")[:fields]
