"""From ``store.url`` to a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cxlocal.address import public_address
from cxlocal.config.types import SecretSource
from cxlocal.errors import ConfigError, NotSignedIn, Refused
from cxlocal.exchange.agreed import unagreed
from cxlocal.exchange.destination import EMBEDDED, destination
from cxlocal.exchange.store import Store
from cxlocal.processes.environment import STORE, STORE_CUT
from cxlocal.text import quoted
from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from cxlocal.config.settings import Settings, Token
    from cxlocal.config.types import Config

STORE_TOKEN = "[store] token"


def is_own(url: str | None) -> bool:
    """Whether ``url`` names a file in the home folder: a store nobody else can use, and which goes
    when the home goes."""
    address = url or EMBEDDED
    return address.startswith(EMBEDDED) and not address.startswith(("sqlite:/", "sqlite:%2f"))


RESERVE = 3
"""Numbers that a kept machine holds unless cx.toml says otherwise."""


def reserve_size(config: Config, settings: Settings) -> int:
    """How many numbers a kept machine holds: what cx.toml says, or ``RESERVE``, or none where the store
    is its own, which is here whenever the machine is; at least as many as it lends."""
    said = config.version.reserve
    usual = 0 if is_own(settings.store_url) else RESERVE
    return max(usual if said is None else said, settings.store_lends)


class Access(NamedTuple):
    """What opening a store takes from whoever asks."""

    settings: Settings
    stores: Mapping[str, Any]
    """Classes taking (url, home) by URL scheme, as the hook ``cxlocal_register_stores`` gave them."""
    home: Path
    environ: Mapping[str, str]
    folder: Path
    """Where relative files and commands of the settings start."""


def open_store(access: Access, url: str | None = None) -> Store:
    """The store at ``url``, which a person has just named, or the one the settings name; that of
    this machine where neither does. Nothing is reached yet.

    Raises ConfigError for a scheme nobody registered, Refused for an address that only a
    repository names, and NotSignedIn for one that a run around us gave without its password.
    """
    address = url or access.settings.store_url or EMBEDDED
    if not url and access.environ.get(STORE_CUT) == address:
        raise NotSignedIn(
            f"this stage has the address of the store without its password: {address}",
            why="a stage is told no secret that it does not list, and the password lets everybody who has"
            " it do everything at the store",
            hint=f"pass_env = ['{STORE}'] in cx.toml gives it to a stage whose commands need the store;"
            " or keep the password out of the address (see docs/postgresql.md)",
            name="store-password-cut",
        )
    factory = _factory(access, address)
    if not url:
        require_agreed(access)
    store: Store = factory(address, access.home)
    _sign_in(access, store, address, access.settings.store_tokens)
    return store


def open_lender(access: Access) -> Any:
    """The machine that lends numbers (``cxlocal.allocation.borrower.Lender``); nothing is reached
    yet. Raises ConfigError for what is no address of one, and Refused as ``open_store``."""
    url = access.settings.store_lender
    if not url.startswith(("http:", "https:")):
        raise ConfigError(
            f"{public_address(url)!r} is no address of a machine that lends numbers",
            why="numbers are lent over HTTPS",
            hint="set [store] lender to the address that 'cxlocal serve --lend' prints there",
            name="bad-lender",
        )
    factory = _factory(access, url)
    require_agreed(access, "store.lender")
    lender = factory(url, access.home)
    _sign_in(access, lender, url, access.settings.lender_tokens)
    return lender


def require_agreed(access: Access, key: str = "store.url") -> None:
    """Raise Refused where only a repository names the address, and nobody agreed to it here: until
    then nothing goes there, and no number is taken from another store instead."""
    found = unagreed(access.settings, access.environ, access.home, key)
    if not found:
        return
    raise Refused(
        f"nobody has agreed here to the store that cx.toml names: {found}",
        why="whoever writes a repository must not decide where this machine sends its history and"
        " tokens, or who counts its versions",
        hint="cxlocal trust   shows what it is and asks; with a code: cxlocal store join"
        f" {quoted(found)} --code CODE; to begin it: cxlocal store create {quoted(found)}; in CI: CXLOCAL_STORE={quoted(found)}",
        name="not-agreed",
        address=found,
    )


def _factory(access: Access, address: str) -> Any:
    factory = access.stores.get(address.partition(":")[0])
    if factory is None or ":" not in address:
        raise ConfigError(
            f"no store speaks {public_address(address)!r}",
            why=f"there are stores for {', '.join(f'{name}:' for name in sorted(access.stores))}",
            hint="set [store] url in cx.toml or cx.local.toml, such as 'sqlite:///srv/cx/store.db';"
            " without it this machine has a store of its own",
            name="unknown-store",
        )
    return factory


def _sign_in(access: Access, store: Store, address: str, tokens: tuple[Token, ...]) -> None:
    """Let the store read the token that was written beside its address, at the first request."""
    sign_in = getattr(store, "sign_in", None)
    source = None if sign_in is None else _token_source(access, address, tokens)
    if sign_in is not None and source is not None:
        sign_in(lambda: _read_token(access, source))


def _token_source(
    access: Access, address: str, tokens: tuple[Token, ...]
) -> Mapping[str, Any] | None:
    """The source that belongs to exactly this address; None leaves it to the token that this machine
    was given when it joined."""
    from cxlocal.config.agreement import read

    wanted = destination(address, access.environ, access.home)
    unset: Mapping[str, Any] | None = None
    for token in tokens:
        if destination(token.url, access.environ, access.home) != wanted:
            continue
        if token.origin == "cx.toml":
            # Of a checkout only a variable counts, if it was shown to whoever agreed to the address.
            # One that is not set is only named, where no other token is found.
            if not access.environ.get(str(token.source.get("env"))):
                unset = token.source
                continue
            entry = read(access.home).addresses.get(wanted)
            if entry is not None and entry.get("token") != token.source:
                continue
        return token.source
    return unset


def _read_token(access: Access, source: Mapping[str, Any]) -> str:
    from cxlocal.secrets import resolve

    named = {STORE_TOKEN: SecretSource(**source)}
    return resolve(named, [STORE_TOKEN], environ=access.environ, folder=access.folder)[STORE_TOKEN]
