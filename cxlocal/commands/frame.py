"""The frame every command stands in: help with examples first, and groups that load lazily.

``command`` and ``group`` replace ``click.command`` and ``click.group``; they ask for examples and
print them before the options. The docstring's first line is the sentence shown in lists.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from click.core import ParameterSource

from cxlocal.commands.table import COMMANDS, OUTWARD, ROWS, SECTIONS
from cxlocal.errors import UsageError
from cxlocal.processes.environment import WITHIN

CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
Example = tuple[str, str]


def _write_help_text(command: click.Command, formatter: click.HelpFormatter) -> None:
    """The first sentence, the examples, then the rest of the docstring."""
    _, _, rest = (command.help or "").strip().partition("\n")
    formatter.write_paragraph()
    with formatter.indentation():
        formatter.write_text(sentence(command))
    examples = getattr(command, "examples", ())
    if examples:
        with formatter.section("Examples"):
            formatter.write_dl(list(examples), col_max=44)
    if rest.strip():
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(inspect.cleandoc("\n" + rest))


def sentence(command: click.Command) -> str:
    """What a command does, in the one sentence shown in lists."""
    return (command.short_help or command.help or "").strip().partition("\n")[0]


WRAPPED = "cxlocal.wrapped"
"""In a context: the words are those of another command, not told from ours by ``--``."""


def _after_command(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Let an option of the program that stands after the command mean what it means before it."""
    if not value:
        return
    root, name = ctx.find_root(), parameter.name or ""
    known = root.params.get(name)
    root.params[name] = known + value if isinstance(known, int) and name != "debug" else value
    if name == "color":
        ctx.color = root.color = None if value == "auto" else value == "always"
    if root.obj is not None:
        root.obj.verbosity = root.params.get("verbose", 0) - root.params.get("quiet", 0)
        root.obj.debug = bool(root.params.get("debug"))


def _options_after() -> tuple[click.Option, ...]:
    hidden: dict[str, Any] = {"expose_value": False, "hidden": True, "callback": _after_command}
    return (
        click.Option(["-v", "--verbose"], count=True, **hidden),
        click.Option(["-q", "--quiet"], count=True, **hidden),
        click.Option(["--debug"], is_flag=True, **hidden),
        click.Option(["--color"], type=click.Choice(["auto", "always", "never"]), **hidden),
        click.Option(["--progress"], type=click.Choice(["auto", "plain"]), **hidden),
    )


