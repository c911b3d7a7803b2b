"""Delivering to all sinks of this machine, side by side, in a process that is killed at its limit."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from cxlocal.config.types import SecretSource
from cxlocal.errors import ConfigError, CxError
from cxlocal.exchange.breaker import forget_failure, remember_failure, why_resting
from cxlocal.hooks import registered
from cxlocal.hooks.messages import dump, load, module_path, reference
from cxlocal.hooks.options import check_options
from cxlocal.hooks.sink import Sink
from cxlocal.journal.rebuild import catch_up
from cxlocal.private import FILE
from cxlocal.processes.channel import Channel
from cxlocal.processes.supervisor import Supervisor
from cxlocal.secrets import resolve
from cxlocal.sinks.chosen import BY_ANOTHER, Target, targets
from cxlocal.sinks.cursor import remembered
from cxlocal.sinks.handing import drop_fetched, fetch_logs
from cxlocal.sinks.push import Told
from cxlocal.text import counted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.config.settings import Settings
    from cxlocal.config.types import Config
    from cxlocal.exchange.store import Store
    from cxlocal.hooks.manager import Manager
    from cxlocal.journal.file import Journal

RUN_SECONDS = 1.5
"""What all sinks together may cost the end of a run (promise P17)."""
FETCH_SECONDS = 60.0
COMMAND_SECONDS = 60.0
"""The same for a person who says ``sync``."""
_KILL_SECONDS = 0.3
_WORKER = Path(__file__).with_name("worker.py")


class Delivered(NamedTuple):
    """How it went with one sink."""

    target: Target
    sent: int
    refused: int
    why: str
    """Why something is left, or may be; empty when nothing is."""


class Around(NamedTuple):
    """What delivering takes from whoever asks."""

    settings: Settings
    config: Config | None
    manager: Manager
    home: Path
    environ: Mapping[str, str]
    folder: Path
    """Where relative files and commands of tokens start."""

    def since_ms(self, journal: Journal) -> int:
        """Where a sink that is new begins: milliseconds since 1970 (UTC)."""
        return journal.clock.now_ms() - self.settings.sinks_hold_seconds * 1000

    @property
    def targets(self) -> list[Target]:
        """Every sink that is named."""
        return targets(self.settings, self.config, self.home, self.environ)


def deliver(
    journal: Journal, around: Around, seconds: float, *, use_breaker: bool,
    store: Store | None = None,
) -> list[Delivered]:  # fmt: skip
    """Deliver what waits, for so many seconds in all; what became of each sink, also of those that
    are idle. Raises nothing of a sink.

    ``use_breaker``: leave those alone that did not answer within the last minute. ``store``: where
    the logs of other machines are, for a sink that this machine delivers to for all.
    """
    wanted = around.targets
    idle = [Delivered(one, 0, 0, one.idle) for one in wanted if one.idle and one.idle != BY_ANOTHER]
    active = [one for one in wanted if not one.idle]
    if not active:
        return idle
    lock = FileLock(f"{journal.path}.sinks.lock", timeout=0, mode=FILE, fallback_to_soft=False)
    try:
        with lock:
            catch_up(journal)
            if store is not None:
                fetch_logs(journal, store, active, around.since_ms(journal), FETCH_SECONDS)
            done = _deliver(journal, around, active, seconds, use_breaker)
            if not any(one.why for one in done):
                drop_fetched(journal)
            return idle + done
    except Timeout:
        return idle + [Delivered(one, 0, 0, "another command is delivering") for one in active]


def _deliver(
    journal: Journal, around: Around, active: Sequence[Target], seconds: float, use_breaker: bool
) -> list[Delivered]:
    began = journal.clock.monotonic()
    done: list[Delivered] = []
    asked: list[tuple[Target, dict[str, Any]]] = []
    classes = registered.sinks(around.manager)
    for one in active:
        resting = why_resting(journal, remembered(one)) if use_breaker else ""
        if resting:
            done.append(Delivered(one, 0, 0, resting))
            continue
        try:
            asked.append((one, _request(around, one, classes)))
        except CxError as problem:
            why = f"{problem.what}: {problem.why}" if problem.why else problem.what
            done.append(Delivered(one, 0, 0, why))
    if not asked:
        return done
    catch_up(journal)
    left = max(0.0, seconds - (journal.clock.monotonic() - began))
    told = _in_process(journal, around, [request for _, request in asked], left)
    for index, (one, _) in enumerate(asked):
        found = told.get(index) or Told(why="it did not answer in time")
        if found.why and not found.sent:
            remember_failure(journal, remembered(one), found.why)
        elif not found.why:
            forget_failure(journal, remembered(one))
        done.append(Delivered(one, *found))
    return done


def _request(around: Around, target: Target, classes: Mapping[str, type[Sink]]) -> dict[str, Any]:
    """What the process is told of a sink. Raises CxError for an address nobody serves, for options
    that are none, and where the token cannot be had."""
    kind = class_for(target, classes)
    token = credential(around, target.token, f"[sinks] {target.kind} token")
    code: bytes = getattr(sys.modules.get(kind.__module__), "__cxlocal_source__", b"")
    return {
        "class": reference(kind), "source": code.decode(), "target": list(target), "token": token,
    }  # fmt: skip


def credential(around: Around, source: dict[str, Any] | None, name: str) -> str:
    """What a token's source gives; empty where none is named. Raises CxError."""
    if source is None:
        return ""
    named = {name: SecretSource(**source)}
    return resolve(named, [name], environ=around.environ, folder=around.folder)[name]


