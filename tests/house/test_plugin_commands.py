"""Commands of plugins: found when needed, never in the way of our own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

GOOD = """
import click
from cxlocal.hooks.specs import hookimpl

@click.command()
def greet():
    "Greet somebody."
    click.echo("hello")

@hookimpl
def cxlocal_register_commands(cli):
    cli.add_command(greet)
    cli.add_command(greet, "completion")
"""
BROKEN = "raise RuntimeError('broken at import')\n"


def _install(folder: Path, name: str, code: str) -> None:
    """A distribution with one module and an entry point in our group."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / f"{name}.py").write_text(code)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[cxlocal]\n{name} = {name}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of every Python that the test starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


def test_a_plugin_adds_a_command(cx: Any, site: Path) -> None:
    _install(site, "greeter", GOOD)
    assert cx.ok("greet").out == "hello\n"
    helped = cx.ok("--help").out
    assert "From plugins:" in helped
    assert "greet" in helped.partition("From plugins:")[2]
    assert "Greet somebody." in helped


def test_a_plugin_cannot_take_the_name_of_a_command_of_ours(cx: Any, site: Path) -> None:
    _install(site, "greeter", GOOD)
    assert "hello" not in cx.ok("completion", "fish").out


def test_a_plugin_left_out_adds_nothing(cx: Any, site: Path) -> None:
    _install(site, "greeter", GOOD)
    result = cx("-p", "no:greeter", "greet")
    assert result.code == 2
    assert "No such command 'greet'" in result.err


def test_a_broken_plugin_is_named_and_stops_nothing(cx: Any, site: Path) -> None:
    _install(site, "greeter", GOOD)
    _install(site, "wrecked", BROKEN)
    result = cx("greet")
    assert (result.code, result.out) == (0, "hello\n")
    assert "wrecked" in result.err
    assert "Traceback" not in result.err
    assert cx.ok("completion", "fish").err == ""


def test_a_configuration_that_cannot_be_read_keeps_plugins_out(
    cx: Any, site: Path, tmp_path: Path
) -> None:
    _install(site, "greeter", GOOD)
    (tmp_path / "cx.toml").write_text("this is no toml")
    result = cx("greet", cwd=tmp_path)
    assert result.code == 2
    assert "left out" in result.err
    assert cx.ok("--help", cwd=tmp_path).out.startswith("Usage:")


def test_without_plugins_the_help_does_not_load_the_manager(site: Path) -> None:
    code = "import sys; from cxlocal.commands.main import main; main(); print(*sys.modules)"
    quiet = subprocess.run(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, check=True
    )
    assert b"cxlocal.hooks.manager" not in quiet.stdout
    _install(site, "greeter", GOOD)
    asked = subprocess.run(
        [sys.executable, "-c", code, "--help"], stdout=subprocess.PIPE, check=True
    )
    assert b"cxlocal.hooks.manager" in asked.stdout
