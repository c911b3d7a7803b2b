"""Where the journal and what belongs to it live.

``$CXLOCAL_HOME``, else ``home`` of cx.local.toml, else the platform's user data folder with one
sub-folder per machine id, so that a home directory shared by several hosts holds one journal each
(DESIGN §4). The file is always called ``journal.db``: Datasette keys metadata by it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from cxlocal.clock import Ids
from cxlocal.errors import Trouble

FILE_NAME = "journal.db"
STORE_NAME = "store.db"


def home_folder(
    environ: Mapping[str, str], ids: Ids, *, configured: str = "", base: Path | None = None
) -> Path:
    """The folder that holds the journal, logs, artifacts and checkouts. Creates nothing but, on a
    machine without an id of its own, the file that remembers a random one.

    ``configured`` is ``home`` of cx.local.toml; a relative one is taken from ``base``.
    """
    chosen = environ.get("CXLOCAL_HOME") or configured
    if chosen:
        folder = Path(chosen).expanduser()
        return folder if folder.is_absolute() else (base or Path.cwd()) / folder
    root = _user_data_folder(environ)
    return root / machine_folder(root, ids)[:16]


def journal_file(home: Path) -> Path:
    """The journal inside a home folder."""
    return home / FILE_NAME


def _user_data_folder(environ: Mapping[str, str]) -> Path:
    # The rules of platformdirs for one application, without its import on the hot path; a test
    # holds the two equal.
    import sys

    if not environ.get("HOME") and not environ.get("XDG_DATA_HOME"):
        raise Trouble(
            "there is no folder for the journal",
            why="neither CXLOCAL_HOME nor HOME is set",
            hint="set CXLOCAL_HOME to a folder on a local disk",
            name="no-home",
        )
    if sys.platform == "darwin":
        return Path(environ["HOME"]) / "Library" / "Application Support" / "cxlocal"
    data = environ.get("XDG_DATA_HOME", "").strip()
    return (Path(data) if data else Path(environ["HOME"]) / ".local" / "share") / "cxlocal"


def machine_folder(root: Path, ids: Ids) -> str:
    """What tells this machine from another that shares the same home folder.

    The platform's machine id (hashed, as machine-id(5) asks, since the raw value is confidential);
    where there is none, a random id kept in ``root``.
    """
    from hashlib import sha256

    from cxlocal.exchange.hint import machine_id

    raw = machine_id()
    if raw:
        return sha256(b"cxlocal:" + raw.encode()).hexdigest()
    kept = root / "machine-id"
    try:
        return kept.read_text().strip() or _remember(kept, ids.token())
    except FileNotFoundError:
        return _remember(kept, ids.token())


def _remember(path: Path, value: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip() or value
    with os.fdopen(handle, "w") as file:
        file.write(value)
    return value
