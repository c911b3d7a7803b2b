"""What the log of a server says: one line for each thing that an operator wants to know of later.

A line is a time, a word and facts: ``2026-11-30T08:00:00Z joined member=build-server by=10.0.0.7``. No
secret is among them: neither token nor code ever gets here. Whatever others wrote stands in one line.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cxlocal.clock import Clock
from cxlocal.text import clean_text, shorten, utc_text
from cxlocal_sync.http.limits import Rate
from cxlocal_sync.http.members import Happened

WORDS_MAX = 300
"""Of one fact."""
REFUSALS_PER_SECOND = 0.1
REFUSALS_BURST = 20
"""Refusals of one sender that get a line: who is refused without end must not fill the disk."""

log = logging.getLogger("cxlocal.server")


def log_to_stderr() -> None:
    """Let lines of every kind come out, as they are; for the process that is the server."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


class Diary:
    """Writes the lines of one server. Safe to use from several threads."""

    def __init__(self, clock: Clock, write: Callable[[str], None] = log.info) -> None:
        self._clock = clock
        self._write = write
        self._lock = threading.Lock()
        self._stops: dict[tuple[str, str], str] = {}
        self._refusals = Rate(clock, REFUSALS_PER_SECOND, REFUSALS_BURST)
        self._silenced: dict[str, int] = {}

    def say(self, what: str, /, **facts: object) -> None:
        """One line; facts that are empty are left out."""
        self._say(utc_text(self._clock.now_ms()), what, facts)

    def _say(self, at: str, what: str, facts: Mapping[str, object]) -> None:
        told = [
            f"{name}={_word(value)}" for name, value in facts.items() if value not in ("", None)
        ]
        self._write(" ".join([at, what, *told]))

    def tell(self, happened: Iterable[Happened]) -> None:
        """What happened to members."""
        for each in happened:
            facts = {"member": each.member, "by": each.by, "more": each.more}
            self._say(each.at, each.what, facts)

    def stops(self, told: Iterable[Mapping[str, Any]]) -> None:
        """Why the store hands out no numbers, as it says now: what is new, and what has ended."""
        now = {(str(one["deliverable"]), str(one["cause"])): str(one["why"]) for one in told}
        with self._lock:
            before, self._stops = self._stops, now
        for (deliverable, cause), why in now.items():
            if (deliverable, cause) not in before:
                self.say("stopped", deliverable=deliverable, cause=cause, why=why)
        for deliverable, cause in before.keys() - now.keys():
            self.say("goes-on", deliverable=deliverable, cause=cause)

    def refused(self, sender: str, name: str, what: str, **facts: object) -> None:
        """A request that was refused, by whom or from where it came."""
        with self._lock:
            if self._refusals.left(sender) < 1:
                self._silenced[sender] = self._silenced.get(sender, 0) + 1
                if len(self._silenced) > SENDERS_MAX:
                    self._silenced.clear()
                return
            self._refusals.spend(sender)
            silenced = self._silenced.pop(sender, None)
        facts = {"by": sender, "why": what, **facts, "unlogged_before": silenced}
        self.say("refused", name=name, **facts)


SENDERS_MAX = 10_000
"""Senders whose unlogged refusals are counted; then all are counted anew."""


def _word(value: object) -> str:
    text = shorten(clean_text(str(value)), WORDS_MAX)
    plain = text and all(char.isalnum() or char in "-._:/@*+," for char in text)
    return text if plain else json.dumps(text)
