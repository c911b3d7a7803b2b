"""The version that the bytes of an artifact carry, where they say one: a wheel does.

A wheel comes from a build that nobody here wrote: what is read of it is bounded, and whatever is
wrong with it is a reason, not a crash.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from email.message import Message

METADATA_BYTES_MAX = 4 * 1024 * 1024
"""Of a wheel's METADATA; long descriptions of real packages stay below 1 MiB."""


def carried_version(path: Path) -> str:
    """What a file says its version is; empty where it says none."""
    from cxlocal.hooks.tool import ToolFailure

    if path.suffix != ".whl":
        return ""
    try:
        return str(wheel_headers(path).get("Version") or "").strip()
    except ToolFailure:
        return ""


def wheel_headers(path: Path) -> Message[str, str]:
    """The headers of a wheel's METADATA. Raises ToolFailure for what is no wheel."""
    import zipfile
    from email.parser import Parser

    from cxlocal.hooks.tool import ToolFailure

    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                name
                for name in archive.namelist()
                if name.endswith(".dist-info/METADATA") and name.count("/") == 1
            ]
            if len(names) != 1:
                raise ToolFailure(f"{path.name} is not a wheel: it has {len(names)} METADATA files")
            with archive.open(names[0]) as file:
                text = file.read(METADATA_BYTES_MAX).decode("utf-8", "replace")
    # RuntimeError: it is encrypted, or compressed in a way nobody here knows.
    except (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError, OSError) as problem:
        raise ToolFailure(f"{path.name} is not a wheel: {problem or type(problem)}") from problem
    return Parser().parsestr(text, headersonly=True)


def same_version(one: str, other: str) -> bool:
    """Equal as PEP 440 sees it (1.0 is 1.0.0), or letter by letter where one is no such version."""
    from packaging.version import InvalidVersion, Version

    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other
