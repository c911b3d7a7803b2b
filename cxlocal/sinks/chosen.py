"""Which sinks count on this machine, for what, and who delivers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxlocal.config.agreement import sinks_digest, trusted
from cxlocal.config.given import source_of
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.config.settings import Settings
    from cxlocal.config.types import Config, SecretSource, SinkTo

OF_PROJECT = ("cx.toml", "cx.local.toml")
"""Origins that stand beside one deliverable, and therefore mean its records alone."""


class Target(NamedTuple):
    """One sink that was named: records of one kind to one address."""

    kind: str
    to: str
    options: dict[str, Any]
    token: dict[str, Any] | None
    """Where its credential comes from, as secrets have it."""
    deliverable: str
    """Whose records; empty: of all that the journal holds."""
    all_nodes: bool
    """This machine delivers for all."""
    origin: str
    idle: str = ""
    """Why this machine delivers nothing there; empty when it does."""
    ask: str = ""
    """Where logs can be asked for; empty for nowhere."""
    ask_token: dict[str, Any] | None = None

    @property
    def key(self) -> str:
        """What its cursors are filed under."""
        return f"{self.kind} {self.to}"


NOT_AGREED = "nobody has agreed to it here: cxlocal trust"
BY_ANOTHER = "one machine delivers for all"
COMMAND_TOKEN = "of a cx.toml only a variable counts as token: put it into cx.local.toml"


def targets(
    settings: Settings, config: Config | None, home: Path, environ: Mapping[str, str]
) -> list[Target]:
    """Every sink the settings name. What only a cx.toml names is idle until somebody has agreed."""
    if not settings.sinks:
        return []
    digest = "" if config is None else sinks_digest(config)
    agreed = bool(digest) and digest in trusted(home, environ)
    deliverable = "" if config is None else config.deliverable.name
    found = []
    for kind, each in settings.sinks.items():
        origin = settings.origins[f"sinks.{kind}"]
        for one in each:
            idle = "" if origin != "cx.toml" else _idle(one, agreed=agreed)
            found.append(
                Target(
                    kind, one.to, one.options, _source(one.token),
                    deliverable if origin in OF_PROJECT else "",
                    one.of == "all" and origin != "cx.toml", origin, idle,
                    one.ask or "", _source(one.ask_token),
                )
            )  # fmt: skip
    return found


def _source(one: SecretSource | None) -> dict[str, Any] | None:
    return None if one is None else source_of(one)


def _idle(sink: SinkTo, *, agreed: bool) -> str:
    """Why a sink of cx.toml is not delivered to by this machine."""
    if not agreed:
        return NOT_AGREED
    if sink.of == "all":
        return BY_ANOTHER
    named = [one for one in (sink.token, sink.ask_token) if one is not None]
    return COMMAND_TOKEN if any(one.env is None for one in named) else ""
