"""The shipped sinks before the real servers: what docs/sinks.md says of each holds."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
import servers
from cloudevents.v1.http import from_http
from cxlocal_plugins.sinks import Graphite, Journald, Otlp, Postgresql, Pushgateway, Syslog
from cxlocal_plugins.sinks.graphite import path_of
from decoded import Decoded, attributes
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceResponse,
)
from receivers import Cutting, Http, deliver_through, free_port, running
from servers import until

from cxlocal.hooks.sink import NotTaken, Record
from cxlocal.sinks.asking import in_order
from cxlocal.testing import Receiver, SinkContract, example

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from postgresql_kit import Cluster


@pytest.mark.needs("/lib/systemd/systemd-journal-remote")
class TestJournald(SinkContract):
    sink = Journald
    nowhere = f"journald+http://127.0.0.1:{free_port()}"
    counted = 600

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        with servers.journal_remote(folder) as port:
            yield Receiver(
                f"journald+http://127.0.0.1:{port}",
                lambda: [one["CX_ID"] for one in servers.journal_entries(folder)],
            )

    def test_a_line_is_found_by_its_fields_and_has_its_own_time(self, tmp_path: Path) -> None:
        batch = [example("logs", index, f"ünï {index}") for index in range(30)]
        with self.receiver(tmp_path) as receiver:
            self.send(receiver.to, batch)
            found = servers.journal_entries(tmp_path, f"CX_RUN={batch[15].run}", "CX_STAGE=unit")
        assert [one["MESSAGE"] for one in found] == [f"ünï {index}" for index in range(10, 20)]
        times = [int(one["__REALTIME_TIMESTAMP"]) for one in found]
        assert times == [one.at_ms * 1000 for one in batch[10:20]]

    def test_what_is_there_twice_is_found_once_in_order(self, tmp_path: Path) -> None:
        """And what belongs to another attempt, or begins like this one, is not."""
        first = example("logs", 1)
        batch = [
            msgspec.structs.replace(first, id=f"{first.run}/{place}", text=text)
            for place, text in (
                ("unit/1/1", "one"), ("unit/1/10", "ten"), ("unit/1/2.1", "tw"), ("unit/1/2.2", "o ☃"),
                ("unit/2/1", "another attempt"), ("unit/11/1", "and another"), ("unit/1/9", ""),
                ("unit/1/3", "\t\u200b"),
            )
        ]  # fmt: skip
        with self.receiver(tmp_path) as receiver:
            for _ in range(2):
                self.send(receiver.to, batch)
            with servers.journal_gateway(tmp_path) as port:
                asked = self.made(f"journald+http://127.0.0.1:{port}")
                found = dict(asked.find(first.run, "unit", f"{first.run}/unit/1"))
        beginning = f"{first.run}/unit/1/"
        told = {
            name.removeprefix(beginning): text
            for name, text in found.items()
            if name.startswith(beginning)
        }
        assert in_order(told) == (["one", "two ☃", "\t\u200b", "", "ten"], 5)


@pytest.fixture(scope="module")
def database() -> Iterator[int]:
    """The port of a database server with the table."""
    cluster = Cluster()
    try:
        server = cluster.primary("-c", "fsync=off")
        server.sql(servers.TABLE)
        yield server.port
    finally:
        cluster.close()


@pytest.mark.needs("rsyslogd", "pg_ctlcluster")
class TestSyslogIntoPostgresql(SinkContract):
    sink = Syslog
    nowhere = f"syslog+tcp://127.0.0.1:{free_port()}"
    doubles = False
    counted = 300

    @pytest.fixture(autouse=True)
    def server(self, database: int, tmp_path: Path) -> Iterator[None]:
        servers.rows(database, "TRUNCATE line")
        folder = tmp_path / "rsyslog"
        folder.mkdir()
        with servers.rsyslog(folder, database) as self.port:
            self.database = database
            yield

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        def ids() -> list[str]:
            # A receiver that has closed has read all, and may still be writing it.
            found: list[str] = []
            while True:
                time.sleep(0.2)
                last = [
                    row[0]
                    for row in servers.rows(self.database, "SELECT id FROM line ORDER BY place")
                ]
                if last and last == found:
                    return found
                found = last

        yield Receiver(f"syslog+tcp://127.0.0.1:{self.port}", ids)

    def test_the_message_is_the_line_and_the_time_its_own(self, tmp_path: Path) -> None:
        texts = ["plain", 'a "quoted" ]', "back\\slash", "ünï ☃", "x" * 8192, " two  spaces "]
        batch = [example("logs", index, text) for index, text in enumerate(texts)]
        with self.receiver(tmp_path) as receiver:
            self.send(receiver.to, batch)
            assert receiver.ids() == [one.id for one in batch]
        found = servers.rows(
            self.database,
            "SELECT message, extract(epoch FROM at) * 1000 FROM line ORDER BY place",
        )
        assert [(text.removeprefix(" "), int(at)) for text, at in found] == [
            (one.text.removeprefix(" "), one.at_ms) for one in batch
        ]


@pytest.mark.needs("pg_ctlcluster")
class TestPostgresql(SinkContract):
    sink = Postgresql
    nowhere = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    doubles = False
    counted = 300

    @pytest.fixture(autouse=True)
    def server(self, database: int) -> None:
        servers.rows(database, "TRUNCATE line")
        self.database = database

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        yield Receiver(
            f"postgresql://postgres@127.0.0.1:{self.database}/postgres",
            lambda: [
                row[0] for row in servers.rows(self.database, "SELECT id FROM line ORDER BY place")
            ],
        )

    def test_what_it_has_is_found_by_the_attempt(self, tmp_path: Path) -> None:
        batch = [example("logs", index, f"ünï {index}") for index in range(20)]
        with self.receiver(tmp_path) as receiver:
            self.send(receiver.to, batch)
            sink = self.made(receiver.to)
            found = dict(sink.find(batch[12].run, "unit", f"{batch[12].run}/unit/1"))
        assert found == {one.id: one.text for one in batch[10:]}

    def test_a_table_that_refuses_a_row_refuses_it_alone(self, tmp_path: Path) -> None:
        servers.rows(
            self.database, "ALTER TABLE line ADD CONSTRAINT short CHECK (length(message) < 50)"
        )
        try:
            batch = [example("logs", index, "x" * (60 if index == 3 else 5)) for index in range(8)]
            with self.receiver(tmp_path) as receiver:
                sink = self.made(receiver.to)
                taken = sink.deliver(batch)
                with pytest.raises(NotTaken, match="short"):
                    sink.deliver(batch[3:])
                assert 0 < taken <= 3
        finally:
            servers.rows(self.database, "ALTER TABLE line DROP CONSTRAINT short")


class TestOtlp(SinkContract):
    sink = Otlp
    nowhere = f"otlp+http://127.0.0.1:{free_port()}"

    def name_of(self, record: Record) -> str:
        return f"unit{round(record.value - 0.5)}" if hasattr(record, "value") else record.id

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        with running(Http()) as http:
            seen = Decoded(http)

            def ids() -> list[str]:
                points = [one.gauge.data_points[0] for one in seen.metrics()]
                return [
                    *(attributes(one)["cx_id"] for one in seen.logs()),
                    *(attributes(one)["stage"] for one in points),
                    *(one.span_id.hex() for one in seen.spans()),
                ]

            yield Receiver(f"otlp+http://127.0.0.1:{http.port}", ids)

    def test_what_all_of_is_rejected_is_refused_and_a_part_is_the_receivers_affair(
        self, http: Http
    ) -> None:
        rejected = {"count": 3}

        def answer(count: int) -> bytes:
            told = ExportLogsServiceResponse()
            told.partial_success.rejected_log_records = count
            return bytes(told.SerializeToString())

        http.body = lambda: answer(rejected["count"])
        batch = [example("logs", index) for index in range(10)]
        with closing(self.made(f"otlp+http://127.0.0.1:{http.port}")) as sink:
            assert sink.deliver(batch) == 10
            rejected["count"] = 10
            with pytest.raises(NotTaken, match="rejected"):
                sink.deliver(batch)


@pytest.mark.needs("carbon-cache")
def test_figures_stand_in_graphite_at_their_own_time(tmp_path: Path) -> None:
    now = int(time.time()) * 1000
    batch = [
        msgspec.structs.replace(
            example("metrics", index), at_ms=now - 60_000 * index, run=f"{index:08d}-x"
        )
        for index in range(5)
    ]
    total = msgspec.structs.replace(
        batch[0], name="cxlocal.runs", unit="{run}", counts=True, value=7.0, labels={"deliverable": "a b/c", "outcome": "success"},
    )  # fmt: skip
    with servers.carbon(tmp_path) as port:
        sink = Graphite(f"graphite+tcp://127.0.0.1:{port}", None)
        for _ in range(2):  # sent again it says the same
            assert sink.deliver([*batch, total]) == 6
        until(lambda: len(list(tmp_path.rglob("*.wsp"))) == 6)
        points = until(
            lambda: (found := servers.carbon_points(tmp_path)) and all(found.values()) and found
        )
    assert points.pop("cxlocal.a_b_c.machines.laptop-1.runs.success") == [(now // 1000, 7.0)]
    assert points == {
        f"cxlocal.shop.runs.{one.run[:8]}.stage.duration.unit{index}": [
            (one.at_ms // 1000, one.value)
        ]
        for index, one in enumerate(batch)
    }


@pytest.mark.needs("victoria-metrics")
@pytest.mark.parametrize(
    "rules", [[], [("cut", 900)], [("mute", 0), ("cut", 200), ("mute", 0)], [("slow", 90)]]
)
def test_victoria_metrics_has_each_point_once_at_its_own_time(
    tmp_path: Path, rules: list[tuple[str, int]]
) -> None:
    """A judge of its own: it is asked for every series, and every point of it."""
    now = int(time.time()) * 1000
    batch = [
        msgspec.structs.replace(
            example("metrics", index % 8), at_ms=now - 7_000 * index, run=f"{index:08d}-x", value=index + 0.25,
        )
        for index in range(60)
    ]  # fmt: skip
    wanted = {path_of(one): [(one.at_ms // 1000, one.value)] for one in batch}
    assert len(wanted) == len(batch), "no two of them share a series"
    with servers.victoria(tmp_path) as figures, running(Cutting(figures.port)) as proxy:
        proxy.rules = list(rules)
        sink = Graphite(f"graphite+tcp://127.0.0.1:{proxy.port}", None, timeout_seconds=1)
        deliver_through(sink, batch)
        until(lambda: len(figures.points()) >= len(batch))
        assert figures.points() == wanted


@pytest.mark.needs("prometheus-pushgateway", "prometheus")
def test_prometheus_finds_the_last_value_of_each_series(tmp_path: Path) -> None:
    batch = [example("metrics", index) for index in range(3)]
    odd = msgspec.structs.replace(batch[0], labels={"deliverable": 'a/b "c"', "stage": ""})
    later = msgspec.structs.replace(batch[1], value=99.5)
    total = msgspec.structs.replace(
        batch[0], name="cxlocal.runs", unit="{run}", counts=True, value=7.0, labels={"deliverable": "shop"}
    )  # fmt: skip
    folder = tmp_path / "p"
    folder.mkdir()
    with servers.pushgateway(tmp_path) as gateway, servers.prometheus(folder, gateway) as port:
        with closing(Pushgateway(f"pushgateway+http://127.0.0.1:{gateway}", None)) as sink:
            assert sink.deliver([*batch, odd]) == 4
            assert sink.deliver([total, later]) == 2

        def asked(query: str) -> dict[str, float]:
            found = json.loads(servers.web_text(port, f"/api/v1/query?query={quote(query)}"))
            return {
                f"{one['metric'].get('deliverable')} {one['metric'].get('stage', '')}": float(
                    one["value"][1]
                )
                for one in found["data"]["result"]
                if one["metric"]["instance"] == "laptop-1"
            }

        until(lambda: asked("cxlocal_runs_total") == {"shop ": 7.0})
        assert asked("cxlocal_stage_duration_seconds") == {
            "shop unit0": 0.5, "shop unit1": 99.5, "shop unit2": 2.5, 'a/b "c" ': 0.5,
        }  # fmt: skip


def test_a_receiver_of_cloudevents_reads_each(http: Http) -> None:
    from cxlocal_plugins.sinks import CloudEvents

    batch = [example("events", index, "ünï ☃") for index in range(3)]
    with closing(CloudEvents(f"cloudevents+http://127.0.0.1:{http.port}/", None)) as sink:
        assert sink.deliver(batch) == 3
    for one, (_, headers, body) in zip(batch, http.requests, strict=True):
        read = from_http(headers, body)
        assert (read["id"], read["source"], read["type"]) == (one.id, one.source, one.type)
        assert read.data == json.loads(one.document)


@pytest.mark.needs(
    "/lib/systemd/systemd-journal-remote",
    "/lib/systemd/systemd-journal-gatewayd",
    "rsyslogd",
    "carbon-cache",
    "prometheus-pushgateway",
    "pg_ctlcluster",
)
def test_all_of_a_run_reaches_every_server_that_was_down(
    shop: Any, tmp_path: Path, database: int
) -> None:
    """Seven receivers away for a whole run; then they come, and 'sync' brings each what it lacks."""
    servers.rows(database, "TRUNCATE line")
    ports = {
        name: free_port() for name in ("journal", "gateway", "syslog", "carbon", "push", "http")
    }
    shop.begin(
        f'events = {{ to = "cloudevents+http://127.0.0.1:{ports["http"]}/events" }}\n'
        f'logs = [{{ to = "journald+http://127.0.0.1:{ports["journal"]}",'
        f' ask = "journald+http://127.0.0.1:{ports["gateway"]}" }},'
        f' {{ to = "syslog+tcp://127.0.0.1:{ports["syslog"]}",'
        f' ask = "postgresql://postgres@127.0.0.1:{database}/postgres" }},'
        f' {{ to = "otlp+http://127.0.0.1:{ports["http"]}" }}]\n'
        f'metrics = [{{ to = "graphite+tcp://127.0.0.1:{ports["carbon"]}" }},'
        f' {{ to = "pushgateway+http://127.0.0.1:{ports["push"]}" }}]\n'
        f'spans = {{ to = "otlp+http://127.0.0.1:{ports["http"]}" }}\n[links]\n'
        f'log = "http://127.0.0.1:{ports["gateway"]}/entries?CX_RUN={{run}}&CX_STAGE={{stage}}"\n'
        f'metric = "http://127.0.0.1:{ports["push"]}/metrics?stage={{stage}}"\n',
        lines=1500,
    )
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    done = shop.run(env={"TRACEPARENT": parent})
    assert done.err.count("to be delivered") == 7
    with ExitStack() as stack:
        folders = {name: tmp_path / name for name in ports}
        for folder in folders.values():
            folder.mkdir()
        stack.enter_context(servers.journal_remote(folders["journal"], ports["journal"]))
        stack.enter_context(servers.rsyslog(folders["syslog"], database, ports["syslog"]))
        stack.enter_context(servers.carbon(folders["carbon"], ports["carbon"]))
        stack.enter_context(servers.pushgateway(folders["push"], ports["push"]))
        http = stack.enter_context(running(Http(ports["http"])))
        assert "To be delivered" not in shop.ok("sync").err
        entries = servers.journal_entries(folders["journal"])
        ids = [one["CX_ID"] for one in entries]
        assert len(ids) == len(set(ids)) == 1503
        assert [one["MESSAGE"] for one in entries if one["CX_STAGE"] == "build"] == [
            f"line {number}" for number in range(1, 1501)
        ]
        count = "SELECT count(*) FROM line"
        until(lambda: servers.rows(database, count) == [(1503,)])
        assert {row[0] for row in servers.rows(database, "SELECT id FROM line")} == set(ids)
        seen = Decoded(http)
        assert [attributes(one)["cx_id"] for one in seen.logs()] == ids
        spans = {one.name: one for one in seen.spans()}
        run = spans["RUN shop"]
        assert {one.trace_id for one in spans.values()} == {run.trace_id}
        assert {spans[name].parent_span_id for name in ("build", "unit")} == {run.span_id}
        assert [one.trace_id.hex() for one in run.links] == [parent.split("-")[1]]
        assert {one.span_id for one in seen.logs()} == {
            spans[name].span_id for name in ("build", "unit")
        }
        until(lambda: len(list(folders["carbon"].rglob("*.wsp"))) >= 8)
        pushed = servers.web_text(ports["push"], "/metrics")
        assert 'cxlocal_runs_total{deliverable="shop"' in pushed
        events = [body for path, _, body in http.requests if path == "/events"]
        types = [json.loads(body)["type"] for body in events]
        assert types[-1].startswith("dev.cdevents.pipelinerun.finished")
    assert shop.ok("sinks", "--json").json()[0]["state"] == "has everything"
    # One command names where the log and the figures of each stage are, and they are there.
    (row,) = [
        one for one in shop.ok("show", "--json").json()["elsewhere"] if one["stage"] == "unit"
    ]
    with servers.journal_gateway(folders["journal"], ports["gateway"]):
        told = servers.web_text(ports["gateway"], row["log"].partition(f":{ports['gateway']}")[2])
    assert [line.rpartition(": ")[2] for line in told.splitlines()] == [
        f"unit {number}" for number in (1, 2, 3)
    ]
    assert row["figures"] == f"http://127.0.0.1:{ports['push']}/metrics?stage=unit"
    # The logs are gone here, and no store has them: each repository in its turn is asked.
    shutil.rmtree(shop.home / "logs")
    with servers.journal_gateway(folders["journal"], ports["gateway"]):
        assert shop.ok("show", "latest", "unit", "--log").out == "unit 1\nunit 2\nunit 3\n"
    servers.rows(database, "DELETE FROM line WHERE id LIKE '%/unit/1/2'")
    done = shop.ok("show", "latest", "unit", "--log")
    assert done.out == "unit 1\nunit 3\n"
    assert "1 line of it postgresql://" in done.err
    servers.rows(database, "TRUNCATE line")
    done = shop("show", "latest", "unit", "--log")
    assert (done.code, "it has nothing of it" in done.err) == (9, True)


CUTS: list[list[tuple[str, int]]] = [
    [("cut", 1)],
    [("cut", 5_000), ("cut", 60_000)],
    [("mute", 0)],
    [("mute", 0), ("cut", 100_000), ("mute", 0)],
    [("slow", 700)],
]


@pytest.mark.needs("/lib/systemd/systemd-journal-remote")
@pytest.mark.parametrize("rules", CUTS)
def test_journald_has_each_id_at_least_once_whatever_is_cut(
    tmp_path: Path, rules: list[tuple[str, int]]
) -> None:
    batch = [example("logs", index, f"line {index} " + "x" * 100) for index in range(600)]
    with servers.journal_remote(tmp_path) as port, running(Cutting(port)) as proxy:
        proxy.rules = list(rules)
        sink = Journald(f"journald+http://127.0.0.1:{proxy.port}", None, timeout_seconds=1.5)
        deliver_through(sink, batch)
        ids = [one["CX_ID"] for one in servers.journal_entries(tmp_path)]
    assert list(dict.fromkeys(ids)) == [one.id for one in batch]
    if rules[0][0] == "slow":
        assert len(ids) == len(batch)  # doubles only after a cut


@pytest.mark.needs("rsyslogd", "pg_ctlcluster")
@pytest.mark.parametrize("rules", CUTS)
def test_sql_behind_a_unique_id_has_each_once_whatever_is_cut(
    tmp_path: Path, database: int, rules: list[tuple[str, int]]
) -> None:
    servers.rows(database, "TRUNCATE line")
    batch = [example("logs", index, f"line {index} " + "x" * 100) for index in range(600)]
    with servers.rsyslog(tmp_path, database) as port, running(Cutting(port)) as proxy:
        proxy.rules = list(rules)
        sink = Syslog(f"syslog+tcp://127.0.0.1:{proxy.port}", None, timeout_seconds=1.5)
        deliver_through(sink, batch)
        until(lambda: servers.rows(database, "SELECT count(*) FROM line") == [(600,)])
    found = servers.rows(database, "SELECT id FROM line ORDER BY place")
    assert [row[0] for row in found] == [one.id for one in batch]
    told = servers.rows(database, "SELECT message FROM line ORDER BY place")
    assert [row[0].strip() for row in told] == [one.text for one in batch]