def class_for(target: Target, classes: Mapping[str, type[Sink]]) -> type[Sink]:
    """What delivers to a target, its options checked. Raises ConfigError."""
    kind = classes.get(target.to.partition(":")[0])
    if kind is None or target.kind not in kind.takes:
        fitting = sorted(name for name, one in classes.items() if target.kind in one.takes)
        raise ConfigError(
            f"no sink takes {target.kind} to {target.to!r}",
            why=f"there are {', '.join(f'{name}:' for name in fitting)}",
            hint="correct [sinks] (docs/sinks.md)",
            name="unknown-sink",
        )
    check_options(kind, target.options, where=f"[sinks] {target.kind}")
    return kind


class _Silent:
    """Takes what a sink prints: it is nobody's business, and no part of any log."""

    def write(self, chunk: bytes) -> None:
        """Take output."""


def _in_process(
    journal: Journal, around: Around, sinks: Sequence[dict[str, Any]], seconds: float
) -> dict[int, Told]:
    told: dict[int, Told] = {}

    def hear(line: bytes) -> None:
        try:
            index, sent, refused, why = load(line)
            told[int(index)] = Told(int(sent), int(refused), str(why))
        except (ValueError, TypeError):
            return  # whoever says nothing that can be read did not answer

    channel = Channel(hear)
    request = {
        "path": module_path(), "journal": str(journal.path), "home": str(journal.home),
        "seconds": max(0.0, seconds - _KILL_SECONDS),
        "since_ms": around.since_ms(journal), "sinks": list(sinks),
    }  # fmt: skip
    channel.send(dump(request))
    with Supervisor(journal.clock, journal.ids) as supervisor:
        supervisor.start(
            [sys.executable, "-P", "-E", str(_WORKER), *map(str, channel.passed)],
            cwd=journal.home, env=around.environ, sink=_Silent(), timeout_seconds=seconds,
            control=channel, grace_seconds=0.0,
        )  # fmt: skip
        while supervisor.children:
            supervisor.wait(None)
    return told


def words_of(done: Sequence[Delivered]) -> list[str]:
    """What is to be said: of each sink that did not take everything why."""
    found = []
    for one in done:
        if one.why:
            found.append(f"{one.target.kind} wait for {one.target.to}: {one.why}")
        if one.refused:
            refused = counted(one.refused, "record")
            found.append(f"{one.target.to} refused {refused} for good; 'cxlocal sinks' says why")
    return found
