"""What a person agreed to on this machine: contents by their digest, stores by their whole address.

A checkout is a stranger: what it says about plugins, stores, tokens and this machine is acted upon
only after a person has seen it. One file in the home, ``trust.json``, keeps that. Any change of a
content makes another digest, and the question is asked again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec

from cxlocal.config.given import sinks_of, source_of
from cxlocal.config.types import Config
from cxlocal.errors import ConfigError, Refused, Trouble
from cxlocal.files import open_plain, write_whole
from cxlocal.patterns import compile_late
from cxlocal.private import FILE, make_home
from cxlocal.secrets import files_named
from cxlocal.values import NamedTuple, Protocol

_DIGEST = compile_late(r"sha256:[0-9a-f]{64}")
LOCK_SECONDS = 10
"""What one command does while it holds the list takes milliseconds."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})

Entry = dict[str, Any]


class Agreements(NamedTuple):
    """The list of this machine."""

    trusted: dict[str, Entry]
    """By digest: ``what`` it is of, ``folder`` and time (``at``)."""
    addresses: dict[str, Entry]
    """By whole address (``cxlocal.exchange.destination``): ``token``, the source that was shown with
    it, ``how`` it was agreed to, and time (``at``)."""


def read(home: Path) -> Agreements:
    """What was agreed to on this machine. Raises Trouble."""
    path = _list(home)
    try:
        document = json.loads(path.read_bytes())
        trusted, addresses = (
            {str(key): dict(entry) for key, entry in table.items()}
            for table in (document["trusted"], document.get("addresses", {}))
        )
    except FileNotFoundError:
        return Agreements({}, {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Trouble(
            f"{path} cannot be read",
            why=str(error),
            hint=f"delete {path}; then agree anew: cxlocal trust",
            name="trust-unreadable",
        ) from error
    return Agreements(trusted, addresses)


def trusted(home: Path, environ: Mapping[str, str]) -> frozenset[str]:
    """The digests that were agreed to. Raises ConfigError for a CXLOCAL_TRUST that is none."""
    named = environ.get("CXLOCAL_TRUST", "").replace(",", " ").split()
    for digest in named:
        if not _DIGEST.fullmatch(digest):
            raise ConfigError(
                f"CXLOCAL_TRUST: {digest[:80]!r} is not a digest",
                why="a digest is sha256: and 64 hexadecimal digits",
                hint="cxlocal trust --digest prints the one to put there",
                name="bad-trust",
            )
    return frozenset(named) | read(home).trusted.keys()


def agree(
    home: Path,
    *,
    trusted: Mapping[str, Entry] = _NOTHING,
    addresses: Mapping[str, Entry] = _NOTHING,
) -> None:
    """Add to the list. Raises Trouble."""
    with _alone(home):
        known = read(home)
        _write(home, Agreements({**known.trusted, **trusted}, {**known.addresses, **addresses}))


def remove(home: Path, key: str) -> None:
    """Take a digest or an address back. Raises Refused when it is not on the list."""
    with _alone(home):
        known = read(home)
        if key not in known.trusted and key not in known.addresses:
            raise Refused(
                f"{key} is not trusted here",
                why="the list of this machine does not hold it",
                hint="cxlocal trust --list",
            )
        left = ({one: entry for one, entry in table.items() if one != key} for table in known)
        _write(home, Agreements(*left))


def digest_of(what: str, content: bytes) -> str:
    """The digest under which a content is agreed to; ``what`` tells apart what the same bytes would
    mean."""
    return "sha256:" + hashlib.sha256(f"cxlocal {what} 1\n".encode() + content).hexdigest()


def secrets_digest(config: Config, root: Path) -> str:
    """The digest of where the secrets of a cx.toml come from, with the files of the checkout at
    ``root`` that their commands name; empty where it has none."""
    if not config.secrets:
        return ""
    sources = {name: source_of(one) for name, one in config.secrets.items()}
    files = {word: _digest_of_file(root / word) for word in files_of_secrets(config, root)}
    said = [sources, files]
    return digest_of("secrets", json.dumps(said, sort_keys=True).encode())


LATER = ("ask", "ask_token")
"""What was not always part of a sink: unset it leaves the digest that was agreed to."""


def sinks_digest(config: Config) -> str:
    """The digest of where a cx.toml has logs, figures and events delivered; empty where it says
    nothing of that."""
    found = {
        kind: [
            {
                key: value
                for key, value in msgspec.to_builtins(one).items()
                if value is not None or key not in LATER
            }
            for one in each
        ]
        for kind, each in sinks_of(config.sinks).items()
    }
    return digest_of("sinks", json.dumps(found, sort_keys=True).encode()) if found else ""


class SaidTarget(Protocol):
    """As much of a target as is agreed to, as a cx.toml or a plan has it."""

    @property
    def tool(self) -> str: ...
    @property
    def options(self) -> dict[str, Any]: ...
    @property
    def secrets(self) -> Sequence[str]: ...


def targets_digest(targets: Mapping[str, SaidTarget], sources: Mapping[str, Any]) -> str:
    """The digest of where versions are published to, by which tool and with which secrets; ``sources``: where
    those come from. Empty where there are no targets."""
    if not targets:
        return ""
    said = {
        name: [one.tool, one.options, {secret: sources.get(secret) for secret in one.secrets}]
        for name, one in targets.items()
    }
    return digest_of("targets", json.dumps(said, sort_keys=True, default=str).encode())


def files_of_secrets(config: Config, root: Path) -> list[str]:
    """The files of the checkout that commands of secrets name: nothing else of it is there for those
    that run outside of a run."""
    return files_named((word for one in config.secrets.values() for word in one.cmd or ()), root)


def _digest_of_file(path: Path) -> str:
    """Empty where it went away meanwhile."""
    try:
        with open_plain(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return ""


def secrets_agreed(config: Config, root: Path, home: Path, environ: Mapping[str, str]) -> bool:
    """Whether a command that runs no stages may read the secrets of ``config``."""
    digest = secrets_digest(config, root)
    return not digest or digest in trusted(home, environ)


def _list(home: Path) -> Path:
    return home / "trust.json"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """While the list is read and written again: of two commands that agree at once none loses what
    the other added. Raises Trouble."""
    from filelock import FileLock, Timeout

    path = _list(home).with_suffix(".lock")
    try:
        make_home(home)
        with FileLock(path, timeout=LOCK_SECONDS, mode=FILE, fallback_to_soft=False):
            yield
    except Timeout as error:
        raise Trouble(
            f"{_list(home)} cannot be changed",
            why=f"another command has held {path} for more than {LOCK_SECONDS} seconds",
            hint="wait for it or end it, then run the command again",
            name="trust-locked",
        ) from error
    except OSError as error:
        raise _unwritable(home, error) from error


def _unwritable(home: Path, error: OSError) -> Trouble:
    return Trouble(
        f"{_list(home)} cannot be written",
        why=str(error.strerror),
        hint=f"see who may write to {home}, and whether the disk has room",
    )


def _write(home: Path, known: Agreements) -> None:
    document = json.dumps({"format": 1, **known._asdict()}, indent=1)
    write_whole(_list(home), document + "\n")
