"""Figures as lines of Graphite's plaintext protocol (carbon, VictoriaMetrics)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cxlocal.hooks.sink import MetricRecord, Sink
from cxlocal_plugins.sinks.streams import send_stretch, split_address

_BARE = re.compile(r"[^A-Za-z0-9_-]+")


class Graphite(Sink):
    """A line for each figure. Its path names the run it is of, else the machine: two never share a
    point."""

    name = "graphite"
    schemes = ("graphite+tcp",)
    takes = frozenset({"metrics"})

    def __init__(self, to: str, options: Any, **more: Any) -> None:
        super().__init__(to, options, **more)
        _, self.host, self.port = split_address(to)

    def deliver(self, batch: Sequence[MetricRecord]) -> int:
        """A connection for each batch, which counts when the receiver has closed it."""
        content = "".join(f"{path_of(one)} {one.value!r} {one.at_ms // 1000}\n" for one in batch)
        send_stretch(
            self.host, self.port, content.encode(), tls=False,
            timeout_seconds=self.timeout_seconds,
        )  # fmt: skip
        return len(batch)


def path_of(metric: MetricRecord) -> str:
    """``cxlocal.shop.runs.3f2a1b0c.stage.duration.success.unit``, and ``…machines.laptop-1…`` of
    what is counted or held by a machine."""
    labels = dict(metric.labels)
    deliverable = labels.pop("deliverable", "")
    whose = (
        ("machines", metric.machine)
        if metric.counts or not metric.run
        else ("runs", metric.run[:8])
    )
    name = metric.name.removeprefix("cxlocal.").split(".")
    values = [labels[label] for label in sorted(labels)]
    parts = ["cxlocal", deliverable, *whose, *name, *values]
    return ".".join(_BARE.sub("_", part) for part in parts if part)
