"""Plugins of a project run only when a person has allowed exactly these files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cxlocal.config.agreement import agree, read, remove, trusted
from cxlocal.domain import Outcome
from cxlocal.errors import ConfigError, CxError, Refused, Trouble
from cxlocal.hooks import manager, registered, trust
from cxlocal.hooks.context import run_tool_here
from cxlocal.hooks.messages import Fields

PLUGIN = """
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Done, Tool

class Own(Tool):
    name = "own"
    def build(self, ctx):
        return Done(details={"says": "ours"})

@hookimpl
def cxlocal_register_tools():
    return [Own]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one plugin."""
    folder = tmp_path / "project"
    (folder / ".cx" / "plugins").mkdir(parents=True)
    (folder / ".cx" / "plugins" / "own.py").write_text(PLUGIN)
    (folder / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[version]\nline = "1.0"\n'
    )
    return folder


def quiet(trusted: str = "") -> manager.Manager:
    """A manager without installed plugins; ``trusted`` is CXLOCAL_TRUST."""
    return manager.load({"CXLOCAL_LOAD_PLUGINS": "", "CXLOCAL_TRUST": trusted}, warn=print)


def test_untrusted_plugins_stop_a_run_and_do_not_run(project: Path, home: Path) -> None:
    (project / trust.FOLDER / "own.py").write_text("import sys; sys.cxlocal_ran = True")
    with pytest.raises(Refused) as caught:
        quiet().add_project(project, home)
    assert caught.value.name == "untrusted-plugins" and "cxlocal trust" in caught.value.hint
    import sys

    assert not hasattr(sys, "cxlocal_ran")


def test_trusted_plugins_load_and_their_tools_work(
    project: Path, home: Path, tmp_path: Path
) -> None:
    folder = project / trust.FOLDER
    agree(home, trusted={trust.project_digest(folder): {"folder": str(folder), "at": "now"}})
    plugins = quiet()
    plugins.add_project(project, home)
    row = next(row for row in plugins.rows if row.name == "own")
    assert (row.origin, row.state, row.hooks) == ("project", "loaded", ("cxlocal_register_tools",))
    tool = registered.find_tool(plugins, "own")
    (tmp_path / "scratch").mkdir()
    fields = Fields(checkout=project, scratch=tmp_path / "scratch")
    ran = run_tool_here(tool, "build", fields)
    assert ran.outcome.outcome is Outcome.SUCCESS, ran

    # A stage of the run rewrites the file: the worker must not run what nobody has trusted.
    (folder / "own.py").write_text(PLUGIN.replace("ours", "theirs"))
    ran = run_tool_here(tool, "build", fields)
    assert ran.outcome.outcome is Outcome.ERROR
    assert "has changed since it was trusted" in ran.outcome.reason


def test_every_change_asks_again(project: Path) -> None:
    folder = project / trust.FOLDER
    digests = {trust.project_digest(folder)}
    (folder / "own.py").write_text(PLUGIN + "\n")
    digests.add(trust.project_digest(folder))
    (folder / "second.py").write_text("")
    digests.add(trust.project_digest(folder))
    (folder / "second.py").rename(folder / "third.py")
    digests.add(trust.project_digest(folder))
    (folder / "readme.txt").write_text("not a plugin")
    digests.add(trust.project_digest(folder))
    assert len(digests) == 4
    assert trust.project_digest(folder / "nowhere") == ""


def test_the_variable_for_ci(project: Path, home: Path) -> None:
    folder = project / trust.FOLDER
    digest = trust.project_digest(folder)
    quiet(f"{digest},sha256:{'0' * 64}").add_project(project, home)
    with pytest.raises(ConfigError, match="is not a digest"):
        trusted(home, {"CXLOCAL_TRUST": "yes"})


def test_links_devices_and_masses_are_refused(project: Path) -> None:
    folder = project / trust.FOLDER
    (folder / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(Refused, match="cannot be read as a plugin"):
        trust.read_project(folder)
    (folder / "link.py").unlink()
    os.mkfifo(folder / "pipe.py")
    with pytest.raises(Refused, match="not a plain file"):
        trust.read_project(folder)
    (folder / "pipe.py").unlink()
    (folder / "large.py").write_bytes(b"#" * (trust.FILE_BYTES + 1))
    with pytest.raises(Refused, match="too large"):
        trust.read_project(folder)
    (folder / "large.py").unlink()
    for number in range(trust.FILES_MAX):
        (folder / f"p{number}.py").touch()
    with pytest.raises(Refused, match="101 plugins"):
        trust.read_project(folder)


@pytest.mark.parametrize("code", ["1 / 0", "def cxlocal_gate(question): pass"])
def test_a_broken_plugin_of_the_project_stops_the_run(project: Path, home: Path, code: str) -> None:
    folder = project / trust.FOLDER
    (folder / "own.py").write_text(code)
    with pytest.raises(ConfigError) as caught:
        quiet(trust.project_digest(folder)).add_project(project, home)
    assert caught.value.name == "broken-plugin" and "own.py" in caught.value.what


@pytest.mark.parametrize("content", ["", "{", "[]", '{"trusted": [1]}'])
def test_a_damaged_list_is_not_taken_for_empty(home: Path, content: str) -> None:
    home.mkdir(exist_ok=True)
    (home / "trust.json").write_text(content)
    with pytest.raises(Trouble) as caught:
        trusted(home, {})
    assert "cxlocal trust" in caught.value.hint


def test_the_list_keeps_what_it_has(home: Path) -> None:
    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    agree(home, trusted={one: {"folder": "/a", "at": "t1"}})
    agree(
        home, trusted={two: {"folder": "/b", "at": "t2"}}, addresses={"folder:///x": {"how": "h"}}
    )
    assert (home / "trust.json").stat().st_mode & 0o077 == 0
    remove(home, one)
    assert read(home) == ({two: {"folder": "/b", "at": "t2"}}, {"folder:///x": {"how": "h"}})
    with pytest.raises(CxError):
        remove(home, one)


def test_the_command(project: Path, cx: Any) -> None:
    def state() -> str:
        rows = cx.ok("plugins", "--json", cwd=project).json()
        return next(str(row["state"]) for row in rows if row["name"] == "own")

    assert state() == "untrusted"
    asked = cx("trust", cwd=project)
    assert asked.code == 2 and "--yes" in asked.err and state() == "untrusted"
    digest = cx.ok("trust", "--digest", cwd=project).out.strip()
    assert digest == trust.project_digest(project / trust.FOLDER)
    assert digest in cx.ok("trust", "--yes", cwd=project).err
    assert state() == "loaded"
    assert digest in cx.ok("trust", "--list", cwd=project).out
    assert "already" in cx.ok("trust", cwd=project).err
    cx.ok("trust", "--remove", digest, cwd=project)
    assert state() == "untrusted"
    (project / trust.FOLDER / "own.py").unlink()
    assert cx("trust", cwd=project).code == 2
