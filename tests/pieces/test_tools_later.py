"""Deployments, ways back and debts through tools: a tiny one of the project, and local-service."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

TINY = '''\
"""A place that is a folder: what runs there is what a file says."""

import json
import time
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Applied, Done, Observed, Tool


class Tiny(Tool):
    name = "tiny"

    class Options(Tool.Options, forbid_unknown_fields=True, frozen=True):
        root: str
        slow: bool = False

    def _write(self, ctx, version):
        path = Path(ctx.options.root) / ctx.environment.instance
        ctx.intend({"path": str(path)})
        path.parent.mkdir(parents=True, exist_ok=True)
        old = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*old, version]))
        if ctx.options.slow:
            time.sleep(60)
        return Applied(outputs={"url": "tiny://here"})

    def apply(self, ctx):
        return self._write(ctx, ctx.version)

    def observe(self, ctx):
        path = Path(ctx.handle["path"]) if ctx.handle else None
        if path is None or not path.exists():
            return Observed()
        return Observed(version=json.loads(path.read_text())[-1], healthy=True)

    def destroy(self, ctx):
        Path(ctx.handle["path"]).unlink(missing_ok=True)
        return Done()


@hookimpl
def cxlocal_register_tools():
    return [Tiny]
'''


def _with_tiny(desk: Any, extra: str = "", slow: str = "") -> None:
    config = (desk.tree / "cx.toml").read_text()
    config = config.replace(
        'command = "sh deploy.sh"', f'tool = "tiny"\nwith = {{ root = "{desk.live}"{slow} }}'
    )
    desk.write({"cx.toml": config + extra, ".cx/plugins/tiny.py": TINY})
    assert desk("trust", "--yes").code == 0


def _said(desk: Any) -> list[str]:
    import json

    found: list[str] = json.loads((desk.live / "production").read_text())
    return found


def test_a_tool_deploys_observes_and_goes_back(desk: Any) -> None:
    _with_tiny(desk)
    first, second = desk.release(), desk.release()
    for version in (first, second):
        done = desk("deploy", version, "--to", "production")
        assert done.code == 0, done.err
    found = desk("env", "observe", "production", "--json").json()
    assert (found["observed"], found["agrees"], found["healthy"]) == (second, True, True)
    done = desk("rollback", "production", "-m", "bad night")
    assert done.code == 0, done.err
    assert _said(desk) == [first, second, first]
    row = desk.rows("SELECT verb, outcome FROM stage_run ORDER BY started_at DESC LIMIT 1")[0]
    assert tuple(row.values()) == ("apply", "success")
    row = desk.rows("SELECT version, kind, reason FROM deployment ORDER BY deployed_at DESC")[0]
    assert tuple(row.values()) == (first, "rolledback", "bad night")
    assert [one["version"] for one in desk.rows("SELECT version FROM deployments_now")] == [first]
    assert desk("verify").code == 0


def test_what_was_changed_outside_is_shown(desk: Any) -> None:
    _with_tiny(desk)
    version = desk.release()
    assert desk("deploy", version, "--to", "production").code == 0
    (desk.live / "production").write_text('["0.0.9"]')
    done = desk("env", "observe", "production")
    assert (done.code, done.out) == (1, "production runs 0.0.9, healthy\n")
    assert "changed outside" in done.err
    assert len(desk.rows("SELECT id FROM stage_run WHERE stage LIKE '%observe%'")) == 0


def test_secrets_are_not_read_for_it_before_somebody_agreed(desk: Any) -> None:
    _with_tiny(desk)
    config, ran = (desk.tree / "cx.toml").read_text(), desk.tree.parent / "ran"
    config = config.replace('tool = "tiny"', 'tool = "tiny"\nsecrets = ["A"]')
    command = f"touch {ran}; echo a-secret-of-some-length"
    desk.write({"cx.toml": f'{config}\n[secrets]\nA = {{ cmd = ["sh", "-c", "{command}"] }}\n'})
    done = desk("deploy", desk.release(), "--to", "production")
    assert done.code == 0, done.err
    ran.unlink()  # a deployment runs stages
    done = desk("env", "observe", "production")
    assert done.code == 3 and "secrets of this checkout" in done.err, done.err
    assert not ran.exists()
    assert desk("trust", "--yes").code == 0
    done = desk("env", "observe", "production")
    assert done.code == 0 and ran.exists(), done.err


def _until(condition: Any) -> None:
    limit = time.monotonic() + 20
    while not condition() and time.monotonic() < limit:
        time.sleep(0.02)
    assert condition()


def test_a_deployment_that_was_killed_can_be_repeated(desk: Any) -> None:
    _with_tiny(desk, slow=", slow = true")
    version = desk.release()
    process = _start(desk, "deploy", version, "--to", "production")
    _until(lambda: (desk.live / "production").exists())
    process.kill()
    process.wait()
    assert desk.stages()[-1] == ("deploy", 1, None, None)
    assert desk("verify").code == 0
    process = _start(desk, "deploy", version, "--to", "production")
    _until(lambda: len(_said(desk)) == 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    stages = desk.stages()
    assert [one[:3] for one in stages[-2:]] == [("deploy", 1, "error"), ("deploy", 2, "cancel")]
    assert desk.rows("SELECT * FROM deployments_now") == []


def _start(desk: Any, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [desk.cx.program, *words], cwd=desk.tree, env={**os.environ, **desk.environ},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


PER_RUN = """
[stages.try]
kind = "deploy"
tool = "tiny"
needs = ["build"]
environment = "test"
[stages.try.with]
root = "LIVE"
slow = true
[environments.test]
lifetime = "per-run"
"""


def test_reap_destroys_what_a_killed_run_left_behind(desk: Any) -> None:
    _with_tiny(desk, PER_RUN.replace("LIVE", str(desk.live)))
    config = (
        (desk.tree / "cx.toml").read_text().replace('command = "make"', 'command = "touch app.bin"')
    )
    desk.write({"cx.toml": config})
    process = _start(desk, "run", "--to", "try")
    _until(lambda: desk.live.exists() and list(desk.live.glob("test-*")))
    process.kill()
    process.wait()
    owed = desk("env", "reap", "--dry-run", "--json").json()
    assert [one["environment"] for one in owed] == ["test"]
    assert list(desk.live.glob("test-*"))
    done = desk("env", "reap", "--json")
    assert done.code == 0, done.err
    assert list(desk.live.glob("test-*")) == []
    assert desk.rows("SELECT outcome FROM run") == [{"outcome": "error"}]
    assert desk("env", "reap", "--json").json() == []
    assert "test" not in desk("env", "list").out
    assert desk("verify").code == 0


class Asked:
    """Asks a service for its version all the time, on a kept connection and on new ones."""

    def __init__(self, uri: str) -> None:
        self.place = urlsplit(uri)
        self.wrong: list[str] = []
        self.said: Counter[str] = Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (True, False)]
        for thread in self._threads:
            thread.start()

    def _ask(self, kept: bool) -> None:
        link = http.client.HTTPConnection(self.place.netloc, timeout=10)
        while not self._over.wait(0.01):
            try:
                link.request("GET", "/version")
                answer = link.getresponse()
                self.said[json.loads(answer.read())] += 1
                if not kept or answer.will_close:
                    link.close()
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.wrong.append(repr(error))
                link.close()
        link.close()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


SERVICE = """\
cx = 1
[deliverable]
name = "webshop"
[version]
line = "1.0"
stamp = [{ file = "pyproject.toml", key = "project.version" }]

