"""Where the journal and what belongs to it live.

``$CXLOCAL_HOME``, else ``home`` of cx.local.toml, else the platform's user data folder with one
sub-folder per machine id, so that a home directory shared by several hosts holds one journal each. A
home that works with several stores has a journal for each: the first one stands in the home itself,
every further one in a folder of its own. The file is always called ``journal.db``: Datasette keys
metadata by it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cxlocal.clock import Ids
from cxlocal.errors import Trouble
from cxlocal.files import fresh_file, sync
from cxlocal.private import FILE, make_folder
from cxlocal.text import is_hexadecimal

FILE_NAME = "journal.db"
CHECKOUTS = "checkouts"
"""The folder of a home that holds those of runs."""
IN_USE = "in-use"
"""In each of them: locked while a process works there."""
FURTHER = "journals"
"""The folder of a home that holds the folders of its further journals."""
WAY_OUT = (
    "let your user write there, or set CXLOCAL_HOME, or 'home' in cx.local.toml, to a folder on a"
    " local disk that it may write to"
)
"""What helps where the home folder cannot be written."""


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
    """The first journal of a home folder."""
    return home / FILE_NAME


def journal_files(home: Path) -> list[Path]:
    """Every journal that there is in a home folder, the first one first."""
    try:
        names = sorted(os.listdir(home / FURTHER))
    except (FileNotFoundError, NotADirectoryError):
        names = []
    found = [journal_file(home), *(home / FURTHER / name / FILE_NAME for name in names)]
    return [path for path in found if path.exists()]


@contextmanager
def writing_home(home: Path) -> Iterator[None]:
    """Turns the refusal of the system to write in the home folder into a Trouble that names the way
    out. Errors of the disk pass."""
    try:
        yield
    except OSError as problem:
        if problem.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT):
            raise
        raise Trouble(
            "the folder of the journal cannot be written",
            why=f"{problem.strerror}: {os.fsdecode(problem.filename or home)}",
            hint=WAY_OUT,
            name="home-read-only",
        ) from problem


def _user_data_folder(environ: Mapping[str, str]) -> Path:
    # The rules of platformdirs for one application, without its import on the hot path; a test
    # holds the two equal.
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

    from cxlocal.journal.whereabouts import machine_id

    raw = machine_id()
    if raw:
        return sha256(b"cxlocal:" + raw.encode()).hexdigest()
    kept = root / "machine-id"
    with writing_home(root):
        return _read(kept) or _remember(kept, ids.token())


def _read(path: Path) -> str:
    """What the file says; empty where there is none. Raises Trouble for one that says nothing: any
    other id would mean another home, and a history that seems lost."""
    try:
        text = path.read_bytes().decode("ascii", "replace").strip()
    except FileNotFoundError:
        return ""
    if not is_hexadecimal(text, 32):
        raise Trouble(
            f"{path} does not hold an id",
            why="it names the folder of this machine's journal, and was cut off or changed",
            hint="write the 32 hexadecimal digits back into it (folders beside it begin with 16"
            " digits of a hash), or remove it to begin a new journal; CXLOCAL_HOME goes around it",
            name="machine-id-damaged",
        )
    return text


def _remember(path: Path, value: str) -> str:
    """Write ``value`` whole or not at all; of two processes that begin together one wins, and both
    use what it wrote."""
    make_folder(path.parent)
    with fresh_file(path.parent, mode=FILE) as file:
        file.write(value.encode())
        file.flush()
        sync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return _read(path)
    return value
