"""What a run recorded reaches the sinks: in order, once, with its own times; by whom and when."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from receivers import Http, Tcp, free_port, running
from servers import until

from cxlocal.runner.contact import END_SYNC_SECONDS
from cxlocal.runner.outlets import WITHOUT_STORE_SECONDS
from cxlocal.sinks.delivery import RUN_SECONDS


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def of_kind(path: Path) -> list[str]:
    return [one["cx_id"] for one in lines_of(path)]


def in_order(records: list[Any]) -> bool:
    """Lines of each stage by number, from 1 on, none missing."""
    stages: dict[str, list[int]] = {}
    for one in records:
        stages.setdefault(f"{one['run']}/{one['stage']}", []).append(one["line"])
    return all(numbers == list(range(1, len(numbers) + 1)) for numbers in stages.values())


def test_four_kinds_reach_their_sinks_at_the_end_of_a_run(shop: Any, tmp_path: Path) -> None:
    shop.begin(
        "".join(
            f'{kind} = {{ to = "file:{tmp_path}/{kind}.ndjson" }}\n'
            for kind in ("events", "logs", "metrics", "spans")
        )
    )
    done = shop.run()
    assert "to be delivered" not in done.err
    logs = lines_of(tmp_path / "logs.ndjson")
    assert [one["text"] for one in logs] == [
        *(f"line {n}" for n in range(1, 21)), *(f"unit {n}" for n in (1, 2, 3)),
    ]  # fmt: skip
    assert in_order(logs)
    assert {one["exact"] for one in logs} == {True}
    with sqlite3.connect(shop.home / "journal.db") as connection:
        recorded = connection.execute(
            "SELECT document ->> '$.context.id' FROM event WHERE deliverable IS NOT NULL ORDER BY id"
        ).fetchall()
    assert of_kind(tmp_path / "events.ndjson") == [row[0] for row in recorded]
    spans = lines_of(tmp_path / "spans.ndjson")
    run = next(one for one in spans if "parent" not in one)
    assert [one["name"] for one in spans] == ["build", "unit", "RUN shop"]
    assert {one["trace"] for one in spans} == {
        run["attributes"]["cicd.pipeline.run.id"].replace("-", "")
    }
    assert {one["parent"] for one in spans if one is not run} == {run["span"]}
    metrics = {one["name"] for one in lines_of(tmp_path / "metrics.ndjson")}
    assert metrics >= {
        "cxlocal.run.duration", "cxlocal.runs", "cxlocal.stage.duration", "cxlocal.stage.wait",
        "cxlocal.events.unsynced",
    }  # fmt: skip


def test_what_no_sink_could_take_arrives_later_and_once(shop: Any, tcp: Tcp, http: Http) -> None:
    """Down for a whole run, cut off in the next, then there: by 'sync', in order."""
    shop.begin(
        f'logs = {{ to = "json+tcp://127.0.0.1:{tcp.port}" }}\n'
        f'events = {{ to = "cloudevents+http://127.0.0.1:{http.port}/" }}\n',
        lines=3000,
    )
    tcp.cut_after, http.answers = [0], [503]
    first = shop.run()
    assert first.err.count("to be delivered") == 2
    state = shop.ok("sinks", "--json").json()
    assert [one["sent"] for one in state] == [0, 0]
    assert all(one["state"].startswith("waits: ") for one in state)
    tcp.cut_after, http.answers = [100_000], [202, 202, 0]
    assert shop("sinks", "--now").code == 9
    shop.ok("sync")
    records = tcp.lines()
    assert len(records) == len({one["cx_id"] for one in records}) == 3003
    assert in_order(records)
    # The answer to one event was cut off: it was sent again, under its source and id.
    ids = http.ids()
    assert len(ids) == len(set(ids)) + 1
    with sqlite3.connect(shop.home / "journal.db") as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM event WHERE deliverable IS NOT NULL"
        ).fetchone()
    assert len(set(ids)) == count
    assert {one["state"] for one in shop.ok("sinks", "--json").json()} == {"has everything"}
    requests = len(http.requests)
    shop.ok("sync")
    assert len(http.requests) == requests
    assert len(tcp.lines()) == len(records)


def test_nothing_that_a_repository_says_is_contacted_before_somebody_agreed(
    shop: Any, http: Http
) -> None:
    shop.begin(f'events = {{ to = "cloudevents+http://127.0.0.1:{http.port}/" }}\n', trusted=False)
    assert "nobody has agreed to it here: cxlocal trust" in shop.run().err
    shop.ok("sync")
    assert http.requests == []
    digest = next(
        line.split("=", 1)[1] for line in shop("trust").err.splitlines() if "CXLOCAL_TRUST=" in line
    )
    shop.run(env={"CXLOCAL_TRUST": digest})
    shop.ok("sync", env={"CXLOCAL_TRUST": digest})  # on a busy machine its time may be over first
    assert http.requests != []
    sent = len(http.requests)
    shop.run()
    assert len(http.requests) == sent


@pytest.mark.parametrize("command", [("rehearse",), ("run", "--no-input", "--offline")])
def test_a_rehearsal_and_a_run_offline_ask_no_sink(
    shop: Any, http: Http, command: tuple[str, ...]
) -> None:
    shop.begin(f'events = {{ to = "cloudevents+http://127.0.0.1:{http.port}/" }}\n')
    shop.ok("sync")
    shop.ok(*command)
    assert http.requests == []
    shop.ok("sync")
    types = {json.loads(body)["type"] for _, _, body in http.requests}
    assert (types == set()) == (command == ("rehearse",))


def test_black_holes_cost_a_fixed_delay(shop: Any, http: Http) -> None:
    """Eight sinks that take a connection and never answer: each is asked once, all at the same time, and
    then left alone. What they and the store may cost is three seconds together (promise P17)."""
    assert RUN_SECONDS + END_SYNC_SECONDS <= 3.0 and WITHOUT_STORE_SECONDS + 2.0 <= 3.0
    http.answers = [-1] * 10
    holes = [Tcp() for _ in range(6)]
    for hole in holes:
        hole.mute = True
    ports = [f'{{ to = "json+tcp://127.0.0.1:{hole.port}" }}' for hole in holes]
    web = f"127.0.0.1:{http.port}"
    shop.begin(
        f"logs = [{ports[0]}, {ports[1]}]\nmetrics = [{ports[2]}, {ports[3]}]\n"
        f'spans = [{ports[4]}, {ports[5]}, {{ to = "otlp+http://{web}" }}]\n'
        f'events = {{ to = "cloudevents+http://{web}/" }}\n'
    )
    began = time.monotonic()
    assert shop.run().err.count("to be delivered") == 8
    first = time.monotonic() - began
    assert [hole.asked for hole in holes] == [1] * 6
    began = time.monotonic()
    assert shop.run().err.count("to be delivered") == 8
    second = time.monotonic() - began
    assert [hole.asked for hole in holes] == [1] * 6
    assert len(http.answers) == 10 - 2
    for hole in holes:
        hole.close()
    # Each would have waited for twenty seconds; the rest of the bound is for a machine with much to do.
    assert first - second < 10


def test_a_variable_names_a_sink_for_all_that_the_journal_holds(
    shop: Any, http: Http, tmp_path: Path
) -> None:
    shop.begin(f'events = {{ to = "cloudevents+http://127.0.0.1:{http.port}/" }}\n', trusted=False)
    out = tmp_path / "all.ndjson"
    shop.run(env={"CXLOCAL_SINK_EVENTS": f"file:{out}"})
    assert http.requests == []
    types = [one["event"]["context"]["type"] for one in lines_of(out)]
    assert "dev.cdeventsx.cxlocal-node.began.0.1.0" in types
    assert "dev.cdevents.pipelinerun.finished.0.3.0" in types


def test_replay_sends_a_stretch_again_under_the_same_ids(shop: Any, tmp_path: Path) -> None:
    out, figures = tmp_path / "logs.ndjson", tmp_path / "metrics.ndjson"
    shop.begin(f'logs = {{ to = "file:{out}" }}\nmetrics = {{ to = "file:{figures}" }}\n')
    shop.run()
    shop.run()
    before = of_kind(out)
    assert len(before) == 46
    shop.ok("sinks", "--replay", "latest")
    shop.ok("sinks", "--now")
    assert of_kind(out) == before + before[23:]
    totals = {
        one["cx_id"]: one["value"] for one in lines_of(figures) if one["name"] == "cxlocal.runs"
    }
    assert list(totals.values()) == [1, 2]


def test_programs_of_a_stage_are_told_their_span(shop: Any, tmp_path: Path) -> None:
    """By 'run' and by 'stage', and so are those of another run that they start."""
    spans, logs = tmp_path / "spans.ndjson", tmp_path / "logs.ndjson"
    say = "echo $TRACEPARENT $TRACESTATE"
    shop.begin(
        f'spans = {{ to = "file:{spans}" }}\nlogs = {{ to = "file:{logs}" }}\n',
        stages=f"[stages]\nsay = {{ command = '{say}' }}\n",
    )
    outer = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    shop.run(env={"TRACEPARENT": outer})
    shop.ok("run", "start", env={"TRACEPARENT": "00-nonsense"})
    shop.ok("stage", "say", "--", "sh", "-c", say)
    shop.ok("run", "finish")
    found = {one["span"]: one for one in lines_of(spans)}
    told = [one["text"].split() for one in lines_of(logs)]
    assert len(told) == 2
    for (parent, state), line in zip(told, lines_of(logs), strict=True):
        _, trace, span, _ = parent.split("-")
        assert (found[span]["name"], found[span]["trace"]) == ("say", trace)
        assert (line["trace"], line["span"]) == (trace, span)
        assert state == f"cxlocal={line['run'][:8]}"
    assert [one.get("linked") for one in found.values() if "parent" not in one] == [outer, None]


OWN = """\
from cxlocal.hooks.sink import Later, NotTaken, Sink
from cxlocal.hooks.specs import hookimpl