[stages]
build = { tool = "wheel", produces = ["wheel"] }
[stages.live]
kind = "deploy"
environment = "production"
needs = ["build"]
tool = "local-service"
with = { module = "webshop", version_path = "/version" }
[environments.production]
"""
"""The shop of the demo without what tries it out before: the demo itself shows that."""


@pytest.mark.slow
@pytest.mark.timeout(180)  # installs into three environments of their own
def test_a_local_service_goes_forward_and_back(desk: Any) -> None:
    import urllib.request

    import cxlocal.demo

    shop = Path(cxlocal.demo.__file__).with_name("webshop")
    files = {
        str(path.relative_to(shop)): path.read_text()
        for path in (shop / "pyproject.toml", *shop.glob("src/webshop/*.py"))
    }
    desk.write({**files, "cx.toml": SERVICE})
    first = desk("run", "--to", "production", "--json")
    assert first.code == 0, first.err
    (uri,) = desk.rows("SELECT uri FROM deployments_now")[0].values()
    asked = Asked(uri)
    try:
        desk.write({"CHANGES": "a change"})
        second = desk("run", "--to", "production", "--json")
        assert second.code == 0, second.err
        versions = [first.json()["version"], second.json()["version"]]
        found = desk("env", "observe", "production", "--json").json()
        assert (found["observed"], found["agrees"]) == (versions[1], True)
        done = desk("rollback", "production")
        assert done.code == 0, done.err
        found = desk("env", "observe", "production", "--json").json()
        assert (found["observed"], found["agrees"]) == (versions[0], True)
        with urllib.request.urlopen(found["uri"] + "/version", timeout=5) as answer:
            assert versions[0] in answer.read().decode()
        done = desk("deploy", versions[1], "--to", "production")
        assert done.code == 0, done.err
    finally:
        asked.end()
        done = desk("env", "destroy", "production", "--yes")
    assert done.err.count("destroyed what was left of production") == 1, done.err
    assert asked.wrong == [] and set(asked.said) == set(versions), (asked.wrong[:3], asked.said)
