"""What this machine shows to stores that somebody serves: tokens, in one file of the home that is its
owner's alone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cxlocal.errors import NotSignedIn, Trouble
from cxlocal.files import write_whole
from cxlocal.private import make_home
from cxlocal.values import NamedTuple

FILE_NAME = "credentials.json"
OTHERS = 0o077
"""Rights of anybody but the owner."""


class Credential(NamedTuple):
    """What one store is told."""

    member: str
    token: str
    authority: str = ""
    """PEM text of the one certificate authority to trust for this store; empty: the system's."""
    authority_file: str = ""
    """Where that lay on this machine: for the command that enrols the next one."""


def read_credential(home: Path, url: str) -> Credential | None:
    """The entry for ``url``, or None. Raises NotSignedIn where others may read the file."""
    found = _read(home / FILE_NAME).get(url)
    if found is None:
        return None
    return Credential(
        found["member"], found["token"], found.get("authority", ""),
        found.get("authority_file", ""),
    )  # fmt: skip


def known_authority(home: Path, url: str) -> tuple[str, str]:
    """The authority that this machine trusts already for ``url``, or for another port of its host, and
    where it lay; empty texts for none."""
    entries = _read(home / FILE_NAME)
    host = urlsplit(url).hostname
    near = [entries.get(url, {})]
    near += [each for name, each in entries.items() if urlsplit(name).hostname == host]
    for each in near:
        if each.get("authority"):
            return str(each["authority"]), str(each.get("authority_file", ""))
    return "", ""


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
