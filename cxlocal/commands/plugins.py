"""``cxlocal plugins``: what extends cxlocal here, and what of it is broken.

It works whatever is installed: only shipped plugins are loaded in this process.
"""

from __future__ import annotations

from pathlib import Path

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.doctor import add_own_plugins
from cxlocal.commands.frame import command
from cxlocal.commands.output import Output, put, rows_options, write_rows
from cxlocal.commands.project import load_project
from cxlocal.commands.terminal import harmless, say, warn, warn_once
from cxlocal.config.agreement import trusted
from cxlocal.config.load import read
from cxlocal.config.problems import suggestion
from cxlocal.errors import ConfigError, ExitCode, UsageError
from cxlocal.hooks.implementations import hook_names
from cxlocal.hooks.look import look
from cxlocal.hooks.manager import Manager, load
from cxlocal.hooks.new_plugin import KINDS, PACKAGE_FILE, new_plugin
from cxlocal.hooks.options import options_of
from cxlocal.hooks.plugin_row import PluginRow
from cxlocal.hooks.registered import find_tool, gives
from cxlocal.hooks.tool import verbs_of
from cxlocal.text import quoted

COLUMNS = (
    "name", "version", "origin", "state", "hooks", "gives", "distribution", "file", "error",
)  # fmt: skip
GIVES_SHOWN = 2
"""Names in one line for people."""


@command(
    examples=[
        ("cxlocal plugins", "all of them, the broken ones too"),
        ("cxlocal plugins --hook gate", "who has a say before a stage"),
        (
            "cxlocal plugins wheel",
            "one tool: verbs, options with types and defaults, secrets, programs",
        ),
        ("cxlocal plugins new my-tool", "write a tool of your own to begin with, and its test"),
        ("cxlocal plugins new tap --kind reader", "the same for another kind of plugin"),
        ("cxlocal plugins --json", "the same for a program; ends with 1 where one is broken"),
    ]
)
@click.argument("tool", required=False)
@click.argument("name", required=False)
@click.option("--hook", metavar="NAME", help="Only plugins that implement this hook.")
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    default="tool",
    help="What 'new' writes.",
    show_default=True,
)
@rows_options
@pass_app
def plugins(
    app: App, tool: str | None, name: str | None, hook: str | None, kind: str, output: Output
) -> int:
    """List plugins, shipped, installed and of this project.

    Installed plugins, and those of this project that you trust, are loaded in processes of their
    own, so a plugin that breaks everything else is still named here. Leave one out with -p no:NAME, or for good with [plugins] block.
    Ends with 1 where one is broken, also by what it registers. With the name of a TOOL it describes that; new NAME
    writes a plugin of that NAME into this folder, with a test that it passes (docs/developing.md).
    """
    if tool == "new":
        if name is None:
            raise UsageError(
                "a new plugin needs a name",
                why="its files and what it registers are called so",
                hint="cxlocal plugins new my-tool",
                name="no-plugin-name",
            )
        _write(name, kind)
        return ExitCode.DONE
    if name is not None:
        raise UsageError(
            f"{name!r} is one word too many",
            why="one tool is described at a time",
            hint=f"cxlocal plugins {quoted(str(tool))}",
            name="two-tools",
        )
    if tool is not None:
        _describe(app, tool, output)
        return ExitCode.DONE
    wanted = None if hook is None else _hook(hook)
    manager = _listed(app)
    given = gives(manager)
    rows = [row._replace(gives=given.get(row.name, ())) for row in manager.rows]
    rows = look(rows, app.environ, app.clock, trusted(app.home(), app.environ))
    shown = [row for row in rows if wanted is None or wanted in row.hooks]
    write_rows([_row(row, output) for row in shown], COLUMNS, output)
    if not shown and output.for_people:
        say("No plugin implements it." if wanted else "There are no plugins.")
    return ExitCode.FAILURE if any(row.state == "broken" for row in shown) else ExitCode.DONE


def _write(name: str, kind: str) -> None:
    """A new plugin, in files that are not there yet. Raises UsageError."""
    files = new_plugin(name, kind)
    packed = Path(PACKAGE_FILE).exists()
    if packed:  # its author names its entry points
        files.pop(PACKAGE_FILE)
    if there := [one for one in files if Path(one).exists()]:
        raise UsageError(
            f"{there[0]} is there already",
            why="nothing is overwritten",
            hint="choose another name, or another folder",
            name="file-exists",
        )
    for file, content in files.items():
        Path(file).write_text(content, encoding="utf-8")
        say(f"Wrote {file}")
    module, test, *_ = files
    if packed:
        say(
            f"Left as it is: {PACKAGE_FILE}. To make this a plugin of that package add {module} to its files, and to"
            f" [project.entry-points.cxlocal]: {name} = {Path(module).stem!r}".replace("'", '"')
        )
    say(f"Try it: python -m pytest {test}; for this project alone: mv {module} .cx/plugins/")


def _describe(app: App, name: str, output: Output) -> None:
    """What one tool can do and takes."""
    project = load_project(app)
    add_own_plugins(app, project)
    tool = find_tool(project.manager, name)
    options = options_of(tool)
    facts = {
        "tool": tool.name, "title": tool.title, "api": tool.api, "verbs": list(verbs_of(tool)),
        "secrets": list(tool.secrets), "programs": list(tool.executables),
    }  # fmt: skip
    if not output.for_people:
        write_rows([{**facts, "options": options}], None, output)
        return
    for what, value in facts.items():
        said = ", ".join(value) if isinstance(value, list) else str(value)
        put(harmless(f"{what:8} {said}".rstrip()))
    if options:
        put()
        write_rows(options, ("option", "type", "default"), output)


def _listed(app: App) -> Manager:
    """Every plugin there is: shipped ones loaded, the others only named."""
    project = app.find_project()
    block: list[str] = []
    if project is not None:
        try:
            block = list(read(str(project / "cx.toml")).plugins.block)
        except ConfigError as error:
            warn(f"[plugins] block is not known: {error.what}")
    manager = load(app.environ, block=block, no=app.blocked, shipped_only=True, warn=warn_once)
    if project is not None:
        manager.list_project(project, app.home())
    return manager


def _hook(name: str) -> str:
    """The full name of a hook. Raises UsageError."""
    known = hook_names()
    full = name if name.startswith("cxlocal_") else f"cxlocal_{name}"
    if full not in known:
        hint = suggestion(full, known, what="hook")
        raise UsageError(
            f"there is no hook {name!r}",
            why="cxlocal calls no hook of this name",
            hint=hint,
            name="no-such-hook",
        )
    return full


def _row(row: PluginRow, output: Output) -> dict[str, object]:
    hooks = [hook.removeprefix("cxlocal_") for hook in row.hooks]
    listed = {"hooks": hooks, "gives": list(row.gives)}
    if output.shape in ("json", "nl"):
        return {**row._asdict(), **listed}
    more = f" and {len(row.gives) - GIVES_SHOWN} more"
    short = ", ".join(row.gives[:GIVES_SHOWN]) + (more if len(row.gives) > GIVES_SHOWN else "")
    return {**row._asdict(), "hooks": ", ".join(hooks), "gives": short}
