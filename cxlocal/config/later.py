"""Keys that belong to a later version of cxlocal, refused by name.

A key that is accepted must be obeyed. These ones are planned, so a person who writes one is told
that, and not that they misspelt it.
"""

from __future__ import annotations

LATER: dict[str, dict[str, str]] = {
    "": {
        "sinks": "sinks for logs, metrics and events",
        "links": "links to logs and metrics elsewhere",
        "approvals": "approvals",
        "freezes": "freezes",
        "emergency": "the emergency policy",
        "gates": "gates in the configuration",
    },
    "deliverable": {"links": "links to logs and metrics elsewhere"},
    "store": {
        "ca": "certificates of a store",
        "client_cert": "certificates of a store",
        "client_key": "certificates of a store",
        "proxy": "proxies on the way to a store",
        "headers": "headers for a store",
        "region": "stores in object storage",
        "endpoint": "stores in object storage",
        "relay": "couriers",
    },
    "stage": {
        "approvals": "approvals",
        "links": "links to logs and metrics elsewhere",
        "when": "conditions of stages",
        "matrix": "matrices of stages",
    },
    "promotion": {"approvals": "approvals", "expires": "promotions that expire"},
    "environment": {
        "mutable": "mutable parts of environments",
        "immutable": "immutable parts of environments",
        "spec": "virtualisation specifications",
        "approvals": "approvals",
        "freezes": "freezes",
        "links": "links to logs and metrics elsewhere",
    },
    "keep": {"caches": "a limit for caches", "events": "removing events"},
    "plugins": {
        "local": "local plugins as a setting",
        "trust": "trust as a setting",
        "paths": "local plugins as a setting",
    },
}
"""Kind of table ("" is the top of the file) -> key -> what it is about."""
