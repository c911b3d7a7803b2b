"""The tools ``podman`` and ``docker``: each instance of a component is a container.

It runs the image by the id that its bytes give, never by a tag, and is labelled with what it is. Secrets reach
it as files below /run/secrets: what stands in a container's environment anybody who inspects it can read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    Context,
    Created,
    Done,
    Observed,
    ObservedResource,
    Tool,
    ToolFailure,
)
from cxlocal_plugins.labels import PREFIX, labels_of
from cxlocal_plugins.oci_layout import Identity, identity_of

SECRETS = "run/secrets"
AT_ONCE = 20
"""Containers asked in one command: its answer must fit into what is kept of an output."""
MARK = "cxlocal:"
SEEN = ("resource", "version", "digest")
"""Labels that tell what runs."""


class Podman(Tool):
    """Containers by podman, here or on other hosts."""

    name = "podman"
    api = 2
    title = "Containers (podman)"
    executables: ClassVar[tuple[str, ...]] = ("podman",)
    elsewhere: ClassVar[tuple[str, ...]] = ("--remote", "--url")
    """How the program is told that the engine is on another host, before its address."""

    class Options(Tool.Options, frozen=True):
        """``port``: where the service listens in the container; it finds it as PORT. 0: nowhere.
        ``command``: instead of the image's own. ``network``: as for ``--network``. ``options``: further ones
        for ``create``. ``bind``: the address at which its port is published, by default 127.0.0.1, on other
        hosts all. ``engine``: where the engine of another host is, with HOST for its name."""

        port: int = 0
        command: tuple[str, ...] = ()
        network: str = ""
        options: tuple[str, ...] = ()
        bind: str = ""
        engine: str = "ssh://root@HOST/run/podman/podman.sock"

    def create(self, ctx: Context) -> Created:
        """Make the container and start it. Raises ToolFailure."""
        if ctx.artifact is None:
            raise ToolFailure("there is no image to run: name the component's artifact")
        image = identity_of(ctx.artifact.path)
        there = self._found(ctx, resource=ctx.resource)
        if not there or not self._runs(ctx):
            if there:
                # What was cut off earlier may lack its secrets.
                self.remove(ctx)
            self._load(ctx, image)
            self._make(ctx, image)
            self._engine(ctx, "start", _name(ctx))
        return Created(address=self._address(ctx), details={"image": image.digest})

    def stop(self, ctx: Context) -> Done:
        """Stop the container, which stays. Raises ToolFailure."""
        if self._found(ctx, resource=ctx.resource):
            self._engine(ctx, "stop", _name(ctx))
        return Done()

    def start(self, ctx: Context) -> Done:
        """Start it again. Raises ToolFailure."""
        self._engine(ctx, "start", _name(ctx))
        return Done()

    def remove(self, ctx: Context) -> Done:
        """Take the container away, at once: whoever used it was waited for. Raises ToolFailure."""
        said = self._engine(ctx, *self._removing(), _name(ctx), check=False)
        if left := self._found(ctx, resource=ctx.resource):
            raise ToolFailure(f"{', '.join(left)} is still there: {said.strip()[-300:]}")
        return Done()

    def destroy(self, ctx: Context) -> Done:
        """Take away every container of the component, or of the environment."""
        found = self._found(ctx)
        if found:
            self._engine(ctx, *self._removing(), *found)
        return Done(details={"removed": len(found)})

    def observe(self, ctx: Context) -> Observed:
        """What is there of the component, also what stands still."""
        found = self._found(ctx)
        seen = [
            one
            for first in range(0, len(found), AT_ONCE)
            for one in self._inspected(ctx, found[first : first + AT_ONCE])
        ]
        return Observed(resources=tuple(sorted(seen, key=lambda one: one.id)))

    def _load(self, ctx: Context, image: Identity) -> None:
        """Bring the image to the engine, unless it has it."""
        assert ctx.artifact is not None
        if (
            "yes"
            in self._engine(
                ctx, "image", "inspect", "--format", "yes", image.id, check=False
            ).split()
        ):
            return
        self._engine(ctx, "load", "--quiet", "--input", str(ctx.artifact.path))

    def _make(self, ctx: Context, image: Identity) -> None:
        options, port = ctx.options, ctx.options.port
        plain, secret = _parted(ctx)
        files = ctx.scratch / "files"
        (files / SECRETS).mkdir(parents=True)
        for name, value in secret.items():
            (files / SECRETS / name).write_text(value)
            plain[f"{name}_FILE"] = f"/{SECRETS}/{name}"
        if port:
            plain = {"HOST": "0.0.0.0", "PORT": str(port), **plain}
        bind = options.bind or ("0.0.0.0" if ctx.host else "127.0.0.1")
        labels = labels_of(ctx, image.digest)
        self._engine(
            ctx, "create", "--name", _name(ctx),
            *(f"--label={PREFIX}{key}={value}" for key, value in labels.items()),
            *(f"--env={key}={value}" for key, value in plain.items()),
            *([f"--network={options.network}"] if options.network else []),
            *([f"--publish={bind}::{port}"] if port and options.network != "host" else []),
            *options.options, image.id, *options.command,
        )  # fmt: skip
        if secret:
            self._engine(ctx, "cp", f"{files}/.", f"{_name(ctx)}:/")

    def _address(self, ctx: Context) -> str:
        """Where the container answers; empty where it listens nowhere."""
        port = ctx.options.port
        if not port:
            return ""
        if ctx.options.network == "host":
            return f"{ctx.host or '127.0.0.1'}:{port}"
        said = self._engine(ctx, "port", _name(ctx), f"{port}/tcp")
        found = re.search(r"^([\d.]+):(\d+)$", said, re.MULTILINE)
        if found is None:
            raise ToolFailure(
                f"the engine does not say where port {port} is: {said.strip()[-300:]}"
            )
        return f"{ctx.host or found[1]}:{found[2]}"

    def _runs(self, ctx: Context) -> bool:
        return bool(self._found(ctx, "--filter=status=running", resource=ctx.resource))

    def _found(self, ctx: Context, *filters: str, resource: str = "") -> list[str]:
        """The ids of the containers with our labels."""
        labels = labels_of(ctx)
        wanted = {key: labels[key] for key in ("deliverable", "environment", "component")}
        if resource:
            wanted["resource"] = resource
        said = self._engine(
            ctx, "ps", "--all", "--no-trunc", "--format", f"{MARK}{{{{.ID}}}}",
            *(f"--filter=label={PREFIX}{key}={value}" for key, value in wanted.items() if value),
            *filters,
        )  # fmt: skip
        return _marked(said)

    def _inspected(self, ctx: Context, ids: list[str]) -> Iterator[ObservedResource]:
        asked = "\t".join(f'{{{{index .Config.Labels "{PREFIX}{key}"}}}}' for key in SEEN)
        template = f"{MARK}{asked}\t{{{{.State.Running}}}}"
        for line in _marked(self._engine(ctx, "inspect", "--format", template, *ids)):
            resource, version, digest, running = line.split("\t")
            yield ObservedResource(
                id=resource, version=version, digest=digest,
                healthy=None if running == "true" else False,
            )  # fmt: skip

    def _removing(self) -> list[str]:
        return ["rm", "--force", "--ignore", "--volumes", "--time", "0"]

    def _engine(self, ctx: Context, *words: str, check: bool = True) -> str:
        """Ask the engine of the instance's host. Raises ToolFailure."""
        address = (
            [*self.elsewhere, ctx.options.engine.replace("HOST", ctx.host)] if ctx.host else []
        )
        answer = ctx.exec([*self.executables, *address, *words], check=False)
        if check and answer.code:
            why = answer.output.strip().rpartition("\n")[2][:500]
            raise ToolFailure(f"{self.name} {words[0]} ended with exit code {answer.code}: {why}")
        return answer.output


