"""Delivering to sinks where a command that recorded something ends (``cxlocal.sinks``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.errors import CxError, NotSynced
from cxlocal.exchange.breaker import why_resting
from cxlocal.exchange.contact import is_shared
from cxlocal.journal.machine import goes_away
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import counted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.config.settings import Settings
    from cxlocal.config.types import Config
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.manager import Manager
    from cxlocal.journal.file import Journal

WITHOUT_STORE_SECONDS = 1.0
"""What sinks may cost where the store has cost two seconds already: three together (promise P17)."""


LOG_SECONDS = 10.0
"""For the logs that another machine is to deliver."""


class Outlets(NamedTuple):
    """Whose sinks they are; the fields of ``cxlocal.sinks.delivery.Around``."""

    settings: Settings
    config: Config | None
    manager: Manager
    home: Path
    environ: Mapping[str, str]
    folder: Path


def deliver_shortly(journal: Journal, outlets: Outlets, store: Store) -> tuple[str, ...]:
    """What a command does at its end; sentences about what is left. Nothing where no sink is named. A
    machine that goes away says how far it has come."""
    if not outlets.settings.sinks:
        return ()
    from cxlocal.sinks.delivery import RUN_SECONDS, Around, deliver, words_of
    from cxlocal.sinks.handing import handed_draft

    resting = why_resting(journal, store.url)
    seconds = WITHOUT_STORE_SECONDS if resting else RUN_SECONDS
    around = Around(*outlets)
    try:
        done = deliver(journal, around, seconds, use_breaker=True)
        if goes_away(journal) and is_shared(journal):
            journal.append(handed_draft(journal, around.targets, around.since_ms(journal)))
            if not resting:  # before the events, so that who reads those finds the logs
                hand_over_logs(journal, outlets, store, LOG_SECONDS)
    except CxError as problem:
        # How a run went is recorded, and its copies are sent whatever becomes of this.
        return (f"nothing was delivered: {problem.what}",)
    return tuple(words_of(done))


def hand_over_logs(journal: Journal, outlets: Outlets, store: Store, seconds: float) -> None:
    """Bring the store the logs that another machine is to deliver."""
    if not outlets.settings.sinks or not is_shared(journal):
        return
    from cxlocal.sinks.delivery import Around
    from cxlocal.sinks.handing import hand_over

    around = Around(*outlets)
    catch_up(journal)
    hand_over(
        journal, store, around.targets, around.since_ms(journal), seconds,
        leaving=goes_away(journal),
    )  # fmt: skip


def logs_here_alone(journal: Journal, outlets: Outlets) -> NotSynced | None:
    """What a command ends in where this machine goes away with logs that neither a sink nor the
    store has."""
    if not outlets.settings.sinks or not goes_away(journal):
        return None
    from cxlocal.sinks.delivery import Around
    from cxlocal.sinks.handing import left_behind, words_of_logs

    around = Around(*outlets)
    catch_up(journal)
    left = left_behind(journal, around.targets, around.since_ms(journal), leaving=True)
    if not left:
        return None
    return NotSynced(
        f"{counted(len(left), 'log')} will be lost with this machine: {words_of_logs(left)}",
        why="neither a sink nor the store has them: they could not be reached, or they are too large",
        hint="cxlocal sync --require-sync, before this machine goes away",
        name="logs-not-sent",
    )