class Mine(Sink):
    name = "mine"
    schemes = ("mine",)
    takes = frozenset({{"logs"}})

    def deliver(self, batch):
        {body}

@hookimpl
def cxlocal_register_sinks():
    return [Mine]
"""
BAD = {
    "import os; os._exit(7)": "it did not answer in time",
    "import time; time.sleep(60)": "it did not answer in time",
    "import ctypes; ctypes.string_at(0)": "it did not answer in time",
}


@pytest.mark.parametrize("body", BAD)
def test_a_sink_that_misbehaves_harms_no_run_and_no_other_sink(
    shop: Any, tmp_path: Path, body: str
) -> None:
    out = tmp_path / "events.ndjson"
    folder = shop.tree / ".cx" / "plugins"
    folder.mkdir(parents=True)
    (folder / "kit.py").write_text(OWN.format(body=body))
    shop.begin(f'logs = {{ to = "mine:x" }}\nevents = {{ to = "file:{out}" }}\n')
    done = shop.run()
    assert f"logs wait for mine:x: {BAD[body]}" in done.err, done.err
    if "_exit" not in body and "ctypes" not in body:
        assert of_kind(out) != []


def test_a_record_refused_for_good_stops_nothing(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "taken"
    folder = shop.tree / ".cx" / "plugins"
    folder.mkdir(parents=True)
    body = (
        "at = next((n for n, one in enumerate(batch) if one.line == 7), len(batch))\n"
        "        if at == 0: raise NotTaken('no sevens')\n"
        f"        open({str(out)!r}, 'a').writelines(one.text + '\\n' for one in batch[:at])\n"
        "        return at"
    )
    (folder / "kit.py").write_text(OWN.format(body=body))
    shop.begin('logs = { to = "mine:x" }\n')
    done = shop.run()
    assert "mine:x refused 1 record for good" in done.err
    (row,) = shop.ok("sinks", "--json").json()
    assert (row["refused"], row["refused_why"], row["events_behind"]) == (1, "no sevens", 0)
    written = out.read_text().splitlines()
    assert written == [
        *(f"line {n}" for n in range(1, 21) if n != 7), *(f"unit {n}" for n in (1, 2, 3)),
    ]  # fmt: skip


def test_a_log_that_was_removed_leaves_a_line_that_says_so(shop: Any, tmp_path: Path) -> None:
    out = tmp_path / "logs.ndjson"
    shop.begin(f'logs = {{ to = "file:{out}" }}\n', trusted=False)
    shop.run()
    for log in (shop.home / "logs").rglob("unit.log"):
        os.remove(log)
    shop.ok("trust", "--yes")
    shop.ok("sync")
    texts = [one["text"] for one in lines_of(out)]
    assert texts[20:] == ["[cxlocal] 3 lines left out"]


def test_a_journal_without_sinks_says_how_to_name_one(shop: Any) -> None:
    shop.begin("", trusted=False)
    shop.run()
    done = shop("sinks")
    assert (done.code, "no sink is named" in done.err) == (2, True)


def test_a_watch_delivers_what_comes(shop: Any, cx: Any) -> None:
    port = free_port()
    shop.begin(f'logs = {{ to = "json+tcp://127.0.0.1:{port}" }}\n')
    assert "to be delivered" in shop.run().err
    with running(Tcp(port=port)) as tcp:
        # The minute's rest of the run is over when somebody asks for it; a watch keeps it.
        assert shop("sinks", "--now").code == 0
        shop.run(env={"CXLOCAL_SINK_LOGS": "file:/dev/null"})
        watch = subprocess.Popen(
            [cx.program, "sync", "--watch", "--every", "1s"], cwd=shop.tree,
            env={**os.environ, **shop.environ}, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert watch.stderr is not None
        with watch.stderr:
            until(lambda: len(tcp.lines()) == 46)
            watch.send_signal(signal.SIGINT)
            assert b"Ended." in watch.stderr.read()
        assert watch.wait(20) == 0
