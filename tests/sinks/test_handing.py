"""A machine that goes away hands on what it could not deliver; one machine may deliver for all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from receivers import Tcp, free_port, running
from servers import until

from cxlocal.runner.retention import Hold, Removal, spare_awaited
from cxlocal.text import parse_utc


class Machines:
    """A CI job without a home to keep, and the machine beside the store."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        store = f"sqlite://{shop.root}/store.db"
        self.job = {
            "CXLOCAL_STORE": store, "CXLOCAL_NODE": "passing", "CXLOCAL_PATIENCE": "2s",
            "CXLOCAL_HOME": str(shop.root / "job"),
        }  # fmt: skip
        self.beside = {
            "CXLOCAL_STORE": store, "CXLOCAL_HOME": str(shop.root / "beside"),
            "XDG_CONFIG_HOME": str(shop.root / "config"),
        }  # fmt: skip

    def name(self, to: str) -> None:
        """The machine beside the store delivers logs for all."""
        path = self.shop.root / "config" / "cxlocal" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'[sinks]\nlogs = {{ to = "{to}", of = "all" }}\n')

    def agree(self, environ: dict[str, str]) -> None:
        self.shop.ok("trust", "--yes", env=environ)

    def work(self) -> Any:
        """One job; then its home is gone."""
        self.shop.ok("store", "create", self.job["CXLOCAL_STORE"], env=self.beside)
        self.agree(self.job)
        done = self.shop("run", "--no-input", env=self.job)
        shutil.rmtree(self.job["CXLOCAL_HOME"])
        return done

    def sync(self) -> Any:
        """What the machine beside the store does, where nothing else of the project counts."""
        return self.shop.ok("sync", env=self.beside)


@pytest.fixture
def machines(shop: Any) -> Machines:
    return Machines(shop)


@pytest.mark.parametrize("whose", ["own", "all"])
def test_the_log_of_a_job_arrives_after_its_home_is_gone(
    machines: Machines, shop: Any, whose: str
) -> None:
    """The log server was down for the whole of it, or the job was not to deliver at all."""
    port = free_port()
    to = f"json+tcp://127.0.0.1:{port}"
    shop.begin(f'logs = {{ to = "{to}", of = "{whose}" }}\n', lines=800, trusted=False)
    done = machines.work()
    assert done.code == 0, done.err
    assert ("to be delivered" in done.err) == (whose == "own")
    assert not Path(machines.job["CXLOCAL_HOME"]).exists()
    machines.name(to)
    shop.tree = shop.root  # outside of the project: the word of the user's file counts
    assert "To be delivered" in machines.sync().err
    made = Tcp(port=port)
    with running(made) as tcp:
        machines.sync()
        records = tcp.lines()
        assert [one["text"] for one in records] == [
            *(f"line {n}" for n in range(1, 801)), *(f"unit {n}" for n in (1, 2, 3)),
        ]  # fmt: skip
        assert {one["exact"] for one in records} == {True}
        times = [parse_utc(one["time"]) for one in records]
        assert times == sorted(times)
        machines.sync()
        assert len(tcp.lines()) == len(records)
    blobs = [path for path in (shop.root / "beside").rglob("blobs/*/*") if path.is_file()]
    assert blobs == []


