"""``cxlocal config``: what the configuration is, where it comes from, and its schema."""

from __future__ import annotations

import os
import tomllib

import click

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import group
from cxlocal.commands.output import Output, rows_options, write_document, write_rows
from cxlocal.commands.terminal import say
from cxlocal.config.load import read
from cxlocal.config.locate import CONFIG_NAME, LOCAL_NAME, user_file
from cxlocal.config.problems import suggestion
from cxlocal.config.settings import Settings, settings
from cxlocal.config.show import machine, values
from cxlocal.config.types import Config, LocalConfig
from cxlocal.errors import UsageError


@group(
    examples=[
        ("cxlocal config show", "every value that holds here"),
        ("cxlocal config show --origin", "and where it comes from"),
        ("cxlocal config schema", "a JSON Schema, for your editor"),
    ]
)
def config() -> None:
    """Show the configuration, where it comes from, and its schema."""


@config.command(
    examples=[
        ("cxlocal config show", "every value that holds here"),
        ("cxlocal config show --origin", "and where it comes from"),
        ("cxlocal config show store.url", "one value"),
        ("cxlocal config show stages.unit", "one table"),
    ]
)
@click.argument("key", required=False)
@click.option("--origin", is_flag=True, help="Also where each value comes from.")
@rows_options
@pass_app
def show(app: App, key: str | None, origin: bool, output: Output) -> None:
    """Show every value that holds here, or those below KEY.

    Highest first: a flag, a CXLOCAL_* variable, cx.local.toml, cx.toml, the file of the user, the
    default. Sources of secrets are shown, their values never.
    """
    source, raw, effective = _effective(app)
    found = values(source, raw, effective) if source else machine(effective)
    if key is not None:
        chosen = [one for one in found if one.key == key or one.key.startswith(key + ".")]
        if not chosen:
            raise UsageError(
                f"there is no value {key!r}",
                why="neither the files nor the defaults have this key",
                hint=suggestion(key, [one.key for one in found], what="key"),
                name="unknown-key",
            )
        found = chosen
    rows = [{"key": one.key, "value": one.value, "origin": one.origin} for one in found]
    write_rows(rows, ("key", "value", "origin") if origin else ("key", "value"), output)
    if source is None and output.for_people:
        say(
            "There is no cx.toml here; these are the values of this machine. cxlocal init writes one."
        )


def _effective(app: App) -> tuple[Config | None, dict[str, object], Settings]:
    """The configuration of the working folder, as parsed and as it holds."""
    project = app.find_project()
    if project is None:
        return None, {}, settings(None, local=None, environ=app.environ)
    path = project / "cx.toml"
    source = read(str(path))
    raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    return source, raw, settings(source, local=app.local(), environ=app.environ)


@config.command(
    examples=[
        ("cxlocal config schema > cx.schema.json", "then '#:schema cx.schema.json' in cx.toml"),
        ("cxlocal config schema --local", "the schema of cx.local.toml"),
    ]
)
@click.option("--local", is_flag=True, help="Of cx.local.toml and the user file.")
def schema(local: bool) -> None:
    """Print the JSON Schema of cx.toml, for editors that complete and check."""
    from cxlocal.config.schema import schema as made

    write_document(made(LocalConfig if local else Config))


@config.command(examples=[("cxlocal config path", "which files are read, and which are there")])
@rows_options
@pass_app
def path(app: App, output: Output) -> None:
    """Print which configuration files are read here, and whether they are there."""
    project = app.find_project()
    folder = str(project) if project else os.getcwd()
    personal = user_file(app.environ)
    files = [
        ("cx.toml", os.path.join(folder, CONFIG_NAME)),
        ("cx.local.toml", os.path.join(folder, LOCAL_NAME)),
        *([("user file", personal)] if personal else []),
    ]
    rows = [
        {"file": name, "path": where, "there": "yes" if os.path.isfile(where) else "no"}
        for name, where in files
    ]
    write_rows(rows, ("file", "path", "there"), output)
