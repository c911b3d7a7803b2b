"""What is released is what the commit holds, as whole commands show it."""

from __future__ import annotations

import json
from typing import Any

import pytest

SHOWS = '[stages]\nbuild = { command = "cat a.up f.txt" }\n'
IN_PLACE = '[defaults]\nworkspace = "in-place"\n' + SHOWS
FILES = {".gitattributes": "*.up filter=up\n", "a.up": "text\n", "f.txt": "one\n"}


@pytest.mark.parametrize("command", [("run",), ("run", "start")])
def test_a_tree_that_hides_changes_is_refused(shop: Any, command: tuple[str, ...]) -> None:
    shop.write(IN_PLACE, FILES)
    shop.git("update-index", "--skip-worktree", "f.txt")
    (shop.tree / "f.txt").write_text("mine\n")
    refused = shop.command(*command)
    assert refused.code == 3 and "uncommitted changes: f.txt" in refused.err, refused.err
    assert shop.query("SELECT count(*) FROM run") == [0]


def test_what_a_checkout_needs_and_lacks_is_recorded(shop: Any) -> None:
    """An agreed filter works, a submodule is left out, and the run says both; cx.toml is a link."""
    shop.git("config", "--global", "filter.up.smudge", "tr a-z A-Z")
    modules = '[submodule "theme"]\n\tpath = docs/theme\n\turl = ../theme\n\tupdate = none\n'
    config = 'cx = 1\n[deliverable]\nname = "shop"\n[scm]\nfilters = ["up"]\n' + SHOWS
    for name, content in {**FILES, ".gitmodules": modules, "real.toml": config}.items():
        (shop.tree / name).write_text(content)
    (shop.tree / "cx.toml").symlink_to("real.toml")
    (shop.tree / "docs/theme").mkdir(parents=True)
    shop.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},docs/theme")
    shop.git("add", ".")
    shop.git("commit", "-q", "-m", "all")
    shop.git("push", "-q", "origin", "HEAD:main")
    done = shop.run()
    assert done.code == 0, done.err
    assert "TEXT\none\n" in shop.log("build")
    assert "left out  docs/theme: update = none" in done.err
    plan = json.loads(shop.command("show", "--plan").out)
    assert plan["filters"] == ["up"]
    path = "$.customData.cxlocal.absent_submodules[0]"
    assert "docs/theme" in shop.query("SELECT document ->> ? FROM event", path)


def test_a_filter_nobody_named_is_warned_of(shop: Any) -> None:
    shop.git("config", "--global", "filter.up.smudge", "tr a-z A-Z")
    shop.write(SHOWS, FILES)
    done = shop.run()
    assert done.code == 0 and "[scm] filters does not name (up)" in done.err
    assert "text\none\n" in shop.log("build")


def test_a_stamp_without_a_place_is_refused_before_a_number_is_taken(shop: Any) -> None:
    stamp = """stamp = [{ file = "version.mk", pattern = '^VERSION = (?:"(.*)"|[0-9]+)' }]"""
    shop.write(f"[version]\n{stamp}\n{SHOWS}", {**FILES, "version.mk": "VERSION = 7\n"})
    refused = shop.run()
    assert refused.code == 2 and "its group took no part in the match" in refused.err
    assert shop.query("SELECT count(*) FROM run") == [0]
