"""The tool ``commands``: each verb is a command of yours. It needs no Python, and makes Terraform, Ansible, Compose
or a script of twenty lines a tool: asked what runs, and taken away on another day.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cxlocal.domain import variable_part
from cxlocal.errors import Trouble
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Applied,
    ArtifactRef,
    Completed,
    Context,
    Created,
    Done,
    Held,
    Holdings,
    Observed,
    Previewed,
    Published,
    Tool,
)

ANSWER_BYTES = 256 * 1024
"""Of the answer of a command, at most."""
SHELL = ("/bin/sh", "-eu", "-c")
"""What runs a text: as a plain command of a stage."""
APART = ("/bin/sh", "-euc", 'answer=$1; shift; exec "$@" >"$answer"', "sh")
"""Runs a command whose standard output goes to a file: what it says beside that goes to the log."""
Command = str | list[str]
WOULD_DESTROY = 3
"""What a ``preview`` ends with where something would be destroyed."""
Answer = TypeVar("Answer", Done, Published, Applied, Created, Observed, Previewed)


class Commands(Tool):
    """Whatever verb has a command is a verb of it. The id of what it makes is all its later commands get."""

    name = "commands"
    api = 2
    title = "Your own commands"
    by_options = True
    shell = True

    class Options(Tool.Options, frozen=True):
        """A command for each verb: a text for the shell, or a list without one."""

        build: Command = ""
        test: Command = ""
        publish: Command = ""
        ask: Command = ""
        fetch: Command = ""
        preview: Command = ""
        apply: Command = ""
        create: Command = ""
        rotate: Command = ""
        drain: Command = ""
        stop: Command = ""
        start: Command = ""
        remove: Command = ""
        observe: Command = ""
        provision: Command = ""
        destroy: Command = ""

    def build(self, ctx: Context) -> Done:
        """Make artifacts; the answer names them."""
        return _run(ctx, ctx.options.build, Done)

    def test(self, ctx: Context) -> Done:
        """Test; the answer names the reports."""
        return _run(ctx, ctx.options.test, Done)

    def publish(self, ctx: Context) -> Published:
        """Publish; the answer says where each artifact can be had."""
        return _run(ctx, ctx.options.publish, Published)

    def ask(self, ctx: Context) -> Holdings:
        """Of a target: which digest it holds of each artifact. The command prints that, or nothing."""
        return Holdings(files={name: _asked(ctx, one) for name, one in ctx.artifacts.items()})

    def fetch(self, ctx: Context) -> Done:
        """Bring artifacts back from where they were published; the answer names them."""
        return _run(ctx, ctx.options.fetch, Done)

    def provision(self, ctx: Context) -> Done:
        """Create an environment for one run."""
        ctx.intend({"resource": ctx.resource})
        return _run(ctx, ctx.options.provision, Done)

    def preview(self, ctx: Context) -> Previewed:
        """Say what ``apply`` would do: the answer, or one line of output for each change."""
        with _answer(ctx) as file:
            ran = _exec(ctx, ctx.options.preview, file, check=False)
            if ran.code != WOULD_DESTROY:
                ran.require("the preview")
            lines = [line.strip() for line in ran.output.splitlines() if line.strip()]
            given = {"changes": lines, "destroys": ran.code == WOULD_DESTROY}
            return read_answer(file, Previewed, given)

    def apply(self, ctx: Context) -> Applied:
        """Change a mutable component to what this version wants."""
        return _run(ctx, ctx.options.apply, Applied)

    def create(self, ctx: Context) -> Created:
        """Make one instance, which gets no traffic yet."""
        return _run(ctx, ctx.options.create, Created)

    def rotate(self, ctx: Context) -> Done:
        """Set the weights of all instances behind this balancer."""
        return _run(ctx, ctx.options.rotate, Done)

    def drain(self, ctx: Context) -> Done:
        """Wait until nothing is under way at an instance that gets nothing new."""
        return _run(ctx, ctx.options.drain, Done)

    def stop(self, ctx: Context) -> Done:
        """Stop one instance, which stays; harmless where it stands still or was never made."""
        return _run(ctx, ctx.options.stop, Done)

    def start(self, ctx: Context) -> Done:
        """Start one that was stopped; harmless where it runs."""
        return _run(ctx, ctx.options.start, Done)

    def remove(self, ctx: Context) -> Done:
        """Take one instance away; harmless where nothing is left of it."""
        return _run(ctx, ctx.options.remove, Done)

    def observe(self, ctx: Context) -> Observed:
        """Say what runs there."""
        return _run(ctx, ctx.options.observe, Observed)

    def destroy(self, ctx: Context) -> Done:
        """Take away what was made, or was about to be made."""
        return _run(ctx, ctx.options.destroy, Done)


def _run(ctx: Context, command: Command, kind: type[Answer]) -> Answer:
    """Run a command and read its answer."""
    with _answer(ctx) as file:
        _exec(ctx, command, file)
        return read_answer(file, kind, {})


@contextlib.contextmanager
def _answer(ctx: Context) -> Iterator[Path]:
    """The file for the answer of one command. It may hold what is secret: it is there no longer than needed."""
    file = ctx.scratch / "result.json"
    file.unlink(missing_ok=True)
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _exec(ctx: Context, command: Command, file: Path, *, check: bool = True) -> Completed:
    return ctx.exec(
        [*SHELL, command] if isinstance(command, str) else command,
        env={
            **ctx.variables,
            **_variables(ctx),
            **ctx.secrets,
            "CXLOCAL_RESULT": str(file),
        },
        check=check,
    )


DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})(?:\s.*)?")
"""A line that is a digest, also as ``sha256sum`` prints it."""


def _asked(ctx: Context, one: ArtifactRef) -> Held:
    """What the command prints of one artifact: on its standard output alone, as messages are no answer."""
    command, answer = ctx.options.ask, ctx.scratch / "asked.txt"
    told = {
        "CXLOCAL_NAME": one.name, "CXLOCAL_PATH": str(one.path), "CXLOCAL_FILE": one.path.name,
        "CXLOCAL_SHA256": one.sha256,
    }  # fmt: skip
    done = ctx.exec(
        [*APART, str(answer), *([*SHELL, command] if isinstance(command, str) else command)],
        env={**_variables(ctx), **ctx.secrets, **told},
        check=False,
    )
    return read_digest(answer, done, one)


def read_digest(answer: Path, done: Completed, one: ArtifactRef) -> Held:
    """What a command said of one artifact in the file of its answer, and beside it in its messages."""
    try:
        with answer.open("rb") as opened:
            raw = opened.read(ANSWER_BYTES + 1)
    except FileNotFoundError:
        raw = b""
    wanted = f"sha256:{one.sha256}"
    lines = [line for text in raw.decode("utf-8", "replace").splitlines() if (line := text.strip())]
    found = [match[1] for line in lines if (match := DIGEST.fullmatch(line))]
    if done.code or (lines and not found) or len(raw) > ANSWER_BYTES:
        why = f"ask ended with exit code {done.code}" if done.code else "ask printed no digest"
        said = done.output.strip().splitlines() if done.code and done.output.strip() else lines
        last = f": {said[-1].strip()[:300]}" if said else ""
        return Held(state="not known", wanted=wanted, why=why + last)
    return Held.compared(wanted, f"sha256:{found[-1]}" if found else "")


def _variables(ctx: Context) -> dict[str, str]:
    """What only verbs are told; and what every stage is, for those that run outside of one."""
    place = ctx.environment
    put = {"CXLOCAL_PUT": " ".join(ctx.put)} if ctx.put else {}
    told = {
        **put,
        "CXLOCAL_VERSION": ctx.version, "CXLOCAL_RUN": ctx.run, "CXLOCAL_REVISION": ctx.revision,
        "CXLOCAL_STAGE": ctx.stage,
    }  # fmt: skip
    if place is not None:
        told["CXLOCAL_ENVIRONMENT"], told["CXLOCAL_INSTANCE"] = place.name, place.instance
    told |= _component_variables(ctx)
    if ctx.resource:
        told["CXLOCAL_RESOURCE"] = ctx.resource
    return told


def _component_variables(ctx: Context) -> dict[str, str]:
    """What verbs of components are told beside that."""
    if not ctx.component:
        return {}
    told = {"CXLOCAL_COMPONENT": ctx.component, "CXLOCAL_TURN": str(ctx.turn)}
    for name, value in (("CXLOCAL_BEHIND", ctx.behind), ("CXLOCAL_HOST", ctx.host)):
        if value:
            told[name] = value
    for name, holds in (("CXLOCAL_BACK", ctx.back), ("CXLOCAL_SCHEMA_AHEAD", ctx.ahead)):
        if holds:
            told[name] = "1"
    told["CXLOCAL_WANTED"] = "\n".join(f"{one}={weight}" for one, weight in ctx.wanted.items())
    for one, address in ctx.addresses.items():
        told[f"CXLOCAL_ADDRESS_{variable_part(one)}"] = address
    for component, outputs in ctx.components.items():
        for name, value in outputs.items():
            told[f"CXLOCAL_COMPONENT_{variable_part(component)}_{variable_part(name)}"] = value
    if ctx.artifact is not None:
        told["CXLOCAL_ARTIFACT"] = str(ctx.artifact.path)
        told["CXLOCAL_ARTIFACT_DIGEST"] = f"sha256:{ctx.artifact.sha256}"
    return told


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
