"""Delivering to sinks where a command that recorded something ends (``cxlocal.sinks``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.exchange.breaker import why_resting
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.config.settings import Settings
    from cxlocal.config.types import Config
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.manager import Manager
    from cxlocal.journal.file import Journal

WITHOUT_STORE_SECONDS = 1.0
"""What sinks may cost where the store has cost two seconds already: three together (promise P17)."""


class Outlets(NamedTuple):
    """Whose sinks they are; the fields of ``cxlocal.sinks.delivery.Around``."""

    settings: Settings
    config: Config | None
    manager: Manager
    home: Path
    environ: Mapping[str, str]
    folder: Path


def deliver_shortly(journal: Journal, outlets: Outlets, store: Store) -> tuple[str, ...]:
    """What a command does at its end; sentences about what is left. Nothing where no sink is named."""
    if not outlets.settings.sinks:
        return ()
    from cxlocal.sinks.delivery import RUN_SECONDS, Around, deliver, words_of

    seconds = WITHOUT_STORE_SECONDS if why_resting(journal, store.url) else RUN_SECONDS
    return tuple(words_of(deliver(journal, Around(*outlets), seconds, use_breaker=True)))
