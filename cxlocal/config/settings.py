"""How this machine takes part: store, home, jobs, output, mirrors, sources of secrets.

Precedence, highest first: a flag of the command, a ``CXLOCAL_*`` variable, ``cx.local.toml``,
``cx.toml``, the file of the user, the default. Every value has an origin, which ``cxlocal config
show --origin`` prints. What a release *is* stands in ``cx.toml`` of the revision alone, and nothing
here can change it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from cxlocal.config import types
from cxlocal.config.check_sinks import check_sink
from cxlocal.config.given import sinks_of, source_of
from cxlocal.config.load import CHOICES, read_local
from cxlocal.config.locate import expand, user_file
from cxlocal.config.problems import Where, problem, suggestion
from cxlocal.domain import SINK_KINDS
from cxlocal.errors import ConfigError, UsageError
from cxlocal.text import parse_duration
from cxlocal.values import NamedTuple

VARIABLES = {
    "CXLOCAL_HOME": "home",
    "CXLOCAL_STORE": "store.url",
    "CXLOCAL_STORE_TOKEN": "store.token",
    "CXLOCAL_PATIENCE": "store.patience",
    "CXLOCAL_LENDER": "store.lender",
    "CXLOCAL_LENDER_TOKEN": "store.lender_token",
    "CXLOCAL_JOBS": "jobs",
    "CXLOCAL_OUTPUT": "output",
    **{f"CXLOCAL_SINK_{kind.upper()}": f"sinks.{kind}" for kind in SINK_KINDS},
}
"""The variables that set something, and what they set."""

DEFAULTS: dict[str, Any] = {
    "home": None,
    "store.url": "",
    "store.token": None,
    "store.patience": "60s",
    "store.lender": "",
    "store.lender_token": None,
    "store.lends": 0,
    "output": "table",
    "scm.mirrors": (),
    "sinks.hold": "7d",
    "pages.zone": "",
}
"""What holds when nobody said anything. ``jobs`` is the number of processors."""


class Token(NamedTuple):
    """Where the credential for one address comes from."""

    url: str
    """It is used for this address and no other, whoever named that."""
    source: dict[str, Any]
    """As secrets have them."""
    origin: str


class Settings(NamedTuple):
    """The effective values."""

    store_url: str
    """Empty: the store of this machine alone."""
    store_tokens: tuple[Token, ...]
    """Highest first."""
    store_patience_seconds: int
    store_lender: str
    """Empty: nobody lends numbers to passing machines."""
    lender_tokens: tuple[Token, ...]
    """Highest first."""
    store_lends: int
    """Numbers to hold for each line at least, so that some can be lent."""
    home: str | None
    """Absolute; None is the place the platform suggests."""
    jobs: int
    output: str
    mirrors: tuple[str, ...]
    """Paths and URLs of repositories; relative paths are already made absolute."""
    zone: str
    """Of the times on pages; empty: that of the machine."""
    secrets: dict[str, dict[str, Any]]
    """Name to source."""
    sinks: dict[str, list[types.SinkTo]]
    """Kind of record to where it goes."""
    sinks_hold_seconds: int
    origins: dict[str, str]
    """Key (``store.url``, ``secrets.DEPLOY_TOKEN``) to where its value comes from."""


TOKENS = {"store.url": "store.token", "store.lender": "store.lender_token"}
"""Addresses, and the key of the credential that is written beside them."""


class _Layer(NamedTuple):
    origin: str
    values: Mapping[str, Any]


def settings(
    config: types.Config | None,
    *,
    local: str | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The effective values for a project.

    ``local`` is a ``cx.local.toml`` that counts (``cxlocal.revision.local_file``), ``flags`` are
    those of the command by key (``jobs``, ``store.url``), None where not given. Raises ConfigError.
    """
    layers = [
        _Layer("flag", {key: one for key, one in (flags or {}).items() if one is not None}),
        _from_environment(environ),
        *_local_layers(local, environ),
    ]
    if config is not None:
        # cx.toml ranks above the file of the user, which is the last of the layers so far.
        personal = [layers.pop()] if layers[-1].origin == "user file" else []
        layers += [_Layer("cx.toml", _shared(config)), *personal]
    layers.append(_Layer("default", {**DEFAULTS, "jobs": processors()}))
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        for key, value in layer.values.items():
            if key not in merged:
                merged[key], origins[key] = value, layer.origin
    tokens = {address: _tokens(layers, address, key) for address, key in TOKENS.items()}
    return Settings(
        store_url=merged["store.url"],
        store_tokens=tokens["store.url"],
        store_patience_seconds=parse_duration(merged["store.patience"]),
        store_lender=merged["store.lender"],
        lender_tokens=tokens["store.lender"],
        store_lends=merged["store.lends"],
        home=merged["home"],
        jobs=merged["jobs"],
        output=merged["output"],
        mirrors=tuple(merged["scm.mirrors"]),
        zone=merged["pages.zone"],
        secrets={
            key.removeprefix("secrets."): value
            for key, value in merged.items()
            if key.startswith("secrets.")
        },
        sinks={kind: merged[f"sinks.{kind}"] for kind in SINK_KINDS if f"sinks.{kind}" in merged},
        sinks_hold_seconds=parse_duration(merged["sinks.hold"]),
        origins=origins,
    )


