"""Migrations of a database: files in an order, known by name and digest. Pure but for reading the files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from cxlocal.hooks.tool import ToolFailure
from cxlocal.values import NamedTuple

MEANT = re.compile(r"^--\s*cxlocal:\s*destroys\b", re.MULTILINE)
"""The line by which a migration says that it means to destroy what it destroys."""
_QUOTED = re.compile(
    r"--[^\n]*|/\*.*?\*/|[eE]'(?:\\.|''|[^'\\])*'|'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\"|(\$\w*\$).*?\1",
    re.DOTALL,
)
"""Comments, texts, quoted names and bodies of functions: words in them are no statements."""
_ENDS = re.compile(
    r"(BEGIN|COMMIT|END|ROLLBACK|ABORT|START\s+TRANSACTION)\b(?!\s+TO\b)", re.IGNORECASE
)
_DESTROYS = re.compile(
    r"(DROP\s+(TABLE|SCHEMA|DATABASE|VIEW|MATERIALIZED|TYPE|OWNED)|TRUNCATE|DELETE\s+FROM\s+\S+\s*$)\b"
    r"|ALTER\s+TABLE\b.*\bDROP\s+(?!CONSTRAINT|DEFAULT|NOT\b|IDENTITY|EXPRESSION)",
    re.IGNORECASE | re.DOTALL,
)


class Migration(NamedTuple):
    """One file."""

    name: str
    sql: str
    sha256: str

    @property
    def destroys(self) -> list[str]:
        """The statements that take something away and are not said to be meant so."""
        found = [] if MEANT.search(self.sql) else statements(self.sql)
        return [" ".join(one.split())[:100] for one in found if _DESTROYS.match(one)]


def read_migrations(folder: Path) -> list[Migration]:
    """The files ``*.sql`` of a folder; numbers in their names count as numbers. Raises ToolFailure."""
    if not folder.is_dir():
        raise ToolFailure(f"there is no folder of migrations {folder.name}")
    found = []
    for path in sorted(folder.glob("*.sql"), key=lambda path: in_order(path.name)):
        raw = path.read_bytes()
        try:
            found.append(Migration(path.name, raw.decode("utf-8"), sha256(raw).hexdigest()))
        except UnicodeDecodeError as error:
            raise ToolFailure(f"{path.name} is not UTF-8: {error}") from error
    return found


def in_order(name: str) -> list[tuple[int, int, str]]:
    """What names are sorted by: ``2_a`` comes before ``10_a``."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(one), "") if one.isdecimal() else (1, 0, one) for one in parts if one]


class NotAllowed(ToolFailure):
    """Migrations that a rule keeps from being applied; nothing was."""


def pending(
    files: Sequence[Migration], applied: Mapping[str, str], *, out_of_order: bool, ahead: bool
) -> list[Migration]:
    """What is still to be applied, in order; ``applied`` has the digest by name.

    Raises NotAllowed for a file that was changed after it was applied, for what was applied by a newer
    version (``ahead`` lets it be), for a new one that comes before an applied one (``out_of_order`` lets
    it), and for one that would end the transaction it runs in.
    """
    known = {one.name: one for one in files}
    changed = [
        name for name, digest in applied.items() if name in known and known[name].sha256 != digest
    ]
    if changed:
        raise NotAllowed(
            f"{changed[0]} was changed after it was applied; write a new migration instead"
        )
    unknown = sorted(applied.keys() - known.keys(), key=in_order)
    if unknown and not ahead:
        raise NotAllowed(
            f"the database has {unknown[-1]}, which this version does not know (deploy --schema-ahead goes on)"
        )
    last = max(applied, key=in_order, default="")
    found = [one for one in files if one.name not in applied]
    early = [one.name for one in found if last and in_order(one.name) < in_order(last)]
    if early and not out_of_order:
        raise NotAllowed(
            f"{early[0]} is new and comes before {last} (out_of_order = true applies it)"
        )
    for one in found:
        if ends := next((each for each in statements(one.sql) if _ENDS.match(each)), ""):
            raise NotAllowed(
                f"{one.name} has {ends.split()[0]}: each migration is one transaction already"
            )
    return found


def statements(sql: str) -> list[str]:
    """The statements of a file, without comments and with what is quoted left out."""
    bare = _QUOTED.sub(lambda found: " " if found[0].startswith(("--", "/*")) else " '' ", sql)
    return [one.strip() for one in bare.split(";") if one.strip()]
