"""The plugins that come with cxlocal, as data. They load through the same hooks as anyone else's.

Each row says which hooks a module implements, so that only the modules a command needs are
imported; a test compares the rows with the modules.
"""

from __future__ import annotations

from typing import NamedTuple


class Shipped(NamedTuple):
    """One shipped plugin."""

    name: str
    """What ``-p no:NAME`` and ``[plugins] block`` call it."""
    module: str
    hooks: tuple[str, ...]


SHIPPED: tuple[Shipped, ...] = (
    Shipped("wheel", "cxlocal_plugins.wheel", ("cxlocal_register_tools",)),
    Shipped("pytest", "cxlocal_plugins.pytest_tool", ("cxlocal_register_tools",)),
    Shipped("local-service", "cxlocal_plugins.local_service", ("cxlocal_register_tools",)),
    Shipped("junit", "cxlocal_plugins.junit", ("cxlocal_register_report_readers",)),
    Shipped("ci", "cxlocal_plugins.ci", ("cxlocal_identify_ci",)),
    Shipped("sqlite-store", "cxlocal_sync.plugin", ("cxlocal_register_stores",)),
)
