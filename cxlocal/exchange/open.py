"""From ``store.url`` to a store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from cxlocal.address import public_address
from cxlocal.config.types import Source
from cxlocal.errors import ConfigError
from cxlocal.secrets import resolve

if TYPE_CHECKING:
    from pathlib import Path

    from cxlocal.config.settings import Settings
    from cxlocal.exchange.store import Store

EMBEDDED = "sqlite:"
"""Where no store is configured: a file beside the journal."""


STORE_TOKEN = "[store] token"


def is_own(url: str | None) -> bool:
    """Whether ``url`` names a file in the home folder: a store nobody else can use, and which goes
    when the home goes."""
    address = url or EMBEDDED
    return address.startswith(EMBEDDED) and not address.startswith(("sqlite:/", "sqlite:%2f"))


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
    """The store the settings name, or ``url``; that of this machine where neither does. Nothing is
    reached yet. Raises ConfigError for a scheme nobody registered."""
    chosen = access.settings
    address = url or chosen.store_url
    # The token was named for the configured store; no other one shall see it.
    source = chosen.store_token if address == chosen.store_url else None
    return _open(access, address or EMBEDDED, source)


def open_lender(access: Access) -> Any:
    """The machine that lends numbers (``cxlocal.allocation.borrower.Lender``); nothing is reached
    yet. Raises ConfigError for what is no address of one."""
    url = access.settings.store_lender
    if url.startswith(("http:", "https:")):
        return _open(access, url, access.settings.store_lender_token)
    raise ConfigError(
        f"{public_address(url)!r} is no address of a machine that lends numbers",
        why="numbers are lent over HTTPS",
        hint="set [store] lender to the address that 'cxlocal serve --lend' prints there",
        name="bad-lender",
    )


def _open(access: Access, address: str, source: Mapping[str, Any] | None) -> Store:
    factory = access.stores.get(address.partition(":")[0])
    if factory is None or ":" not in address:
        raise ConfigError(
            f"no store speaks {public_address(address)!r}",
            why=f"there are stores for {', '.join(f'{name}:' for name in sorted(access.stores))}",
            hint="set [store] url in cx.toml or cx.local.toml, such as 'sqlite:///srv/cx/store.db';"
            " without it this machine has a store of its own",
            name="unknown-store",
        )
    store: Store = factory(address, access.home)
    sign_in = getattr(store, "sign_in", None)
    if source is not None and sign_in is not None:
        # Read at the first request.
        sign_in(lambda: _token(access, source))
    return store


def _token(access: Access, source: Mapping[str, Any]) -> str:
    named = {STORE_TOKEN: Source(**source)}
    return resolve(named, [STORE_TOKEN], environ=access.environ, folder=access.folder)[STORE_TOKEN]
