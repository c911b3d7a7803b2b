"""The tool ``commands``: each verb is a command of yours. It needs no Python, and makes Terraform, Ansible, Compose
or a script of twenty lines a tool: asked what runs, and taken away on another day.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cxlocal.errors import Trouble
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Context, Deployed, Done, Observed, Published, Tool

ANSWER_BYTES = 256 * 1024
"""Of the answer of a command, at most."""
SHELL = ("/bin/sh", "-eu", "-c")
"""What runs a text: as a plain command of a stage."""
Command = str | list[str]
Answer = TypeVar("Answer", Done, Published, Deployed, Observed)


class Commands(Tool):
    """Whatever verb has a command is a verb of it. The id of what it makes is all its later commands get."""

    name = "commands"
    api = 1
    title = "Your own commands"
    by_options = True

    class Options(Tool.Options, frozen=True):
        """A command for each verb: a text for the shell, or a list without one."""

        build: Command = ""
        test: Command = ""
        publish: Command = ""
        deploy: Command = ""
        observe: Command = ""
        provision: Command = ""
        destroy: Command = ""
        service: str = ""

    def build(self, ctx: Context) -> Done:
        """Make artifacts; the answer names them."""
        return _run(ctx, ctx.options.build, Done)

    def test(self, ctx: Context) -> Done:
        """Test; the answer names the reports."""
        return _run(ctx, ctx.options.test, Done)

    def publish(self, ctx: Context) -> Published:
        """Publish; the answer says where each artifact can be had."""
        return _run(ctx, ctx.options.publish, Published)

    def provision(self, ctx: Context) -> Done:
        """Create an environment for one run."""
        ctx.intend({"resource": ctx.resource})
        return _run(ctx, ctx.options.provision, Done, ctx.resource)

    def deploy(self, ctx: Context) -> Deployed:
        """Make a version run, in place of what ran before."""
        ctx.intend({"resource": ctx.resource})
        name = ctx.options.service or ctx.deliverable
        return _run(ctx, ctx.options.deploy, Deployed, ctx.resource, {"service": name})

    def observe(self, ctx: Context) -> Observed:
        """Say what runs there; what was never deployed does not."""
        if ctx.handle is None:
            return Observed()
        return _run(ctx, ctx.options.observe, Observed, _resource(ctx.handle))

    def destroy(self, ctx: Context) -> Done:
        """Take away what was made, or was about to be made."""
        return _run(ctx, ctx.options.destroy, Done, _resource(ctx.handle))


def _run(
    ctx: Context, command: Command, kind: type[Answer], resource: str = "",
    given: dict[str, Any] | None = None,
) -> Answer:  # fmt: skip
    """Run a command and read its answer; ``given`` is answered where it says nothing else."""
    file = ctx.scratch / "result.json"
    ctx.exec(
        [*SHELL, command] if isinstance(command, str) else command,
        env={**_variables(ctx, resource), **ctx.secrets, "CXLOCAL_RESULT": str(file)},
    )
    return read_answer(file, kind, given or {})


def _variables(ctx: Context, resource: str) -> dict[str, str]:
    """What only verbs are told; and what every stage is, for those that run outside of one."""
    place = ctx.environment
    told = {
        "CXLOCAL_VERSION": ctx.version, "CXLOCAL_RUN": ctx.run, "CXLOCAL_REVISION": ctx.revision,
        "CXLOCAL_STAGE": ctx.stage,
    }  # fmt: skip
    if place is not None:
        told["CXLOCAL_ENVIRONMENT"], told["CXLOCAL_INSTANCE"] = place.name, place.instance
    if resource:
        told["CXLOCAL_RESOURCE"] = resource
    if ctx.previous is not None:
        told["CXLOCAL_PREVIOUS_VERSION"] = ctx.previous.version
        told["CXLOCAL_PREVIOUS_RESOURCE"] = _resource(ctx.previous.handle)
    return told


def _resource(handle: Any) -> str:
    return str(handle.get("resource", "")) if isinstance(handle, dict) else ""


def read_answer(file: Path, kind: type[Answer], given: dict[str, Any]) -> Answer:
    """The result in ``file``; that of ``given`` where there is none. Raises Trouble for anything else than
    one JSON object with fields of ``kind``."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(ANSWER_BYTES + 1)
    except FileNotFoundError:
        raw = b"{}"
    try:
        if len(raw) > ANSWER_BYTES:
            raise ValueError(f"it has more than {ANSWER_BYTES} bytes")
        said = msgspec.json.decode(raw, type=dict[str, Any])
        unknown = said.keys() - {field.name for field in msgspec.structs.fields(kind)}
        if unknown:
            raise ValueError(f"no such field: {', '.join(sorted(unknown))}")
        return msgspec.convert({**given, **said}, type=kind, dec_hook=_path)
    except (ValueError, msgspec.MsgspecError) as error:
        fields = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise Trouble(
            "the answer of the command cannot be read",
            why=str(error),
            hint=f"write one JSON object into $CXLOCAL_RESULT; it may have {fields}",
        ) from error


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise ValueError(f"{value!r} is no {kind.__name__}")


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Commands]
