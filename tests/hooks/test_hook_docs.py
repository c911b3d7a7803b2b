"""The hook page is up to date, the markers are pluggy's, and the page about own tools works."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
import pytest

from cxlocal.domain import Outcome
from cxlocal.errors import ConfigError
from cxlocal.hooks import specs, trust
from cxlocal.hooks.context import run_tool_here
from cxlocal.hooks.manager import load
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.options import check_options
from cxlocal.hooks.registered import find_tool
from cxlocal.hooks.tool import Done

ROOT = Path(__file__).resolve().parents[2]


def _generator(name: str = "hooks_page") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_hook_page_is_up_to_date() -> None:
    page = _generator()
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "tests/run --write-docs"


def test_the_page_of_types_is_up_to_date_and_says_all() -> None:
    page = _generator("types_page")
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "tests/run --write-docs"
    assert page.missing() == []
    named = re.findall(r"```python\nfrom (\S+) import (\w+)\n```", page.render())
    assert len(named) == sum(len(names) for _, names in page.CLASSES)
    assert page.of_hooks() <= {name for _, name in named}, "what hooks take and give is described"
    assert all(hasattr(importlib.import_module(module), name) for module, name in named)


def test_our_markers_do_what_those_of_pluggy_do() -> None:
    def ours() -> None:
        pass

    def theirs() -> None:
        pass

    for options in ({}, {"tryfirst": True}, {"wrapper": True}):
        specs.hookimpl(**options)(ours)  # type: ignore[call-overload]
        pluggy.HookimplMarker("cxlocal")(**options)(theirs)  # type: ignore[call-overload]
        assert vars(ours) == vars(theirs)
    specs.hookimpl(ours)
    pluggy.HookimplMarker("cxlocal")(theirs)
    assert vars(ours) == vars(theirs)
    specs.hookspec(firstresult=True)(ours)
    pluggy.HookspecMarker("cxlocal")(firstresult=True)(theirs)
    assert vars(ours) == vars(theirs)


def _blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "own-tool.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Fields:
    """Something to pack."""
    (tmp_path / "checkout" / "src").mkdir(parents=True)
    (tmp_path / "checkout" / "src" / "page.html").write_text("hello")
    (tmp_path / "scratch").mkdir()
    return Fields(
        checkout=tmp_path / "checkout",
        scratch=tmp_path / "scratch",
        version="2.7.3",
        deliverable="webshop",
        stage="pack",
    )


def _packs(tool: Any, fields: Fields) -> None:
    stage = tomllib.loads(_blocks("toml")[1])["stages"]["pack"]
    assert stage["tool"] == tool.name
    ran = run_tool_here(tool, "build", fields, with_table=stage["with"])
    assert ran.outcome.outcome is Outcome.SUCCESS, ran
    assert isinstance(ran.outcome.result, Done)
    (made,) = ran.outcome.result.artifacts
    assert (made.name, made.version) == (stage["produces"][0], "2.7.3")
    with tarfile.open(made.path) as archive:
        assert "./page.html" in archive.getnames()
    absent = run_tool_here(tool, "build", fields, with_table={"folder": "nowhere"})
    assert absent.outcome.outcome is Outcome.FAILURE
    assert absent.outcome.reason == "there is no folder nowhere"
    with pytest.raises(ConfigError) as caught:
        check_options(tool, {"foldr": "src"}, where='stage "pack"')
    assert "has no option 'foldr'" in caught.value.what and "'folder'" in caught.value.hint
    with pytest.raises(
        ConfigError,
        match='stage "pack": tool tarball, option folder: it must be text, not a whole number',
    ):
        check_options(tool, {"folder": 3}, where='stage "pack"')


def test_the_tool_of_the_page_as_a_plugin_of_the_project(
    checkout: Fields, tmp_path: Path, cx: Any
) -> None:
    folder = tmp_path / ".cx" / "plugins"
    folder.mkdir(parents=True)
    (folder / "tarball.py").write_text(_blocks("python")[0])
    (tmp_path / "cx.toml").write_text('cx = 1\n[deliverable]\nname = "shop"\n')
    (commands,) = _blocks("sh")
    *_, described = (cx.ok(*line.split()[1:], cwd=tmp_path) for line in commands.splitlines())
    assert (
        "tarball" in described.out and "folder  text" in described.out and "build" in described.out
    )
    environ = {"CXLOCAL_LOAD_PLUGINS": "", "CXLOCAL_STRICT_PLUGINS": "1"}
    manager = load({**environ, "CXLOCAL_TRUST": trust.project_digest(folder)}, warn=print)
    manager.add_project(tmp_path, tmp_path / "home")
    _packs(find_tool(manager, "tarball"), checkout)


def test_the_tool_of_the_page_as_a_package(
    checkout: Fields, tmp_path: Path, cx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "cxlocal_tarball.py").write_text(_blocks("python")[0])
    (source / "pyproject.toml").write_text(_blocks("toml")[0])
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", "--root-user-action=ignore",
         "--target", str(site), str(source)],
        check=True,
    )  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", str(site))
    row = next(row for row in cx.ok("plugins", "--json").json() if row["name"] == "tarball")
    assert (row["state"], row["version"], row["hooks"]) == ("loaded", "1.0", ["register_tools"])
    monkeypatch.syspath_prepend(str(site))
    manager = load({"CXLOCAL_STRICT_PLUGINS": "1"}, warn=print)
    _packs(find_tool(manager, "tarball"), checkout)


def test_the_lines_about_intents_are_python() -> None:
    for block in _blocks("python"):
        compile(block, "own-tool.md", "exec")
