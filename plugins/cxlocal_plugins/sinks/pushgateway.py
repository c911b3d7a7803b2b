"""Figures to a Prometheus Pushgateway: the last value of each, no history. It takes no times."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from cxlocal.hooks.sink import MetricRecord, Sink
from cxlocal_plugins.sinks.web import Refusal, Web

HEADERS = {"Content-Type": "text/plain; version=0.0.4"}
UNITS = {"s": "_seconds"}


class Pushgateway(Sink):
    """A group for each set of labels, so that what is sent replaces its own series and no other."""

    name = "pushgateway"
    schemes = ("pushgateway+http", "pushgateway+https")
    takes = frozenset({"metrics"})

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        url = to.removeprefix("pushgateway+")
        self.web = Web(url, token=self.token, timeout_seconds=self.timeout_seconds)

    def deliver(self, batch: Sequence[MetricRecord]) -> int:
        """One request for each group. What the gateway refuses is dropped with its group: the next
        value of the series comes with the next run."""
        groups: dict[str, dict[str, MetricRecord]] = {}
        for one in batch:
            groups.setdefault(group_of(one), {})[name_of(one)] = one
        for group, figures in groups.items():
            text = "".join(
                f"# TYPE {name} {'counter' if one.counts else 'gauge'}\n{name} {one.value!r}\n"
                for name, one in figures.items()
            )
            path = f"{self.web.path.rstrip('/')}/metrics/job/cxlocal{group}"
            try:
                self.web.send(path, text.encode(), HEADERS)
            except Refusal:
                continue
        self.web.settle()
        return len(batch)

    def close(self) -> None:
        """Let go of the connection."""
        self.web.close()


def name_of(metric: MetricRecord) -> str:
    """``cxlocal_stage_duration_seconds``, ``cxlocal_runs_total``."""
    name = metric.name.replace(".", "_") + UNITS.get(metric.unit, "")
    return f"{name}_total" if metric.counts else name


def group_of(metric: MetricRecord) -> str:
    """The labels as a path, whatever they hold."""
    labels = {"instance": metric.machine, **metric.labels}
    return "".join(
        f"/{label}@base64/{urlsafe_b64encode(value.encode()).decode().rstrip('=') or '='}"
        for label, value in sorted(labels.items())
    )
