"""docs/sinks.md says which figures there are, and what a trace holds: compared with what is really sent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from cxlocal.events.traces import span_of, trace_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sinks.md"
ROW = re.compile(r"^\| `(cxlocal\.[a-z_.]+)` \| (\S+) \|([a-z_, ]*)\|", re.MULTILINE)
STAGES = """\
[stages]
build = { kind = "build", command = "cat lines.txt", produces = { app = "lines.txt" } }
ship = { kind = "deploy", needs = ["build"], environment = "live", command = "echo $TRACEPARENT; test ! -e @STOP@" }
[environments]
live = { protected = false }
"""
SECRET = "very-secret-value"


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_figures_and_spans_of_releases_deployments_and_a_rollback(
    shop: Any, tmp_path: Path
) -> None:
    """Names, units and labels of all that is sent are those of the page, and none of the page is missing."""
    out = {kind: tmp_path / f"{kind}.ndjson" for kind in ("metrics", "spans", "logs")}
    sinks = "".join(f'{kind} = {{ to = "file:{path}" }}\n' for kind, path in out.items())
    store, stop = f"sqlite://{shop.root}/store.db", tmp_path / "stop"
    shop.environ["CXLOCAL_STORE"] = store
    shop.begin(sinks, stages=STAGES.replace("@STOP@", str(stop)))
    shop.ok("store", "create", store)
    shop.run()
    shop.run()
    shop.ok("rollback", "live", "-m", "orders fail")
    stop.touch()
    assert shop("run", "--no-input").code == 1
    stop.unlink()
    shop.ok("deploy", "0.1.1", "--env", "live", "-m", "again")
    shop.ok("sync")
    sent = lines_of(out["metrics"])
    found = {(one["name"], one["unit"], tuple(sorted(one.get("labels", {})))) for one in sent}
    told = {
        (name, unit, tuple(sorted(labels.replace(",", "").split())))
        for name, unit, labels in ROW.findall(PAGE.read_text())
    }
    assert found == told
    # Totals count what happened: four deployments that went well, one that did not.
    totals = {
        (one["name"], one["labels"].get("outcome")): one["value"]
        for one in sent
        if one.get("counts")
    }
    assert totals[("cxlocal.deployments", "success")] == 4
    assert totals[("cxlocal.deployments", "failure")] == 1
    assert totals[("cxlocal.runs", "success")] == 2
    # Each deployment is a span of the run of its version: by the release, the rollback, 'deploy'.
    runs = {one["version"]: one["run"] for one in shop.ok("log", "--json").json()}
    ships = [one for one in lines_of(out["spans"]) if one["name"] == "ship"]
    assert [one["attributes"]["service.version"] for one in ships] == [
        "0.1.0", "0.1.1", "0.1.0", "0.1.2", "0.1.1",
    ]  # fmt: skip
    assert [one["outcome"] for one in ships] == ["success"] * 3 + ["failure", "success"]
    assert {one["attributes"]["deployment.environment.name"] for one in ships} == {"live"}
    for one in ships:
        run = runs[one["attributes"]["service.version"]]
        assert (one["trace"], one["parent"]) == (trace_of(run), span_of(run))
    assert len({one["span"] for one in ships}) == 5
    # Each was told its own span, and so was nobody else.
    texts = [
        one["text"] for one in lines_of(out["logs"]) if one["stage"] == "ship" and one["line"] == 1
    ]
    assert texts == [f"00-{one['trace']}-{one['span']}-01" for one in ships]


def test_a_secret_reaches_no_sink_by_any_way(shop: Any, tmp_path: Path) -> None:
    """Printed, spelled in another way, in a report, in the last lines of what failed."""
    kinds = ("events", "logs", "metrics", "spans")
    out = {kind: tmp_path / f"{kind}.ndjson" for kind in kinds}
    sinks = "".join(f'{kind} = [{{ to = "file:{path}" }}]\n' for kind, path in out.items())
    seen, look = tmp_path / "seen", tmp_path / "look.sh"
    look.write_text(f"cat > /dev/null; cat /proc/[0-9]*/cmdline >> {seen}\n")
    program = f'{{ to = "command:sh {look}", token = {{ env = "TOKEN" }} }}'
    sinks = sinks.replace("logs = [", f"logs = [{program}, ")
    shop.tree.mkdir()
    (shop.tree / "say.sh").write_text(
        'echo $TOKEN; echo $TOKEN >&2; printf %s "$TOKEN" | base64\n'
        "echo \"<testsuite><testcase name='$TOKEN'><failure message='$TOKEN'>$TOKEN</failure>"
        '</testcase></testsuite>" > r.xml; exit 4\n'
    )
    stages = """\
[stages]
say = { command = "sh say.sh", secrets = ["TOKEN"], reports = { junit = "r.xml" } }
[secrets]
TOKEN = { env = "TOKEN" }
"""
    shop.begin(sinks, stages=stages)
    done = shop("run", "--no-input", "-m", "because", env={"TOKEN": SECRET})
    assert done.code == 1
    shop.ok("sync", env={"TOKEN": SECRET})
    for kind, path in out.items():
        content = path.read_text()
        assert content, kind
        assert SECRET not in content and "dmVyeS1zZWNyZXQtdmFsdWU" not in content, kind
    assert "***" in out["logs"].read_text()
    assert b"sinks/worker.py" in seen.read_bytes() and SECRET.encode() not in seen.read_bytes()
    for path in shop.home.rglob("*"):
        if path.is_file() and "checkouts" not in path.parts:
            assert SECRET.encode() not in path.read_bytes(), path
