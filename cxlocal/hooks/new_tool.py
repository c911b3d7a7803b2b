"""A tool to begin with, and its test: what ``cxlocal plugins new`` writes. Pure."""

from __future__ import annotations

from cxlocal.errors import UsageError
from cxlocal.hooks.class_checks import is_tool_name

TOOL = '''\
"""A tool for cxlocal. Its instances are folders: put what you make in their place."""

import json
import shutil
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Context, Created, Done, Observed, ObservedResource, Tool


class CLASS(Tool):
    name = "NAME"
    api = 2
    title = "NAME"
    # Programs that must be on PATH, such as ("ssh",).
    executables = ()

    class Options(Tool.Options, frozen=True):
        # The keys of `with`, with types and defaults.
        greeting: str = "hello"

    def create(self, ctx: Context) -> Created:
        """Make one instance, labelled with its id. It was recorded before this begins."""
        place = _places(ctx) / ctx.resource
        place.mkdir(parents=True, exist_ok=True)
        # ctx.artifact is what it is to run, ctx.variables what it is to find in its environment: they
        # may hold secrets, so hand them over by file or pipe and never by argument.
        (place / "greeting").write_text(ctx.options.greeting)
        label = {"version": ctx.version, "digest": ctx.artifact.sha256 if ctx.artifact else ""}
        # Last: what has no label is half made, and is made again.
        (place / "label.json").write_text(json.dumps(label))
        return Created(address="")  # "host:port", where it answers

    def remove(self, ctx: Context) -> Done:
        """Take an instance away, by its id alone; also one that was half made, or never."""
        shutil.rmtree(_places(ctx) / ctx.resource, ignore_errors=True)
        if _places(ctx).is_dir() and not any(_places(ctx).iterdir()):
            _places(ctx).rmdir()
        return Done()

    def observe(self, ctx: Context) -> Observed:
        """Every instance with our label that is there."""
        found = []
        for label in sorted(_places(ctx).glob("*/label.json")):
            said = json.loads(label.read_text())
            found.append(ObservedResource(id=label.parent.name, **said))
        return Observed(resources=tuple(found))


def _places(ctx: Context) -> Path:
    """What belongs to this component, and to nobody else."""
    assert ctx.environment is not None
    return ctx.environment.folder / ctx.component


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    return [CLASS]
'''

TEST = '''\
"""What every tool should keep, tried on NAME in real workers."""

from MODULE import CLASS

from cxlocal.testing import Bench, ComponentContract


class TestCLASS(ComponentContract):
    tool = CLASS
    with_table = {"greeting": "hello"}

    def remains(self, bench: Bench, handle: object) -> list[str]:
        # What is left in the world; files in the environment's folder are looked after anyway.
        return []

    def test_an_instance_has_what_it_was_told(self, bench: Bench) -> None:
        self._run(bench, "create")
        [file] = bench.environment.folder.rglob("greeting")
        assert file.read_text() == "hello"
'''


def new_tool(name: str) -> dict[str, str]:
    """The files, by name, of a tool of this name. Raises UsageError for what is no name of one."""
    if not is_tool_name(name):
        raise UsageError(
            f"{name!r} is no name of a tool",
            why="it is a word like local-service: small letters, digits, and - between them",
            hint="cxlocal plugins new my-tool",
            name="bad-tool-name",
        )
    words = {
        "NAME": name,
        "MODULE": f"cxlocal_{name.replace('-', '_')}",
        "CLASS": "".join(part.title() for part in name.split("-")),
    }
    tool, test = TOOL, TEST
    for word, stands in words.items():
        tool, test = tool.replace(word, stands), test.replace(word, stands)
    return {f"{words['MODULE']}.py": tool, f"test_{words['MODULE']}.py": test}
