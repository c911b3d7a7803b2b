"""``GET /metrics``: the same as health and how often was asked what, in the text form of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from cxlocal.version import VERSION
from cxlocal_sync.http.health import Health

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "cxlocal_requests", "Requests answered, by path and status.", ["path", "status"],
            registry=self._registry,
        )  # fmt: skip
        ProcessCollector(registry=self._registry)

    def count(self, path: str, status: int) -> None:
        """One answer. ``path`` is that of a route: strangers must not make names of metrics."""
        self._requests.labels(path, str(status)).inc()

    def text(self, health: Health) -> bytes:
        """Everything, as Prometheus reads it."""
        shown = CollectorRegistry()
        shown.register(_Shown(health))
        return generate_latest(shown) + generate_latest(self._registry)


class _Shown:
    """Health as metrics. What is not known is left out: a zero would be taken for a fact."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Called by the library."""
        told = GaugeMetricFamily("cxlocal_info", "The release that answers.", labels=["version"])
        told.add_metric([VERSION], 1)
        yield told
        for name, words, value in _gauges(self._health):
            if value is not None:
                yield GaugeMetricFamily(f"cxlocal_{name}", words, value=value)
        contacts = self._health.contacts
        for name, words, count in (
            ("wrong_codes", "One-time codes that nobody was given.", contacts.wrong_codes),
            ("wrong_tokens", "Requests with a token nobody has.", contacts.wrong_tokens),
        ):
            yield CounterMetricFamily(f"cxlocal_{name}", words, value=count)


def _gauges(health: Health) -> Iterator[tuple[str, str, float | None]]:
    look, contacts, disk = health.look, health.contacts, health.disk
    if health.unsent is None:
        yield "store_answers", "1 if the store behind the server answers.", float(look is not None)
    if look is not None:
        yield (
            "numbers_stopped", "1 if no numbers are handed out: 'cxlocal store recover'.",
            float(look.stopped),
        )  # fmt: skip
        yield (
            "numbers_stopped_deliverables", "Deliverables of which no numbers are handed out.",
            look.stopped_deliverables,
        )  # fmt: skip
        yield (
            "unreported_numbers", "Numbers handed out lately of whose runs nothing came yet.",
            look.unreported,
        )  # fmt: skip
        yield "feed_position", "Events and grants the store holds.", look.position
    yield "unsent_events", "Events of the lending machine that wait to be sent.", health.unsent
    yield "members", "Members that may come in.", contacts.members
    yield "machines", "Machines of members.", contacts.machines
    yield "machines_within_a_day", "Machines in contact within a day.", contacts.lately
    yield (
        "last_contact_timestamp_seconds", "The last contact of any machine.",
        _seconds(contacts.newest_ms),
    )  # fmt: skip
    if disk is not None:
        yield "disk_free_bytes", "Free where the store lies.", disk.free_bytes
        yield "disk_size_bytes", "Size of the file system where the store lies.", disk.size_bytes
    yield (
        "certificate_end_timestamp_seconds", "When the certificate in use ends.",
        _seconds(health.certificate_ms),
    )  # fmt: skip
    yield (
        "last_backup_timestamp_seconds", "When the last backup ended well.",
        _seconds(health.backup_ms),
    )  # fmt: skip


def _seconds(time_ms: int | None) -> float | None:
    return None if time_ms is None else time_ms / 1000
