"""The shipped sinks: where logs, figures, events and traces of a team are kept (``docs/sinks.md``)."""

from __future__ import annotations

from cxlocal.hooks.sink import Sink
from cxlocal.hooks.specs import hookimpl
from cxlocal_plugins.sinks.cloudevents import CloudEvents
from cxlocal_plugins.sinks.graphite import Graphite
from cxlocal_plugins.sinks.journald import Journald
from cxlocal_plugins.sinks.json_lines import Command, File, JsonLines
from cxlocal_plugins.sinks.otlp import Otlp
from cxlocal_plugins.sinks.postgresql import Postgresql
from cxlocal_plugins.sinks.pushgateway import Pushgateway
from cxlocal_plugins.sinks.syslog import Syslog


@hookimpl
def cxlocal_register_sinks() -> list[type[Sink]]:
    """All of them."""
    return [
        File, Command, JsonLines, CloudEvents, Journald, Syslog, Graphite, Pushgateway, Otlp,
        Postgresql,
    ]  # fmt: skip
