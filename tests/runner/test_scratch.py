"""What tools write down for themselves while a run goes on: it may hold their secrets, and does not stay."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SECRET = "pw-4711-of-the-db"
SAY = f"""
printf '{{"secret_outputs": {{"url": "%s"}}}}' {SECRET} > "$CXLOCAL_RESULT"
cp "$CXLOCAL_RESULT" "$CXLOCAL_RESULT.copy"
"""
LOOK = """
grep -rqs url "$(dirname "$CXLOCAL_RESULT")/.." && touch "$HOME/found"
exit 1
"""
COMPONENTS = """
[stages]
live = { kind = "deploy", environment = "production" }
[components.db]
mutable = true
tool = "commands"
timeout = "2s"
with = { apply = '''sh db.sh''' }
[components.web]
mutable = true
needs = ["db"]
tool = "commands"
with = { apply = "sh web.sh" }
[environments.production]
protected = false
"""
KIT = """
import os
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Done, Tool, ToolFailure

class Careless(Tool):
    name = "careless"
    api = 2
    def build(self, ctx):
        (ctx.scratch / "token").write_text("pw-4711" + "-of-the-db")
        raise ToolFailure("it did not work")

@hookimpl
def cxlocal_register_tools():
    return [Careless]
"""


def kept_secrets(home: Path) -> list[Path]:
    """The files in which the secret stands."""
    return [
        one for one in home.rglob("*")
        if one.is_file() and "source" not in one.parts and SECRET.encode() in one.read_bytes()
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["", "exit 1", "sleep 60"])
def test_the_answer_of_a_command_does_not_stay(shop: Any, end: str) -> None:
    """The command that says it succeeds, fails, or is ended at its limit."""
    shop.write(COMPONENTS, {"db.sh": f"{SAY}\n{end}\n", "web.sh": LOOK})
    assert shop.run().code in (1, 9)
    assert not (Path.home() / "found").exists(), "the next verb does not find it"
    assert list((shop.home / "checkouts").glob("*/failed")), "its checkout is kept"
    assert kept_secrets(shop.home) == []


def test_nor_does_what_a_tool_writes(shop: Any, tools: Callable[[str], None]) -> None:
    tools(KIT)
    shop.write('[stages]\nmake = { tool = "careless", kind = "build" }\n')
    assert shop.run().code == 1
    assert list((shop.home / "checkouts").glob("*/failed"))
    assert kept_secrets(shop.home) == []


def test_nor_that_of_a_run_that_was_killed(shop: Any) -> None:
    shop.write(COMPONENTS, {"db.sh": f"{SAY}\ntouch $HOME/said; sleep 60\n", "web.sh": LOOK})
    process: subprocess.Popen[bytes] = shop.start("run")
    said = Path.home() / "said"
    until = time.monotonic() + 30
    while not said.exists():
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert kept_secrets(shop.home), "the kill came in time"
    shop.command("status")
    shop.run()
    assert kept_secrets(shop.home) == []
