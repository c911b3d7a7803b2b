"""Every command: in the table, with a sentence, an example first, and on the page in the docs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cxlocal.commands.root import cli
from cxlocal.commands.table import COMMANDS, ROWS, SECTIONS


def _tree(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, str]]:
    yield context.command_path, command, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            settings = {**below.context_settings, "terminal_width": 80}
            yield from _tree(
                below, click.Context(below, info_name=name, parent=context, **settings)
            )


@pytest.fixture(scope="module")
def tree() -> list[tuple[str, click.Command, str]]:
    return list(_tree(cli, click.Context(cli, info_name="cxlocal", terminal_width=80)))


def test_names_and_sections() -> None:
    assert len(COMMANDS) == len(ROWS)
    assert {row.section for row in ROWS} <= set(SECTIONS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_the_table_says_what_the_command_says(row: Any) -> None:
    found = cli.get_command(click.Context(cli), row.name)
    assert found is not None
    assert (found.help or "").strip().partition("\n")[0] == row.help
    assert found.name == row.name


def test_every_sentence_fits_the_list() -> None:
    longest = max(len(row.name) for row in ROWS)
    assert [row.name for row in ROWS if longest + len(row.help) + 4 > 80] == []
    assert [row.name for row in ROWS if not row.help.endswith(".")] == []


def test_help_shows_examples_before_options(tree: list[tuple[str, click.Command, str]]) -> None:
    wrong = [
        path
        for path, command, text in tree
        if command is not cli and not 0 < text.find("Examples:") < text.find("Options:")
    ]
    assert wrong == []


def test_examples_begin_with_a_real_command(tree: list[tuple[str, click.Command, str]]) -> None:
    for path, command, _ in tree:
        for line, meaning in getattr(command, "examples", ()):
            assert "cxlocal" in line, path
            assert meaning, path


def test_every_option_is_explained(tree: list[tuple[str, click.Command, str]]) -> None:
    wrong = [
        f"{path} {option.opts[0]}"
        for path, command, _ in tree
        for option in command.params
        if isinstance(option, click.Option) and not option.help and not option.hidden
    ]
    assert wrong == []


def test_the_page_is_up_to_date(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "tests/house/cli_page.py", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_answers_help(cx: Any) -> None:
    for row in ROWS[:3]:
        assert "Usage: cxlocal " + row.name in cx.ok(row.name, "-h").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(cx: Any, shell: str) -> None:
    assert "_CXLOCAL_COMPLETE" in cx.ok("completion", shell).out


def test_completion_answers(cx: Any) -> None:
    result = cx(
        env={"_CXLOCAL_COMPLETE": "bash_complete", "COMP_WORDS": "cxlocal comp", "COMP_CWORD": "1"}
    )
    assert (result.code, result.out) == (0, "plain,completion\n")
