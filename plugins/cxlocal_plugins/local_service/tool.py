"""The verbs of ``local-service``."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from cxlocal.domain import path_part
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Created,
    Done,
    Observed,
    ObservedResource,
    Tool,
    ToolFailure,
)
from cxlocal_plugins.local_service import balance
from cxlocal_plugins.local_service.install import install
from cxlocal_plugins.local_service.instance import (
    INSTANCES,
    Instance,
    folder_of,
    instances,
    read_instance,
    write_instance,
)
from cxlocal_plugins.local_service.process import (
    CLOCK,
    LOOK_SECONDS,
    end,
    is_running,
    last_words,
    start,
)
from cxlocal_plugins.local_service.web import LOOPBACK, free_port, is_free, look


class LocalService(Tool):
    """A Python service on this machine."""

    name = "local-service"
    api = 2
    title = "Service on this machine"
    here = True

    class Options(Tool.Options, frozen=True):
        """``module``: started as ``python -m MODULE``; or ``command``: a program of the wheel, with
        arguments. It finds HOST and PORT in its environment. ``args`` follow it. ``artifact``:
        which wheel. ``shared``: dependencies are those installed beside cxlocal. ``port``: where the
        service is reached; by default a free port, kept for later versions. ``health``: a path that
        must answer below 400 within ``start_timeout`` seconds. ``version_path``: a path whose answer
        must hold the version."""

        module: str = ""
        command: tuple[str, ...] = ()
        args: tuple[str, ...] = ()
        artifact: str = "wheel"
        shared: bool = False
        port: int = 0
        health: str = "/"
        version_path: str = ""
        start_timeout: float = 15.0

        def __post_init__(self) -> None:
            """Raises ValueError for what cannot be started."""
            if bool(self.module) == bool(self.command):
                raise ValueError("give either module or command")
            if not 0 <= self.port < 65536:
                raise ValueError(f"{self.port} is no port")
            if not all(path.startswith("/") for path in (self.health, self.version_path or "/")):
                raise ValueError("health and version_path are paths: they begin with a slash")

    def create(self, ctx: Context) -> Created:
        """Install the wheel and start it on a port of its own, beside what serves. Raises ToolFailure."""
        artifact = ctx.artifact or ctx.artifacts.get(ctx.options.artifact)
        if artifact is None:
            raise ToolFailure(f"there is no artifact {ctx.options.artifact!r} to run")
        folder = folder_of(_root(ctx), ctx.resource)
        there = read_instance(folder)
        if there is None or not is_running(folder):
            end(folder)
            shutil.rmtree(folder, ignore_errors=True)
            there = _made(ctx, artifact, folder)
        problem = _wait_until_healthy(ctx, folder, there)
        if problem:
            raise ToolFailure(
                f"{there.version} is not healthy: {problem} (its last words: {last_words(folder)})"
            )
        return Created(address=f"{LOOPBACK}:{there.port}")

    def rotate(self, ctx: Context) -> Done:
        """Hand requests to what is wanted from now on. Raises ToolFailure."""
        port = balance.set_weights(ctx, _root(ctx))
        return Done(details={"uri": f"http://{LOOPBACK}:{port}"})

    def drain(self, ctx: Context) -> Done:
        """Wait until nothing is under way at an instance that gets nothing new."""
        balance.wait_until_idle(_root(ctx), ctx.resource)
        return Done()

    def remove(self, ctx: Context) -> Done:
        """End an instance and remove what was made; with the last one all there is. Harmless where nothing
        was made."""
        root = _root(ctx)
        folder = folder_of(root, ctx.resource)
        ended = end(folder)
        shutil.rmtree(folder, ignore_errors=True)
        if not any(instances(root)):
            balance.take_away(root)
            # Only what is ours: the folder is the environment's, and others may use it.
            for one in (root / INSTANCES, root):
                if one.is_dir() and not any(one.iterdir()):
                    one.rmdir()
        return Done(details={"ended": ended})

    def observe(self, ctx: Context) -> Observed:
        """What is here, by its processes and by asking it; of the front what it is told."""
        root = _root(ctx)
        route = balance.read_route(root)
        served = balance.is_served(root)
        weights = route.wanted if served else {}
        found = {one: _seen(ctx, one, folder, weights) for one, folder in instances(root)}
        if ctx.behind:
            found |= {
                one: ObservedResource(id=one, weight=weights[one])
                for one in weights
                if one not in found
            }
        uri = f"http://{LOOPBACK}:{route.port}" if served else ""
        return Observed(resources=tuple(found.values()), turn=route.turn, uri=uri)

    def probe(self, ctx: Context) -> Done:
        """Whether a service could be started here."""
        port = ctx.options.port
        here = ctx.environment is not None and balance.is_served(_root(ctx))
        if port and not here and not is_free(port):
            raise ToolFailure(f"port {port} is in use by another program")
        return Done()


def _made(ctx: Context, artifact: ArtifactRef, folder: Path) -> Instance:
    options = ctx.options
    command = options.command or ("python", "-m", options.module)
    port = free_port()
    made = Instance(ctx.version, ctx.run, artifact.sha256, port, (*command, *options.args))
    install(ctx, artifact.path, folder)
    write_instance(folder, made)
    start(ctx, folder, made)
    return made


def _wait_until_healthy(ctx: Context, folder: Path, instance: Instance) -> str:
    """Ask an instance until it answers well; what was wrong last, or nothing when it is healthy."""
    deadline = CLOCK.monotonic() + ctx.options.start_timeout
    while True:
        alive = is_running(folder)
        problem = _problem(ctx, instance)
        if not alive:
            # Whoever answered, it was not our process.
            return "it ended by itself"
        if not problem or CLOCK.monotonic() >= deadline:
            return problem
        # Waiting for another process: there is nothing to be woken by.
        time.sleep(LOOK_SECONDS)


def _problem(ctx: Context, instance: Instance) -> str:
    return look(instance.port, ctx.options.health, ctx.options.version_path, instance.version)


def _seen(
    ctx: Context, resource: str, folder: Path, weights: Mapping[str, int]
) -> ObservedResource:
    instance = read_instance(folder)
    if instance is None:
        return ObservedResource(id=resource, healthy=False)
    return ObservedResource(
        id=resource, version=instance.version, digest=instance.sha256,
        address=f"{LOOPBACK}:{instance.port}", weight=weights.get(resource),
        healthy=is_running(folder) and not _problem(ctx, instance),
    )  # fmt: skip


def _root(ctx: Context) -> Path:
    """The service's own folder in the environment's: several may live in one. Raises ToolFailure."""
    if ctx.environment is None:
        raise ToolFailure("local-service works in an environment; name one for the stage")
    return Path(ctx.environment.folder) / path_part(ctx.component)
