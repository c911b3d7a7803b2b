"""From ``store.url`` to a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cxlocal.address import public_address
from cxlocal.config.types import Source
from cxlocal.errors import ConfigError
from cxlocal.exchange.store import Store

EMBEDDED = "sqlite:"
"""Where no store is configured: a file beside the journal."""


STORE_TOKEN = "[store] token"


def is_own(url: str | None) -> bool:
    """Whether ``url`` names a file in the home folder: a store nobody else can use, and which goes
    when the home goes."""
    address = url or EMBEDDED
    return address.startswith(EMBEDDED) and not address.startswith(("sqlite:/", "sqlite:%2f"))


def open_store(
    url: str | None,
    home: Path,
    stores: Mapping[str, Any],
    find_token: Callable[[], str] | None = None,
) -> Store:
    """The store at ``url``; nothing is opened or reached yet.

    ``stores`` maps URL schemes to classes taking (url, home): the merged results of the hook
    ``cxlocal_register_stores``. ``find_token`` reads ``[store] token`` where it is set. Raises
    ConfigError for a scheme nobody registered.
    """
    address = url or EMBEDDED
    scheme = address.partition(":")[0]
    factory = stores.get(scheme)
    if factory is None or ":" not in address:
        raise ConfigError(
            f"no store speaks {public_address(address)!r}",
            why=f"there are stores for {', '.join(f'{name}:' for name in sorted(stores))}",
            hint="set [store] url in cx.toml or cx.local.toml, such as 'sqlite:///srv/cx/store.db';"
            " without it this machine has a store of its own",
            name="unknown-store",
        )
    store: Store = factory(address, home)
    sign_in = getattr(store, "sign_in", None)
    if find_token is not None and sign_in is not None:
        sign_in(find_token)
    return store


def open_lender(
    url: str,
    home: Path,
    stores: Mapping[str, Any],
    find_token: Callable[[], str] | None = None,
) -> Any:
    """The machine at ``url`` that lends numbers (``cxlocal.allocation.borrower.Lender``); nothing is
    reached yet. Raises ConfigError for what is no address of one."""
    if url.startswith(("http:", "https:")):
        return open_store(url, home, stores, find_token)
    raise ConfigError(
        f"{public_address(url)!r} is no address of a machine that lends numbers",
        why="numbers are lent over HTTPS",
        hint="set [store] lender to the address that 'cxlocal serve --lend' prints there",
        name="bad-lender",
    )


def token_finder(
    source: Mapping[str, Any] | None, environ: Mapping[str, str], folder: Path
) -> Callable[[], str] | None:
    """What reads ``[store] token``, at the first request; None where it is not set.

    ``source`` is as in the settings; relative files and commands start at ``folder``.
    """
    if source is None:
        return None

    def find() -> str:
        from cxlocal.secrets import resolve

        named = {STORE_TOKEN: Source(**source)}
        return resolve(named, [STORE_TOKEN], environ=environ, folder=folder)[STORE_TOKEN]

    return find