def test_a_lender_delivers_for_the_jobs_it_lends_to(machines: Machines, shop: Any, cx: Any) -> None:
    """'serve --lend' looks after the sinks as long as it runs: for a job that is gone with its home."""
    port = free_port()
    to = f"json+tcp://127.0.0.1:{port}"
    shop.begin(f'logs = {{ to = "{to}", of = "all" }}\n', trusted=False)
    assert machines.work().code == 0
    (shop.tree / "cx.local.toml").write_text(f'[sinks]\nlogs = {{ to = "{to}", of = "all" }}\n')
    machines.agree(machines.beside)
    with running(Tcp(port=port)) as tcp:
        lender = subprocess.Popen(
            [cx.program, "serve", "--lend", "--port", "0"], cwd=shop.tree,
            env={**os.environ, **shop.environ, **machines.beside},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            until(lambda: len(tcp.lines()) == 23 or lender.poll() is not None)
        finally:
            lender.send_signal(signal.SIGINT)
            lender.wait(20)
        assert [one["text"] for one in tcp.lines()] == [
            *(f"line {n}" for n in range(1, 21)), *(f"unit {n}" for n in (1, 2, 3)),
        ]  # fmt: skip


def test_what_a_job_delivered_itself_is_not_sent_again(machines: Machines, shop: Any) -> None:
    with running(Tcp()) as tcp:
        to = f"json+tcp://127.0.0.1:{tcp.port}"
        shop.begin(f'logs = {{ to = "{to}" }}\n', trusted=False)
        assert machines.work().code == 0
        ids = [one["cx_id"] for one in tcp.lines()]
        assert len(ids) == 23
        machines.name(to)
        shop.tree = shop.root
        machines.sync()
        assert [one["cx_id"] for one in tcp.lines()] == ids


def test_what_nobody_has_is_named_and_ends_with_6(machines: Machines, shop: Any) -> None:
    """The store goes away in the middle, and the log server was never there."""
    shop.begin(
        f'logs = {{ to = "json+tcp://127.0.0.1:{free_port()}" }}\n',
        stages=f"[stages]\nbuild = {{ command = 'echo built; mv {shop.root}/store.db {shop.root}/gone' }}\n",
        trusted=False,
    )
    done = machines.work()
    assert done.code == 6, done.err
    assert "1 log will be lost with this machine: build of run" in done.err


def test_a_log_that_a_store_cannot_take_is_named_and_ends_with_6(
    machines: Machines, shop: Any
) -> None:
    """Larger than 64 MiB, and the log server is down."""
    shop.begin(
        f'logs = {{ to = "json+tcp://127.0.0.1:{free_port()}" }}\n',
        stages="[stages]\nloud = { command = \"head -c 70000000 /dev/zero | tr '\\\\0' 'x'\" }\n",
        trusted=False,
    )
    done = machines.work()
    assert done.code == 6, done.err
    assert "1 log will be lost with this machine: loud of run" in done.err


@pytest.mark.parametrize(
    ("ages", "sizes", "gone"),
    [
        ([1, 2, 8], [10, 10, 10], [2]),  # older than a week
        ([1, 2, 3], [2**30, 10, 10], [1, 2]),  # more than a gibibyte: the newest stay
        ([1, 2, 3], [10, 2**30, 10], [1]),
        ([1, 2, 3], [10, 10, 10], []),
    ],
)
def test_logs_that_a_sink_awaits_are_spared_for_a_while(
    ages: list[int], sizes: list[int], gone: list[int]
) -> None:
    day = 86_400_000
    logs = [
        Removal("log", f"run{index}", f"logs/run{index}", "", size)
        for index, size in enumerate(sizes)
    ]
    ended = {f"run{index}": 100 * day - age * day for index, age in enumerate(ages)}
    hold = Hold({one.run: "journald+http://logs" for one in logs}, 93 * day)
    going = spare_awaited(logs, ended, hold)
    assert sorted(one.run for one in going) == [f"run{index}" for index in gone]
    assert {one.awaited for one in going} <= {"journald+http://logs"}
    free = spare_awaited(logs, ended, Hold({"run0": "x"}, 93 * day))
    assert {one.run: one.awaited for one in free if one.run != "run0"} == {"run1": "", "run2": ""}


def test_prune_keeps_what_a_sink_awaits_and_says_what_it_gives_up(
    shop: Any, tmp_path: Path
) -> None:
    out, port = tmp_path / "logs.ndjson", free_port()
    config = f'logs = [{{ to = "json+tcp://127.0.0.1:{port}" }}, {{ to = "file:{out}" }}]\n'
    keep = '[keep]\nlogs = "0s"\n'
    shop.begin(config + keep, trusted=False)
    shop.ok("trust", "--yes")
    shop.run()
    shop.ok("prune")
    assert list((shop.home / "logs").rglob("*.log")) != []
    cx = shop.tree / "cx.toml"
    cx.write_text(cx.read_text().replace(keep, 'hold = "0s"\n' + keep))
    done = shop.ok("prune")
    assert f"given up: json+tcp://127.0.0.1:{port} has not got all of it" in done.err
    assert list((shop.home / "logs").rglob("*.log")) == []
    told = shop.ok(
        "sql",
        "SELECT document ->> '$.customData.cxlocal.removed[0].awaited' a FROM event"
        " ORDER BY id DESC LIMIT 1",
        "--json",
    ).json()
    assert told == [{"a": f"json+tcp://127.0.0.1:{port}"}]
