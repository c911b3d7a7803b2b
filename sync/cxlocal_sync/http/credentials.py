"""What a machine needs to be let in by a store: member, token, the authority of its certificate.

One file in the home folder, mode 0600, one entry for each address. A token stands here and in the
header of a request, nowhere else: not in the journal, not in a log, not among arguments.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from cxlocal.errors import NotSignedIn, Trouble
from cxlocal.files import write_whole
from cxlocal.private import make_home

FILE_NAME = "credentials.json"
OTHERS = 0o077
"""Rights of anybody but the owner."""


class Credential(NamedTuple):
    """What one store is told."""

    member: str
    token: str
    authority: str = ""
    """PEM text of the one certificate authority to trust for this store; empty: the system's."""


def read_credential(home: Path, url: str) -> Credential | None:
    """The entry for ``url``, or None. Raises NotSignedIn where others may read the file."""
    found = _read(home / FILE_NAME).get(url)
    if found is None:
        return None
    return Credential(found["member"], found["token"], found.get("authority", ""))


def keep_credential(home: Path, url: str, credential: Credential) -> None:
    """Write the entry for ``url``, durable when this returns."""
    _write(home, {**_read(home / FILE_NAME), url: credential._asdict()})


def forget_credential(home: Path, url: str) -> None:
    """Take the entry for ``url`` out, if there is one."""
    entries = _read(home / FILE_NAME)
    if entries.pop(url, None) is not None:
        _write(home, entries)


def _write(home: Path, entries: dict[str, Any]) -> None:
    make_home(home)
    write_whole(home / FILE_NAME, json.dumps(entries, indent=1))


def _read(path: Path) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            entries = json.load(file)
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise Trouble(
            "the file with the machine's tokens cannot be read",
            why=f"{path}: {error}",
            hint=f"remove {path} and enrol anew: cxlocal store join URL --code CODE",
            name="credentials",
        ) from error
    if mode & OTHERS:
        raise NotSignedIn(
            "others on this machine may read the file with the machine's tokens",
            why=f"{path} has mode {mode & 0o777:04o}",
            hint=f"chmod 600 {path}",
            name="credentials-open",
        )
    return entries if isinstance(entries, dict) else {}
