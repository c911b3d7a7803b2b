"""Real receivers: systemd-journal-remote, rsyslog into PostgreSQL, carbon, VictoriaMetrics, Pushgateway with
Prometheus."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from receivers import free_port

JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote"
JOURNAL_GATEWAY = "/lib/systemd/systemd-journal-gatewayd"
WAIT_SECONDS = 20.0


def until(found: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """What ``found`` gives as soon as it is true; fails after a while."""
    deadline = time.monotonic() + seconds
    while not (answer := found()):
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return answer


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def program(folder: Path, arguments: Sequence[str], port: int) -> Iterator[None]:
    """A server for the length of a ``with`` block, from when it answers."""
    with open(folder / "said", "wb") as said:
        process = subprocess.Popen(arguments, cwd=folder, stdout=said, stderr=said, process_group=0)
    try:
        until(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "said").read_text()
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@contextlib.contextmanager
def journal_remote(folder: Path, port: int = 0) -> Iterator[int]:
    """Its port; it writes into ``folder``."""
    port = port or free_port()
    arguments = [
        JOURNAL_REMOTE, f"--listen-http=127.0.0.1:{port}", f"--output={folder}/cx.journal",
        "--split-mode=none",
    ]  # fmt: skip
    with program(folder, arguments, port):
        yield port


@contextlib.contextmanager
def journal_gateway(folder: Path, port: int = 0) -> Iterator[int]:
    """Its port; it answers of the journals in ``folder``. It listens at one address only where it is
    handed the socket."""
    port = port or free_port()
    arguments = [
        "systemd-socket-activate", "-l", f"127.0.0.1:{port}", JOURNAL_GATEWAY, "-D", str(folder),
    ]  # fmt: skip
    with program(folder, arguments, port):
        yield port


def journal_entries(folder: Path, *match: str) -> list[dict[str, Any]]:
    """What stands in the journal there."""
    done = subprocess.run(
        ["journalctl", "-D", str(folder), "-o", "json", "--all", *match],
        capture_output=True, check=False,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


TABLE = """
CREATE TABLE IF NOT EXISTS line (
  place bigserial, id text COLLATE "C" PRIMARY KEY, at timestamptz NOT NULL, stage text, message text NOT NULL
)
"""
RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="32k")
module(load="imtcp")
module(load="ompgsql")
template(name="into" type="string" option.stdsql="on" string="INSERT INTO line (id, at, stage, message) VALUES (substring('%structured-data%' from 'id=\\"([^\\"]*)\\"'), '%timereported:::date-rfc3339%', substring('%structured-data%' from 'stage=\\"([^\\"]*)\\"'), '%msg%') ON CONFLICT DO NOTHING")
input(type="imtcp" address="127.0.0.1" port="{port}")
action(type="ompgsql" server="127.0.0.1" port="{database}" user="postgres" pass="x" db="postgres" template="into" queue.type="Direct")
"""


@contextlib.contextmanager
def rsyslog(folder: Path, database: int, port: int = 0) -> Iterator[int]:
    """Its port; it writes into the table ``line`` of a database server at port ``database``."""
    port = port or free_port()
    (folder / "rsyslog.conf").write_text(
        RSYSLOG.format(folder=folder, port=port, database=database)
    )
    arguments = ["rsyslogd", "-n", "-f", f"{folder}/rsyslog.conf", "-i", f"{folder}/pid"]
    with program(folder, arguments, port):
        yield port


def rows(database: int, sql: str) -> list[tuple[Any, ...]]:
    address = f"postgresql://postgres@127.0.0.1:{database}/postgres"
    with psycopg.connect(address, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(sql.encode())
        return cursor.fetchall() if cursor.description else []


CARBON = """
[cache]
STORAGE_DIR = {folder}
CONF_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
LOG_DIR = {folder}
PID_DIR = {folder}
USER =
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {port}
PICKLE_RECEIVER_PORT = 0
ENABLE_UDP_LISTENER = False
CACHE_QUERY_PORT = 0
CACHE_WRITE_STRATEGY = naive
LOG_CACHE_HITS = False
ENABLE_TAGS = False
"""


@contextlib.contextmanager
def carbon(folder: Path, port: int = 0) -> Iterator[int]:
    """Its port; it writes below ``folder/whisper``, a point a second, for a quarter of an hour."""
    port = port or free_port()
    (folder / "carbon.conf").write_text(CARBON.format(folder=folder, port=port))
    (folder / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:15m\n")
    arguments = ["carbon-cache", f"--config={folder}/carbon.conf", "--nodaemon", "start"]
    with program(folder, arguments, port):
        yield port


def carbon_points(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What stands in the files of carbon: path to (second, value)."""
    found = {}
    for path in sorted((folder / "whisper" / "cxlocal").rglob("*.wsp")):
        done = subprocess.run(
            ["whisper-fetch", "--from=0", "--json", str(path)],
            capture_output=True, check=False,
        )  # fmt: skip
        told = json.loads(done.stdout or b"{}")
        name = str(path.relative_to(folder / "whisper").with_suffix("")).replace(os.sep, ".")
        found[name] = [
            (told["start"] + index * told["step"], value)
            for index, value in enumerate(told.get("values", ()))
            if value is not None
        ]
    return found


class Figures(NamedTuple):
    """A server for figures that can be asked for them."""

    port: int
    """Where lines of Graphite go."""
    asked: int

    def points(self) -> dict[str, list[tuple[int, float]]]:
        """What it has: path to (second, value), as often as it has each."""
        web_text(self.asked, "/internal/force_flush")
        found: dict[str, list[tuple[int, float]]] = {}
        text = web_text(self.asked, "/api/v1/export?match[]=%7B__name__%21%3D%22%22%7D")
        for line in text.splitlines():
            row = json.loads(line)
            points = zip(row["timestamps"], row["values"], strict=True)
            found.setdefault(row["metric"]["__name__"], []).extend(
                (at_ms // 1000, value) for at_ms, value in points
            )
        return found


@contextlib.contextmanager
def victoria(folder: Path) -> Iterator[Figures]:
    """It keeps what comes for a month, and of points of one series at one time the last."""
    port, asked = free_port(), free_port()
    arguments = [
        "victoria-metrics", f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{asked}",
        f"-graphiteListenAddr=127.0.0.1:{port}", "-retentionPeriod=1", "-dedup.minScrapeInterval=1ms",
        "-memory.allowedBytes=64MB",
    ]  # fmt: skip
    with program(folder, arguments, asked):
        yield Figures(port, asked)


@contextlib.contextmanager
def pushgateway(folder: Path, port: int = 0) -> Iterator[int]:
    """Its port."""
    port = port or free_port()
    arguments = [
        "prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}",
        f"--persistence.file={folder}/held",  # Debian's own keeps it in /var/lib
    ]  # fmt: skip
    with program(folder, arguments, port):
        yield port


@contextlib.contextmanager
def prometheus(folder: Path, scraped: int) -> Iterator[int]:
    """Its port; it asks the gateway at port ``scraped`` each second."""
    port = free_port()
    (folder / "prometheus.yml").write_text(
        "global: { scrape_interval: 1s }\n"
        f"scrape_configs: [{{ job_name: gateway, honor_labels: true,"
        f" static_configs: [{{ targets: ['127.0.0.1:{scraped}'] }}] }}]\n"
    )
    arguments = [
        "prometheus", f"--config.file={folder}/prometheus.yml",
        f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder}/data",
    ]  # fmt: skip
    with program(folder, arguments, port):
        yield port


def web_text(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return str(answer.read().decode())
