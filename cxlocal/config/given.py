"""What tables of ``cx.toml`` say, as others keep it. Pure."""

from __future__ import annotations

from typing import Any

from cxlocal.config import types
from cxlocal.domain import SINK_KINDS


def links_of(links: types.Links) -> dict[str, str]:
    """The templates that are given, by kind."""
    pairs = {"commit": links.commit, "ticket": links.ticket, "log": links.log,
             "metric": links.metric}  # fmt: skip
    return {kind: template for kind, template in pairs.items() if template}


def sinks_of(sinks: types.Sinks) -> dict[str, list[types.SinkTo]]:
    """Where each kind of record goes, as far as that is said."""
    found = {kind: getattr(sinks, kind) for kind in SINK_KINDS}
    return {
        kind: one if isinstance(one, list) else [one]
        for kind, one in found.items()
        if one is not None
    }


def source_of(one: types.SecretSource) -> dict[str, Any]:
    """A secret's source in the form that the plan keeps: ``{"env": "DEPLOY_TOKEN"}``."""
    pairs = {"env": one.env, "cmd": one.cmd, "file": one.file, "keyring": one.keyring}
    return {key: value for key, value in pairs.items() if value is not None}
