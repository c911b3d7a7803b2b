"""How a run looks on a terminal and in a CI log.

One line for each stage when it has ended, with a mark and a word (never colour alone), its time,
and for a failure the last lines of its log and where the rest is. What stages print is shown with
``-v``; without it the log files have it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.commands.terminal import Progress, harmless, say, warn, warn_once
from cxlocal.runner.voice import NUMBER_FROM, Ending, Opening
from cxlocal.text import duration_text

if TYPE_CHECKING:
    from cxlocal.processes.echo import Echo

MARKS = {"success": "✓", "failure": "✗", "error": "!", "cancel": "–"}
WORDS = {"success": "done", "failure": "failed", "error": "error", "cancel": "cancelled"}
COLORS = {"success": "green", "failure": "red", "error": "yellow", "cancel": "yellow"}

TAIL_LINES = 15
"""Of a failed stage's log."""

SHOWN_FILES = 3
"""Names of uncommitted files; the rest is a count."""

VERBS = {"rehearsal": "Rehearsing", "drill": "Rehearsing an outage of"}


class TerminalVoice:
    """Says what the engine reports, on standard error."""

    def __init__(self, verbosity: int) -> None:
        self._verbosity = verbosity
        self._progress = Progress()
        self._running: list[str] = []
        self._width = 8
        self._unicode = _can_show("✓–…")

    def opening(self, said: Opening) -> None:
        """The block at the start."""
        self._width = max((len(name) for name in said.stages), default=8)
        verb = VERBS.get(said.kind, "Releasing")
        verb = "Going on with" if said.resumed else verb
        own = said.how == "online" and said.own_store
        how = NUMBER_FROM.get("own" if own else said.how, said.how)
        say(f"{verb} {said.title} {said.version}  ({how})")
        if said.how in ("reserve", "lent", "suffix") and said.why_offline:
            say(f"  store     {said.why_offline}")
        if said.how in ("reserve", "lent"):
            say(
                "  number    held for days like this; a reserve lies ahead of what the store counts, so"
            )
            say("            that nobody gets one of its numbers; those it passes over are skipped")
        branch = f" on {said.branch}" if said.branch else ""
        say(f"  commit    {said.commit[:12]}{branch}: {harmless(said.subject)}")
        if said.final_of:
            say(f"  final of  {harmless(said.final_of)}")
        if said.proof:
            say(f"  pushed    {said.proof}")
        if said.changes:
            say(f"  changes   {said.changes}")
        if said.uncommitted:
            say(f"  left out  {_files(said.uncommitted)}, not committed: not in this release")
        if said.absent:
            say(f"  left out  {_files(said.absent)}: update = none in .gitmodules")
        for name, why in said.withheld:
            say(f"  left out  {name}: {why}")
        if said.kind != "release":
            say(
                "  outside   'git push' from here leads nowhere; what a command sends in another way"
            )
            say("            (git send-pack, a network of its own) or changes on this machine,")
            say("            a rehearsal cannot hold back")
        if said.kept:
            say(f"  kept      {', '.join(said.kept)} (done before)")
        for words in said.back:
            say(f"  back      {harmless(words)}")
        if said.edited:
            say(
                "  plan      as it was when the run began: the cx.toml here is another, and what was"
            )
            say("            changed in it is not part of this run")
        say(f"  run       {said.run}")

    def started(self, name: str, attempt: int) -> None:
        """A stage runs now."""
        self._running.append(name)
        again = f" (attempt {attempt})" if attempt > 1 else ""
        say(f"  > {name}{again}", verbosity=1)
        self._show_running()

    def ended(self, said: Ending) -> None:
        """The line of a stage."""
        if said.name in self._running:
            self._running.remove(said.name)
        self._progress.clear()
        mark = MARKS[said.outcome] if self._unicode else said.outcome[0].upper()
        line = f"  {mark} {said.name:<{self._width}}  {WORDS[said.outcome]:<9}"
        line += f"  {duration_text(said.seconds)}"
        tail = self._tail(said) if said.outcome in ("failure", "error") and said.last else []
        first, *rest = said.reason.splitlines() or [""]
        if first:
            line += f"  {harmless(first)}"
        if not said.last:
            line += "; trying again"
        say(line, color=COLORS[said.outcome])
        # What the log says itself is not said twice.
        shown = "\n".join(tail)
        for more in rest:
            if more.strip() not in shown:
                say(f"      {harmless(more)}")
        for more in said.more:
            say(f"      {harmless(more)}")
        for text in tail:
            say(f"      {text}")
        self._show_running()

    def note(self, text: str) -> None:
        """A line beneath the stages."""
        self._progress.clear()
        say(f"    {harmless(text)}")

    def warn(self, text: str) -> None:
        """A warning."""
        self._progress.clear()
        warn(harmless(text))

    def warn_once(self, text: str) -> None:
        """A warning that this command has not given yet."""
        self._progress.clear()
        warn_once(harmless(text))

    def echo(self, stage: str) -> Echo | None:
        """With ``-v``: every line, the stage's name before it."""
        if self._verbosity < 1:
            return None
        from cxlocal.processes.echo import Echo

        return Echo(sys.stderr.buffer, prefix=stage)

    def _tail(self, said: Ending) -> list[str]:
        """The last lines of the log, unless they were shown already, and where it is."""
        if not said.log:
            return []
        from cxlocal.processes.log import tail

        lines = tail(Path(said.log), TAIL_LINES).splitlines() if self._verbosity < 1 else []
        own = [harmless(line) for line in lines if not line.startswith("[cxlocal] ")]
        return [*(f"| {line}" for line in own), f"log: {said.log}"]

    def _show_running(self) -> None:
        if self._running and self._verbosity == 0:
            self._progress.now(f"    {', '.join(self._running)} …")
        else:
            self._progress.clear()


def _files(names: tuple[str, ...]) -> str:
    shown = ", ".join(harmless(name) for name in names[:SHOWN_FILES])
    more = len(names) - SHOWN_FILES
    return f"{shown} and {more} more files" if more > 0 else shown


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