def _tokens(layers: list[_Layer], address: str, key: str) -> tuple[Token, ...]:
    found: list[Token] = []
    for layer in layers:
        source = layer.values.get(key)
        if source is None:
            continue
        if not layer.values.get(address):
            # In the files the keys are checked where they are read.
            beside = next(name for name, one in VARIABLES.items() if one == address)
            raise ConfigError(
                f"{beside}_TOKEN is set, and {beside} is not",
                why="a token goes to the address that is named beside it, and to no other",
                hint=f"set {beside} to that address, or unset {beside}_TOKEN",
                name="token-without-address",
            )
        found.append(Token(layer.values[address], source, layer.origin))
    return tuple(found)


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; macOS has no such thing
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _from_environment(environ: Mapping[str, str]) -> _Layer:
    """The variables, checked as the same keys are in a file."""
    found: dict[str, Any] = {}
    for variable, key in VARIABLES.items():
        text = environ.get(variable, "")
        if text:
            found[key] = _variable(variable, key, text)
    return _Layer("environment", found)


def _variable(variable: str, key: str, text: str) -> Any:
    where = Where(variable)
    if key == "home":
        return os.path.abspath(text)
    if key in TOKENS.values():
        return {"env": variable}
    if key == "jobs":
        if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 256):
            raise problem(where, f"{text!r} is not a number from 1 to 256", key=key)
        return int(text)
    if key == "store.patience":
        try:
            parse_duration(text)
        except UsageError as error:
            raise problem(where, error.what, hint=error.hint, key=key) from None
    if key.startswith("sinks."):
        sink = types.SinkTo(to=text)
        check_sink(sink, where, key.removeprefix("sinks."))
        return [sink]
    if key == "output" and text not in CHOICES["output"]:
        hint = suggestion(text, CHOICES["output"], what="form")
        raise problem(where, f"{text!r} is no form of output", hint=hint, key=key)
    return text


def _local_layers(local: str | None, environ: Mapping[str, str]) -> list[_Layer]:
    """``cx.local.toml`` and the file of the user, as far as they are there."""
    files = [("cx.local.toml", local)] if local else []
    personal = user_file(environ)
    if personal:
        files.append(("user file", personal))
    return [
        _Layer(origin, _own(read_local(path), os.path.dirname(path), environ))
        for origin, path in files
        if os.path.isfile(path)
    ]


def _own(local: types.LocalConfig, folder: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The keys a file of this machine sets."""
    found = {
        "home": None if local.home is None else expand(local.home, folder, environ),
        "jobs": local.jobs,
        "output": local.output,
        "store.url": local.store.url,
        "store.token": _source(local.store.token),
        "store.patience": local.store.patience,
        "store.lender": local.store.lender,
        "store.lender_token": _source(local.store.lender_token),
        "store.lends": local.store.lends,
        "scm.mirrors": tuple(_location(one, folder, environ) for one in local.scm.mirrors) or None,
        "pages.zone": local.pages.zone or None,
    }
    found.update({f"secrets.{name}": source_of(one) for name, one in local.secrets.items()})
    found.update(_sinks(local.sinks))
    return {key: value for key, value in found.items() if value is not None}


def _sinks(sinks: types.Sinks) -> dict[str, Any]:
    found = {f"sinks.{kind}": one for kind, one in sinks_of(sinks).items()}
    return found if sinks.hold is None else {**found, "sinks.hold": sinks.hold}


def _source(source: types.SecretSource | None) -> dict[str, Any] | None:
    return None if source is None else source_of(source)


def _location(text: str, folder: str, environ: Mapping[str, str]) -> str:
    """A path becomes absolute; a URL and the short form ``host:path`` stay."""
    head = text.partition("/")[0]
    return text if ":" in head else expand(text, folder, environ)


def _shared(config: types.Config) -> dict[str, Any]:
    """The keys of ``cx.toml`` that this machine may override."""
    found: dict[str, Any] = {
        f"secrets.{name}": source_of(one) for name, one in config.secrets.items()
    }
    if config.store.url:
        found["store.url"] = config.store.url
    if config.store.token is not None:
        found["store.token"] = source_of(config.store.token)
    if config.store.patience is not None:
        found["store.patience"] = config.store.patience
    if config.store.lender:
        found["store.lender"] = config.store.lender
    if config.store.lender_token is not None:
        found["store.lender_token"] = source_of(config.store.lender_token)
    found |= _sinks(config.sinks)
    if config.pages.zone:
        found["pages.zone"] = config.pages.zone
    if config.defaults.jobs is not None:
        found["jobs"] = config.defaults.jobs
    return found
