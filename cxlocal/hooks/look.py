"""What plugins are, found out without importing them here.

``cxlocal plugins`` is what people call when a plugin has broken everything, so it must survive a
plugin that crashes the interpreter: each is loaded in a process of its own, several at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from cxlocal.clock import Clock
from cxlocal.hooks.manager import LOAD_SECONDS
from cxlocal.hooks.messages import dump, load, module_path
from cxlocal.hooks.plugin_row import PluginRow
from cxlocal.hooks.registered import FORMER, taken_words
from cxlocal.hooks.tool_worker import LOOKER
from cxlocal.processes.channel import Channel
from cxlocal.processes.child import End
from cxlocal.processes.supervisor import Supervisor

_AT_ONCE = 4


class _Look:
    """One plugin being looked at. What it prints while it is imported is nobody's business."""

    def __init__(self, row: PluginRow, trusted: Collection[str]) -> None:
        self.row = row
        self.channel = Channel(self.hear)
        self.answer: Any = None
        folder = str(Path(row.file).parent) if row.origin == "project" else ""
        request = {"look": row.name, "folder": folder, "trusted": sorted(trusted)}
        self.channel.send(dump({"path": module_path(), **request}))

    def write(self, chunk: bytes) -> None:
        """Take output."""

    def hear(self, line: bytes) -> None:
        """Take the answer."""
        try:
            self.answer = load(line)
        except ValueError:
            self.answer = None

    def seen(self, end: End) -> PluginRow:
        """The plugin as it was found, or why it could not be."""
        try:
            if "result" in self.answer:
                found = self.answer["result"]
                listed = {key: tuple(found[key]) for key in ("hooks", "gives")}
                return PluginRow(**{**found, **listed})
            why = str(self.answer["error"]["reason"])
        except (TypeError, KeyError):
            why = f"loading it ended without an answer: {end.words}"
        return self.row._replace(state="broken", error=why)


def look(
    rows: Sequence[PluginRow],
    environ: Mapping[str, str],
    clock: Clock,
    trusted: Collection[str] = (),
) -> list[PluginRow]:
    """The same rows, those of installed and of trusted plugins of the project completed by loading each
    in a process apart. ``trusted``: digests of plugins of projects that may be loaded."""
    waiting = [row for row in rows if row.state == "not loaded"]
    seen: dict[str, PluginRow] = {}
    with Supervisor(clock) as supervisor:
        while waiting or supervisor.children:
            while waiting and len(supervisor.children) < _AT_ONCE:
                one = _Look(waiting.pop(0), trusted)
                supervisor.start_worker(
                    LOOKER,
                    cwd=Path("/"),
                    env=environ,
                    sink=one,
                    timeout_seconds=LOAD_SECONDS,
                    control=one.channel,
                    tag=one,
                    grace_seconds=0.5,
                )
            for end in supervisor.wait(None):
                assert isinstance(end.child.tag, _Look)
                seen[end.child.tag.row.name] = end.child.tag.seen(end)
    return _without_doubles([seen.get(row.name, row) for row in rows])


def _without_doubles(rows: list[PluginRow]) -> list[PluginRow]:
    """Each was looked at alone: what two of them bring belongs to the first. Pure."""
    holders: dict[str, PluginRow] = {}
    found = []
    for row in rows:
        names = [one.partition(FORMER)[0] for one in row.gives]
        doubles = [one for one in names if one in holders]
        if doubles:
            words = taken_words(doubles[0], holders[doubles[0]].file)
            row = row._replace(state="broken", error=words, gives=())
        else:
            holders |= dict.fromkeys(names, row)
        found.append(row)
    return found