class Docker(Podman):
    """Containers by docker, here or on other hosts."""

    name = "docker"
    title = "Containers (docker)"
    executables = ("docker",)
    elsewhere = ("--host",)

    class Options(Podman.Options, frozen=True):
        """As for podman."""

        engine: str = "ssh://HOST"

    def _removing(self) -> list[str]:
        return ["rm", "--force", "--volumes"]


def _name(ctx: Context) -> str:
    return f"cxlocal-{ctx.resource}"


def _parted(ctx: Context) -> tuple[dict[str, str], Mapping[str, str]]:
    """The variables that everybody may see, and those that hold a secret."""
    secret = {name: ctx.variables[name] for name in ctx.secret_variables}
    plain = {
        "CXLOCAL_VERSION": ctx.version,
        "CXLOCAL_DELIVERABLE": ctx.deliverable,
        "CXLOCAL_ENVIRONMENT": ctx.environment.name if ctx.environment else "",
        **{name: value for name, value in ctx.variables.items() if name not in secret},
    }
    return plain, secret


def _marked(said: str) -> list[str]:
    """The lines of an answer that are ours; engines print warnings among them."""
    return [line.removeprefix(MARK) for line in said.splitlines() if line.startswith(MARK)]


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """Both tools."""
    return [Podman, Docker]
