"""Every command of cxlocal: its name, where it is, one sentence, and its section in the help.

Plain data, so that ``--help``, completion and "did you mean" import no command module. A command
stands here when it is built, and not before; the docstring of the command begins with the same
sentence (a test compares them).
"""

from __future__ import annotations

from typing import NamedTuple

SECTIONS = ("Start", "Release", "Look", "Places and copies", "Journal", "Set-up")


class Row(NamedTuple):
    """One command: ``target`` is ``module:attribute`` below ``cxlocal.commands``."""

    name: str
    target: str
    help: str
    section: str


# One row a line, in the order of the help. `target` is looked up in cxlocal.commands.
# fmt: off
ROWS = (
    Row("completion", "completion:completion", "Print the completion script of a shell.", "Set-up"),
)
# fmt: on

COMMANDS = {row.name: row for row in ROWS}
