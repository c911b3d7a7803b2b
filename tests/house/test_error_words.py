"""P20: every error says what happened, why, and what to do; every command it names exists."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import click
import pytest

from cxlocal import errors
from cxlocal.commands.root import cli
from cxlocal.commands.table import COMMANDS
from cxlocal.errors import CxError
from cxlocal.text import quoted

# Kinds of errors. Those of the exchange (BadMessage and its like) pass between programs, and people
# are told of them by one of these. Who interrupts a command knows why (Interrupted).
KINDS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, CxError)
} - {"Interrupted"} | {"Bug", "StoreUnreachable"}
# What follows the name of the program where it is spoken of, not called.
PROSE = {
    "adds", "again", "and", "as", "asks", "began", "brings", "calls", "can", "came", "cannot",
    "could", "does", "ends", "gives", "grant", "happened", "has", "here", "hint", "hook", "in", "is",
    "it", "itself", "keeps", "knows", "looks", "made", "must", "needs", "noticed", "on", "or",
    "plugins", "ran", "reads", "refuses", "releases", "runs", "said", "says", "that", "to", "was",
    "will", "works", "writes", "wrote",
} - set(COMMANDS)  # fmt: skip
ANY = "VALUE"
"""Stands for a part of a message that is filled in."""


def is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def test_every_error_says_what_why_and_what_to_do(sources: list[Any]) -> None:
    seen, wrong = 0, []
    for source in sources:
        for name, node in source.calls():
            kind = name.rpartition(".")[2]
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            # Made anew from what another process or machine sent: the words are in the data.
            if kind not in KINDS or None in given or not (node.args or given):
                continue
            seen += 1
            missing = [part for part in ("why", "hint") if part not in given]
            missing += [part for part in given if is_empty(given[part]) and part in ("why", "hint")]
            if missing or not node.args or is_empty(node.args[0]):
                wrong.append(f"{source.path}:{node.lineno}: {kind} without {missing or 'what'}")
    assert seen > 200, "the errors were not seen: nothing was tested"
    assert not wrong, "\n".join(wrong)


# commands that messages name


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every text of a module but its docstrings, what is filled in as ``VALUE``; and every command
    that is written as a sequence of words."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
            yield node.lineno, "".join(_part(part) for part in node.values)
        elif isinstance(node, ast.Tuple | ast.List) and node.elts:
            words = [_part(part) for part in node.elts]
            if words[0] == "cxlocal" and all(" " not in word for word in words):
                yield node.lineno, " ".join(words)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documentation | inner
        ):
            yield node.lineno, node.value


def _part(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ANY


CALL = re.compile(r"(?<![\w./:=@-])cxlocal ((?:[a-z-]|VALUE)[^\n'`\"();,<]*)")


def named_commands(text: str) -> Iterator[list[str]]:
    """The words after ``cxlocal`` wherever a text calls it."""
    for found in CALL.finditer(text):
        words = shlex.split(found[1].replace("…", " ").replace("\\", " "))
        words = [word.rstrip(".:") for word in words]
        if words[0] not in PROSE and words[0] != ANY:
            yield words


def complaint(words: list[str]) -> str:
    """What is wrong with a command line; empty when it could be typed so."""
    command: click.Command = cli
    context = click.Context(cli, info_name="cxlocal")
    for word in words:
        if word == "--":
            break
        if word.startswith("-"):
            option = word.partition("=")[0]
            known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
            known |= set(context.help_option_names) | {"-h", "--help"}
            if option not in known and word != "-":
                return f"{command.name} has no option {option}"
        elif isinstance(command, click.Group):
            below = command.get_command(context, word)
            if below is not None:
                context = click.Context(below, parent=context, info_name=word)
                command = below
            elif command is cli and words[0] == word:
                return f"there is no command {word}"
            elif not command.invoke_without_command and word != ANY and not word.isupper():
                return f"{command.name} has no command {word}"
    return ""


def test_every_command_that_a_message_names_exists(sources: list[Any]) -> None:
    seen, wrong = 0, []
    for source in sources:
        for line, text in texts(source.tree):
            for words in named_commands(text):
                seen += 1
                problem = complaint(words)
                if problem:
                    wrong.append(f"{source.path}:{line}: cxlocal {' '.join(words)}: {problem}")
    assert seen > 150, "the commands were not seen: nothing was tested"
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("'cxlocal run --resume VALUE' goes on", ""),
        ("cxlocal log --all lists them; then cxlocal prune", ""),
        ("run 'cxlocal runn'", "there is no command runn"),
        ("cxlocal version tell 13", "version has no command tell"),
        ("cxlocal verify --quickly", "verify has no option --quickly"),
        ("cxlocal stage build -- make --fast", ""),
        ("what cxlocal itself does", ""),
    ],
)
def test_the_sweep_sees(text: str, found: str) -> None:
    problems = [complaint(words) for words in named_commands(text)]
    assert "".join(problems) == found


def unquoted(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """What stands in a command that is told to people and may hold anything."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        said = ""
        for part in node.values:
            if isinstance(part, ast.Constant):
                said += str(part.value)
                continue
            assert isinstance(part, ast.FormattedValue)
            expression = ast.unparse(part.value)
            harmless = (
                expression.endswith("[:8]") or "quoted" in expression or "shlex" in expression
            )
            if IN_A_COMMAND.search(said) and not harmless:
                yield node.lineno, expression
            said += "X"


IN_A_COMMAND = re.compile(r"cxlocal [a-z-]+( [a-z]+)?(( --?[a-z][a-z-]*)? [A-Za-z0-9=-]*)*$")


def test_what_is_put_into_a_command_is_quoted(sources: list[Any]) -> None:
    """Names of environments, versions, addresses and files come from histories and other machines."""
    wrong = [
        f"{source.path}:{line}: {expression}"
        for source in sources
        for line, expression in unquoted(source.tree)
        if expression not in SAFE_IN_COMMANDS
    ]
    assert wrong == []


SAFE_IN_COMMANDS = {
    "API", "record.number", "margin", "option", "KINDS[0]", "'-- COMMAND' if watched else '--began'", "log",
}  # fmt: skip
"""Expressions that hold numbers, constants of ours, or are quoted where they are made."""


@pytest.mark.parametrize(
    "word",
    [
        "",
        "2.7.0",
        "1!2.7",
        "2.7.7;id>&2;",
        "a b",
        "it's",
        "$(id)",
        "`id`",
        "~",
        "Ünï",
        "a\nb",
        "-x",
        "a@b",
        "#",
    ],
)
def test_a_quoted_word_is_one_word_to_a_shell(word: str) -> None:
    assert shlex.split(f"x {quoted(word)}") == ["x", word]
    told = subprocess.run(
        ["/bin/sh", "-c", f"printf %s {quoted(word)}"], capture_output=True, check=True
    )
    assert told.stdout.decode() == word
