"""The tool ``local-service``: an environment on this machine.

A version runs in a virtual environment of its own, made from the wheel of the run, as a process
that answers HTTP on a loopback port. ``state.json`` in the environment's folder says what runs and
what ran before; ``install``, ``process`` and ``web`` care for one version, ``rotate`` puts one in the
place of another, ``tool`` has the verbs.
"""

from __future__ import annotations

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Tool
from cxlocal_plugins.local_service.tool import LocalService


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool ``local-service``."""
    return [LocalService]
