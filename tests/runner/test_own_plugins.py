"""Tools of the project itself, as doctor, plugins and a dry run see them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

KIT = '''
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Done, Tool

class Kit(Tool):
    """Does nothing."""

    name = "kit"

    def build(self, ctx):
        return Done()

@hookimpl
def cxlocal_register_tools():
    return [Kit]
'''

STAGES = '[stages]\nbuild = { tool = "kit" }\n'


def test_doctor_knows_tools_of_the_project(shop: Any, tools: Callable[[str], None]) -> None:
    tools(KIT)
    shop.write(STAGES)
    done = shop.command("doctor", "--json")
    checks = {row["name"]: row for row in json.loads(done.out)}
    assert checks["tool kit"]["state"] == "ok", done.out
    assert "revision" in checks
    del shop.environ["CXLOCAL_TRUST"]
    done = shop.command("doctor", "--json")
    [own] = [row for row in json.loads(done.out) if row["name"] == "own plugins"]
    assert (own["state"], done.code) == ("bad", 1)
    assert "cxlocal trust" in own["to_do"]


def test_no_package_is_guessed_for_a_missing_tool(shop: Any) -> None:
    """Whatever is called like it on a package index may be anybody's."""
    shop.write('[stages]\nbuild = { tool = "tarball" }\n')
    for words in (["run"], ["doctor"], ["run", "--dry-run"]):
        done = shop.command(*words)
        assert "tarball" in done.out + done.err
        assert "pip install" not in done.out + done.err


def test_a_dry_run_takes_the_plugins_of_the_commit(shop: Any, tools: Callable[[str], None]) -> None:
    tools(KIT)
    shop.write(STAGES)
    assert shop.run("--dry-run").code == 0
    (shop.tree / ".cx" / "plugins" / "kit.py").write_text(KIT + "# not committed, not trusted\n")
    assert shop.run("--dry-run").code == 0
    assert shop.run().code == 0
    shop.git("commit", "-qam", "changed")
    shop.git("push", "-q", "origin", "HEAD")
    for words in (["run", "--dry-run"], ["run"]):
        done = shop.command(*words)
        assert done.code == 3
        assert "holds 1 plugin that nobody" in done.err


def test_a_trusted_plugin_that_raises_is_listed_as_broken(
    shop: Any, tools: Callable[[str], None]
) -> None:
    tools(KIT + '\nraise RuntimeError("no such luck")\n')
    shop.write(STAGES)
    rows = {row["name"]: row for row in json.loads(shop.command("plugins", "--json").out)}
    assert rows["kit"]["state"] == "broken"
    assert "no such luck" in rows["kit"]["error"]
    tools(KIT)
    rows = {row["name"]: row for row in json.loads(shop.command("plugins", "--json").out)}
    assert (rows["kit"]["state"], rows["kit"]["hooks"]) == ("loaded", ["register_tools"])
    del shop.environ["CXLOCAL_TRUST"]
    rows = {row["name"]: row for row in json.loads(shop.command("plugins", "--json").out)}
    assert (rows["kit"]["state"], rows["kit"]["hooks"]) == ("untrusted", [])
