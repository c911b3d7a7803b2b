"""Writes docs/cli.md from the commands themselves; ``--check`` says whether it is up to date.

The help is drawn at 80 columns, whatever the terminal.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cxlocal.commands.root import cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
WIDTH = 80

HEAD = """\
# The command line

This page is made from the commands themselves by `tests/run --write-docs`; a test compares them.

Data goes to standard output, words go to standard error. Commands that list something take
`--json`, `--nl` (JSON, one object a line), `--csv`, `--tsv`, `--fmt NAME` and `--no-headers`; all
forms show the same rows. With `--json` an error is one JSON object on standard error: `error` (a
stable name), `what`, `why`, `hint`, `exit_code`, `data`.

`NO_COLOR` and `FORCE_COLOR` are respected, `--color` wins over both.

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | the work ran and failed |
| 2 | the command or the configuration is wrong |
| 3 | refused by a policy, a gate or the revision rule |
| 4 | not signed in |
| 5 | only the store can answer, and it cannot be reached |
| 6 | done, but not yet synced |
| 7 | the journal is damaged |
| 8 | undecided: a gate had no basis to decide, which never means yes |
| 9 | infrastructure trouble, worth a retry; a bug in cxlocal says so |
| 10 | conflict: two histories claim one thing |
| 128 + n | ended by signal n |
"""


def page() -> str:
    """The whole page."""
    os.environ["COLUMNS"] = str(WIDTH)
    for name in ("NO_COLOR", "FORCE_COLOR"):
        os.environ.pop(name, None)
    settings = {**cli.context_settings, "terminal_width": WIDTH}
    root = click.Context(cli, info_name="cxlocal", **settings)
    return HEAD + "".join(_sections(cli, root))


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"\n## {context.command_path}\n\n```text\n{_help(command, context)}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            settings = {**below.context_settings, "terminal_width": WIDTH}
            yield from _sections(
                below, click.Context(below, info_name=name, parent=context, **settings)
            )


def _help(command: click.Command, context: click.Context) -> str:
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def main(arguments: list[str]) -> int:
    """``--write`` writes the page, ``--check`` compares it; the exit code is 1 if it differs."""
    wanted = page()
    if "--write" in arguments:
        PAGE.write_text(wanted, encoding="utf-8")
        return 0
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    sys.stdout.writelines(
        difflib.unified_diff(
            found.splitlines(True), wanted.splitlines(True), "docs/cli.md", "the commands"
        )
    )
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
