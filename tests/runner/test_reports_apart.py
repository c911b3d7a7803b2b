"""A reader of reports at work: the rest of the run goes on, and signals are obeyed."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

KIT = """
import os, signal, time
from pathlib import Path
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.specs import hookimpl

DESK = Path("@DESK@")

class Slow:
    format = "slow"
    def read(self, path, *, suite):
        (DESK / "reads").touch()
        way = path.read_text()
        while way == "waits" and not (DESK / "limited").exists():
            time.sleep(0.01)
        if way == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        if way == "dies":
            os._exit(0)
        while way == "spins":
            pass
        return Report("slow", suite, (Case(suite, way, "passed", 0.5, ""),))

@hookimpl
def cxlocal_register_report_readers():
    return [Slow()]
"""
STAGE = """
[stages]
reads = { command = "printf @WAY@ > said", reports = { slow = "said" } }
"""
OTHERS = """
late = { command = ["sh", "-c", "trap 'touch @DESK@/limited; exit 1' TERM; sleep 60 & wait"], timeout = "1s" }
first = { command = "while [ ! -e @DESK@/reads ]; do sleep 0.05; done" }
second = { command = "true", needs = ["first"] }
"""


def ready(shop: Any, tools: Any, way: str, more: str = "") -> Path:
    desk: Path = shop.root / "desk"
    desk.mkdir()
    tools(KIT.replace("@DESK@", str(desk)))
    shop.write((STAGE + more).replace("@WAY@", way).replace("@DESK@", str(desk)))
    return desk


def test_other_stages_begin_and_are_stopped_at_their_limits(shop: Any, tools: Any) -> None:
    """The reader waits for what the limit of another stage does; that one for a stage that began meanwhile."""
    ready(shop, tools, "waits", OTHERS)
    done = shop.run()
    assert done.code == 9, done.err
    assert shop.outcomes() == {
        "reads": "success", "late": "error", "first": "success", "second": "success",
    }, done.err  # fmt: skip
    assert shop.query("SELECT passed FROM report") == [1]


@pytest.mark.parametrize("way", ["spins", "stops"])
def test_a_signal_ends_the_run_while_a_report_is_read(shop: Any, tools: Any, way: str) -> None:
    desk = ready(shop, tools, way)
    process = shop.start("run")
    until = time.monotonic() + 15
    while not (desk / "reads").exists() and time.monotonic() < until:
        time.sleep(0.02)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM, err.decode()
    assert time.monotonic() - began < 10
    assert shop.query("SELECT outcome, reason FROM stage_run") == [("cancel", "cancelled: SIGTERM")]
    assert shop.query("SELECT count(*) FROM report") == [0]


def test_a_single_command_says_what_became_of_its_report(shop: Any, tools: Any) -> None:
    ready(shop, tools, "dies")
    begun = shop.command("run", "start").out
    shop.environ |= dict(re.findall(r"(?m)^export (CXLOCAL_\w+)=(\S+?);?$", begun))
    done = shop.command("stage", "reads", "--", "sh", "-c", "printf dies > said; echo data")
    assert (done.code, done.out) == (9, "data\n"), done.err
    words = "report said could not be read: the reader of slow failed: it ended without an answer"
    assert words in done.err
    done = shop.command("stage", "reads", "--", "sh", "-c", "printf passes > said")
    assert done.code == 0, done.err


TALKS = """
import os
from cxlocal.hooks.report import Case, Report
from cxlocal.hooks.specs import hookimpl

class Talks:
    format = "talks"
    def read(self, path, *, suite):
        text = path.read_text().strip()
        for part in (f"READS {text[:7]}", f"{text[7:]} \\x1b[2Jok gr\\u00fc".encode()[:-1], b"\\xbcn\\nend"):
            os.write(1, part if isinstance(part, bytes) else part.encode())
        return Report("talks", suite, (Case(suite, "talks", "passed", 0.5, ""),))

@hookimpl
def cxlocal_register_report_readers():
    return [Talks()]
"""
SECRETS = """
[stages]
unit = { command = "true", reports = { talks = "said" }, secrets = ["KEY"] }
[secrets]
KEY = { env = "KEY" }
"""


def test_what_a_reader_prints_has_no_secret_and_moves_no_cursor(shop: Any, tools: Any) -> None:
    tools(TALKS)
    shop.write(SECRETS)
    secret = "verysecretvalue1"
    shop.environ |= {"KEY": secret}
    begun = shop.command("run", "start").out
    shop.environ |= dict(re.findall(r"(?m)^export (CXLOCAL_\w+)=(\S+?);?$", begun))
    done = shop.command("stage", "unit", "--", "sh", "-c", "echo $KEY > said; echo data")
    assert (done.code, done.out) == (0, "data\n"), done.err
    assert "READS *** ok gr\u00fcn\nend\n" in done.err
    assert secret[7:] not in done.err and "\x1b" not in done.err