class Command(click.Command):
    """A command whose help shows examples before the options."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own, and those of the program that may stand after it as well, unless it uses their
        letters itself."""
        own = super().get_params(ctx)
        if ctx.parent is None or ctx.meta.get(WRAPPED):
            return own
        taken = {text for one in own for text in one.opts}
        return own + [one for one in _options_after() if taken.isdisjoint(one.opts)]

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **rest: Any) -> None:
        super().__init__(*args, **rest)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; what its parser complains of names this command, whose help tells more."""
        wraps = any(one.type is click.UNPROCESSED for one in self.params)
        # Without "--" nobody can tell whose option it is: the wrapped command's must not be taken.
        ctx.meta[WRAPPED] = wraps and "--" not in args
        try:
            left = super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise
        self._refuse_empty(ctx)
        return left

    def _refuse_empty(self, ctx: click.Context) -> None:
        """Raise UsageError for an argument that was given and is empty: it is not one that was left out."""
        for one in self.params:
            value = ctx.params.get(one.name or "")
            words = value if isinstance(value, tuple) else (value,)
            if "" not in words or not isinstance(one, click.Argument):
                continue
            given = ctx.get_parameter_source(one.name or "") is ParameterSource.COMMANDLINE
            if given and one.type is not click.UNPROCESSED:
                raise UsageError(
                    f"{one.make_metavar(ctx).strip('[]')} is empty",
                    why="an empty word names nothing; a variable in the command may not be set",
                    hint=f"{ctx.command_path} --help tells what stands there",
                    name="empty-argument",
                )

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; in a stage of a rehearsal, what reaches beyond it is refused."""
        if WITHIN in os.environ and ctx.command_path.partition(" ")[2] in OUTWARD:
            from cxlocal.runner.nesting import refuse_outward

            refuse_outward(os.environ)
        return super().invoke(ctx)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write sentence, examples, then explanation."""
        _write_help_text(self, formatter)


class Group(Command, click.Group):
    """A group of commands whose help shows examples first. ``mistaken`` is the hint where the word
    behind it is none of its commands (``{word}``)."""

    command_class = Command

    def __init__(
        self, *args: Any, mistaken: str = "", later: Mapping[str, str] = {}, **rest: Any
    ) -> None:
        """``mistaken``: what a word may have been meant for that no command has. ``later``: further
        members, ``module:attribute`` by name, imported when they are asked for."""
        super().__init__(*args, **rest)
        self.mistaken, self.later = mistaken, later

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a word that no command has may have been meant as the value of an option."""
        word = args[0]
        if not self.mistaken or word.startswith("-") or self.get_command(ctx, word):
            return super().resolve_command(ctx, args)
        raise UsageError(
            f"{ctx.command_path} has no command {word!r}",
            why="a word alone does not say what it is",
            hint=self.mistaken.format(word=word),
            name="no-such-command",
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The member of that name."""
        found = self.commands.get(cmd_name)
        return found or (imported(self.later[cmd_name]) if cmd_name in self.later else None)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands before options: they are what one looks for."""
        self.format_commands(ctx, formatter)
        click.Command.format_options(self, ctx, formatter)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first line of each in full; click cuts it off."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, sentence(each)) for name, each in found if each and not each.hidden]
        if shown:
            with formatter.section("Commands"):
                formatter.write_dl(shown)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they were written, which is the order of use."""
        return [*self.commands, *self.later]


Group.group_class = Group


def command(
    name: str | None = None, *, examples: Sequence[Example], **attributes: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Make a command. ``examples`` are pairs (command line, what it does), best first.

    ``name`` is needed only where the function cannot bear it (``import``).
    """
    settings = {**CONTEXT_SETTINGS, **attributes.pop("context_settings", {})}
    return click.command(
        name, cls=Command, examples=examples, context_settings=settings, **attributes
    )


def group(
    name: str | None = None, *, examples: Sequence[Example], **attributes: Any
) -> Callable[[Callable[..., Any]], Group]:
    """Make a group; its members are made by ``@that_group.command(examples=…)``."""
    settings = {**CONTEXT_SETTINGS, **attributes.pop("context_settings", {})}
    return click.group(name, cls=Group, examples=examples, context_settings=settings, **attributes)


def imported(target: str) -> click.Command:
    """The command ``module:attribute`` of this package."""
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(f"cxlocal.commands.{module}"), attribute)
    assert isinstance(found, click.Command), f"{target} is not a command"
    return found


class RootGroup(Group):
    """``cxlocal`` itself: a static table of commands, each imported when it is called.

    Commands of plugins are looked for when a name is not in the table, and for the list in
    ``--help`` if an installed distribution offers any plugin at all.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names in the table, in its order."""
        return [row.name for row in ROWS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None if neither the table nor a plugin knows the name."""
        row = COMMANDS.get(cmd_name)
        if row is None:
            return self.commands.get(cmd_name) or self._from_plugins(ctx, cmd_name)
        return imported(row.target)

    def _from_plugins(self, ctx: click.Context, name: str) -> click.Command | None:
        if name.startswith("-"):
            return None
        from cxlocal.commands.extra import register_plugin_commands

        register_plugin_commands(self, ctx)
        return self.commands.get(name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with near names taken from the table."""
        name = args[0]
        found = self.get_command(ctx, name)
        if found is not None:
            return name, found, args[1:]
        if name.startswith("-"):
            ctx.fail(f"No such option {name!r}.")
        raise click.NoSuchCommand(name, possibilities=[*COMMANDS, *self.commands], ctx=ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list by sections, straight from the table."""
        from cxlocal.commands.extra import offered_by_plugins

        longest = max(len(row.name) for row in ROWS)
        for section in SECTIONS:
            _write_list(
                section,
                longest,
                ((r.name, r.help) for r in ROWS if r.section == section),
                formatter,
            )
        extra = offered_by_plugins(self, ctx)
        _write_list("From plugins", longest, extra, formatter)


def _write_list(
    title: str, longest: int, rows: Iterable[Example], formatter: click.HelpFormatter
) -> None:
    found = [(name.ljust(longest), text) for name, text in rows]
    if found:
        with formatter.section(title):
            formatter.write_dl(found)
