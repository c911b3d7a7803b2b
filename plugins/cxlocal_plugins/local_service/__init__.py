"""The tool ``local-service``: an environment on this machine.

Each instance runs in a virtual environment of its own, made from the wheel of the run, as a process that answers
HTTP on a loopback port of its own. Whoever uses the service asks the ``front``, which has its port for good and
hands each request to an instance. ``install``, ``instance``, ``process`` and ``web`` care for one instance,
``balance`` for the front, ``tool`` has the verbs.
"""

from __future__ import annotations

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Tool
from cxlocal_plugins.local_service.tool import LocalService


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool ``local-service``."""
    return [LocalService]
