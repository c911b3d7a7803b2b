"""Plugins that would end the process of a command: it goes on, and names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plugin_site import HEAD, TOOL, install

ENDS = {
    "os._exit": "import os; os._exit(0)",
    "posix._exit": "import posix; posix._exit(0)",
    "another program": "import os; os.execvp('true', ['true'])",
    "its environment, too": "import os; os.execle('/bin/true', 'true', {})",
}


@pytest.mark.parametrize("way", sorted(ENDS))
def test_a_plugin_that_ends_while_it_is_loaded_is_named(
    site: Path, cx: Any, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    install(site, "leaves", f"{HEAD}\n{ENDS[way]}\n")
    install(site, "good", TOOL.format(kind="Good", name="good-tool"))
    done = cx("plugins", "good-tool")
    assert done.code == 0 and "good-tool" in done.out
    assert "leaves" in done.err and "would have ended cxlocal" in done.err
    strict = cx("plugins", "good-tool", env={"CXLOCAL_STRICT_PLUGINS": "1"})
    assert strict.code == 2 and "would have ended cxlocal" in strict.err


def test_nothing_of_ours_offers_what_is_refused(
    site: Path, cx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a plugin can import of us, only the end of a command itself holds one of these calls
    as it was before."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    code = (
        "import importlib, pkgutil, sys, cxlocal\n"
        "for one in pkgutil.walk_packages(cxlocal.__path__, 'cxlocal.'):\n"
        "    if not one.name.endswith('__main__'): importlib.import_module(one.name)\n"
        "import os\n"
        "real = [getattr(os, name).args[0] for name in ('_exit', 'execv', 'execve')]\n"
        "held = [f'{name}.{key}' for name, module in sorted(sys.modules.items()) if name.startswith('cxlocal')\n"
        "  for key, value in vars(module).items() if any(value is one for one in real)]\n"
        "print('held:', held, len(real))\n"
    )
    install(site, "looks", HEAD + code)
    done = cx("plugins", "no-such-tool")
    assert "held: ['cxlocal.commands.main.END'] 3" in done.err, done.err


def test_nor_does_it_end_us_later(site: Path, cx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a hook, in a thread, at the end. What it divides off ends as it likes."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    code = (
        "import atexit, os, threading\n"
        "atexit.register(os._exit, 0)\n"
        "late = threading.Thread(target=os._exit, args=(0,)); late.start(); late.join()\n"
        "child = os.fork()\n"
        "if not child: os._exit(7)\n"
        "print('ended with', os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "@hookimpl\ndef cxlocal_register_tools(): os._exit(0)\n"
    )
    install(site, "leaves", HEAD + code)
    done = cx("plugins", "no-such-tool")
    assert done.code == 2 and "no-such-tool" in done.err
    assert "ended with 7" in done.err and "would have ended cxlocal" in done.err


def test_what_looks_at_plugins_ends_as_they_like(
    site: Path, cx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There each is alone, and nothing is cut off but the look at it."""
    monkeypatch.setenv("PYTHONPATH", str(site))
    install(site, "leaves", ENDS["os._exit"])
    done = cx("plugins", "--json")
    rows = {row["name"]: row for row in json.loads(done.out)}
    assert done.code == 1 and rows["leaves"]["state"] == "broken"
    assert "exit code 0" in rows["leaves"]["error"]
