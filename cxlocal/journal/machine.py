"""What this machine says of itself when its chain of events begins."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from cxlocal.events.document import Draft
from cxlocal.events.machines import node_began
from cxlocal.version import VERSION

if TYPE_CHECKING:
    from cxlocal.journal.file import Journal


def host_name() -> str:
    """The name of this host, for people."""
    return os.uname().nodename


def first_event(
    journal: Journal, node: str, *, parent: dict[str, Any] | None = None, cause: str = "first use"
) -> Draft:
    """The event that begins a chain; ``parent`` where it continues another one."""
    from cxlocal.journal.whereabouts import hint_digest

    return node_began(
        node=node,
        kept=not journal.passing,
        host=host_name(),
        platform=f"{sys.platform} {os.uname().machine}",
        cxlocal_version=VERSION,
        hint=hint_digest(journal.path),
        parent=parent,
        cause=cause,
    )


def is_new(journal: Journal) -> bool:
    """Whether nothing was ever said here: somebody has looked, at most."""
    return not journal.node


def goes_away(journal: Journal) -> bool:
    """Whether this journal is that of a machine that goes away."""
    row = journal.one("SELECT kept FROM machine WHERE node = ?", (journal.node,))
    return row is not None and row["kept"] == 0
