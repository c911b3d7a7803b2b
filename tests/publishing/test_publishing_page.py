"""docs/publishing.md says what the tools of targets take, and what it shows is accepted."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest
from cxlocal_plugins.commands import Commands
from cxlocal_plugins.targets.debian import DebianRepository
from cxlocal_plugins.targets.folder import Folder
from cxlocal_plugins.targets.forge import ForgeRelease
from cxlocal_plugins.targets.git_tag import GitTag
from cxlocal_plugins.targets.npm import Npm
from cxlocal_plugins.targets.object_store import ObjectStore
from cxlocal_plugins.targets.python_index import PythonIndex

from cxlocal.hooks.options import check_options
from cxlocal.hooks.tool import Tool, verbs_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "publishing.md").read_text("utf-8")
NEEDED: dict[type[Tool], dict[str, str]] = {
    Folder: {"folder": ""}, GitTag: {}, PythonIndex: {}, Npm: {},
    ForgeRelease: {"forge": "", "project": ""},
    DebianRepository: {"folder": "", "codename": ""}, ObjectStore: {"bucket": ""},
}  # fmt: skip
TOOLS = {tool.name: tool for tool in NEEDED}


def section(name: str) -> str:
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("tool", NEEDED, ids=TOOLS)
def test_options_and_verbs_are_those_of_the_tool(tool: type[Tool]) -> None:
    rows = re.findall(r"^\| (\w+) \| `(.*?)` \|", section(tool.name), re.MULTILINE)
    said = {name: json.loads(default) for name, default in rows}
    assert said == msgspec.to_builtins(check_options(tool, NEEDED[tool]))
    found = re.search(r"Verbs?:\s([^.]*)\.", section(tool.name))
    assert found is not None
    assert set(re.split(r",\s", found[1])) == set(verbs_of(tool))
    assert f"| `{tool.name}` |" in PAGE, "whether its put refuses what exists"


def test_the_examples_are_accepted() -> None:
    known = {**TOOLS, "commands": Commands}
    shown = set()
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        whole = tomllib.loads(block)
        for target in whole.get("targets", {}).values():
            assert set(target.get("secrets", ())) <= set(whole.get("secrets", ())), block
            check_options(known[target["tool"]], target.get("with", {}))
            shown.add(target["tool"])
    assert shown == known.keys()
