"""docs/tools.md says what the tools take, and what it shows is accepted."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cxlocal_plugins.ci import OWN
from cxlocal_plugins.commands import Commands
from cxlocal_plugins.containers import Docker, Podman
from cxlocal_plugins.haproxy import Haproxy
from cxlocal_plugins.local_service.tool import LocalService
from cxlocal_plugins.oci import Oci
from cxlocal_plugins.postgresql import Postgresql
from cxlocal_plugins.pytest_tool import Pytest
from cxlocal_plugins.ssh import Ssh
from cxlocal_plugins.wheel import Wheel

from cxlocal.hooks.options import check_options
from cxlocal.hooks.tool import Tool, verbs_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tools.md").read_text(encoding="utf-8")
TOOLS: dict[str, type[Tool]] = {
    tool.name: tool
    for tool in (
        Wheel,
        Pytest,
        LocalService,
        Commands,
        Oci,
        Podman,
        Docker,
        Haproxy,
        Postgresql,
        Ssh,
    )
}


def section(name: str) -> str:
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_the_options_are_those_of_the_tool(tool: type[Tool]) -> None:
    rows = re.findall(r"^\| (\w+) \| `(.*?)` \|", section(tool.name), re.MULTILINE)
    said = {name: json.loads(default) for name, default in rows}
    defaults = msgspec.to_builtins(check_options(tool, needed(tool)))
    names = [field.encode_name for field in msgspec.structs.fields(tool.Options)]
    assert list(said) == names
    assert said == {**json.loads(json.dumps(defaults)), **dict.fromkeys(needed(tool), "")}


def needed(tool: type[Tool]) -> dict[str, Any]:
    return {
        LocalService: {"module": "webshop"}, Haproxy: {"url": "admin.sock"},
        Postgresql: {"url": "postgresql:///shop"},
        Ssh: {"hosts": ["app"], "root": "/srv/shop", "artifact": "site"},
    }.get(tool, {})  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_the_verbs_are_those_of_the_tool(tool: type[Tool]) -> None:
    found = re.search(r"Verbs?:\s([^.]*)\.", section(tool.name))
    assert found is not None
    assert set(re.split(r",\s", found[1])) == set(verbs_of(tool))


def test_the_examples_are_accepted() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == len(TOOLS)
    for block in blocks:
        shown = tomllib.loads(block)
        for one in (shown.get("stages") or shown["components"]).values():
            check_options(TOOLS[one["tool"]], one.get("with", {}))


def test_the_variables_are_named() -> None:
    for name in (*OWN.values(), "CXLOCAL_CI_NAME"):
        assert f"`{name}`" in section("CI servers")
