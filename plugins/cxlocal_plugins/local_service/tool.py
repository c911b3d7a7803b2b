"""The verbs of ``local-service``.

Deploying rotates: the new version is installed beside the old one and first tried on a port of its
own; only when it is healthy there the old one is ended and the new one takes over its port. If it
then fails on that port, the old one is put back. A failed check changes nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from cxlocal.domain import path_part
from cxlocal.hooks.tool import Context, Deployed, Done, Observed, Tool, ToolFailure
from cxlocal_plugins.local_service import release as service
from cxlocal_plugins.local_service.state import Release, State, read_state, write_state


class LocalService(Tool):
    """A Python service on this machine."""

    name = "local-service"
    api = 1
    title = "Service on this machine"

    class Options(Tool.Options, frozen=True):
        """``module``: started as ``python -m MODULE``; it finds HOST and PORT in its environment.
        ``args`` follow it. ``artifact``: which wheel. ``service``: its name, by default the
        module's. ``port``: a fixed port; by default a free one, kept for later versions.
        ``health``: a path that must answer below 400 within ``start_timeout`` seconds.
        ``version_path``: a path whose answer must hold the version."""

        module: str
        args: tuple[str, ...] = ()
        artifact: str = "wheel"
        service: str = ""
        port: int = 0
        health: str = "/"
        version_path: str = ""
        start_timeout: float = 15.0

    def deploy(self, ctx: Context) -> Deployed:
        """Install the run's wheel and rotate it in. Raises ToolFailure."""
        artifact = ctx.artifacts.get(ctx.options.artifact)
        if artifact is None:
            raise ToolFailure(f"there is no artifact {ctx.options.artifact!r} to deploy")
        root = _root(ctx)
        fresh = Release(
            folder=f"releases/{path_part(ctx.version)}-{ctx.run[:8]}-{artifact.sha256[:8]}",
            version=ctx.version,
            run=ctx.run,
            sha256=artifact.sha256,
            command=("-m", ctx.options.module, *ctx.options.args),
        )
        state = read_state(root)
        # Before the first file: whoever finds this handle can take everything back.
        ctx.intend({"root": str(root), "release": fresh.folder})
        if state.current is not None and state.current.folder == fresh.folder:
            service.end(root / fresh.folder)
        service.install(ctx, artifact, root / fresh.folder)
        self._try_aside(ctx, root, fresh)
        port = self._take_over(ctx, root, state, fresh)
        self._forget_older(root, state, fresh)
        return Deployed(
            service=_name(ctx),
            uri=f"http://{service.LOOPBACK}:{port}",
            details={"port": port, "folder": fresh.folder},
        )

    def undo(self, ctx: Context) -> Deployed:
        """Put the version before back. Raises ToolFailure when there is none."""
        root = _root(ctx)
        state = read_state(root)
        if state.previous is None:
            raise ToolFailure("there is no version before this one to go back to")
        ctx.intend({"root": str(root), "release": state.previous.folder})
        port = self._take_over(ctx, root, state, state.previous)
        return Deployed(
            service=_name(ctx),
            uri=f"http://{service.LOOPBACK}:{port}",
            details={"port": port, "version": state.previous.version, "run": state.previous.run},
        )

    def health(self, ctx: Context) -> Done:
        """Raises ToolFailure unless the service that should run is healthy."""
        root = _root(ctx)
        state = read_state(root)
        if state.current is None:
            raise ToolFailure("nothing runs here")
        problem = service.look(
            state.port, ctx.options.health, ctx.options.version_path, state.current.version
        )
        if problem:
            raise ToolFailure(problem)
        return Done(details={"version": state.current.version})

    def observe(self, ctx: Context) -> Observed:
        """What runs here now, by the process and by asking it."""
        root = _root(ctx)
        state = read_state(root)
        current = state.current
        if current is None or not service.is_running(root / current.folder):
            return Observed(details={"known": current.version if current else ""})
        status, _ = service.ask(state.port, ctx.options.health)
        return Observed(
            version=current.version,
            digest=current.sha256,
            uri=f"http://{service.LOOPBACK}:{state.port}",
            healthy=status is not None and status < 400,
        )

    def destroy(self, ctx: Context) -> Done:
        """End every process and remove the folder. Harmless where nothing was made."""
        root = _root(ctx)
        ended = [folder.name for folder in sorted(root.glob("releases/*")) if service.end(folder)]
        shutil.rmtree(root, ignore_errors=True)
        return Done(details={"ended": ended})

    remove = destroy

    def probe(self, ctx: Context) -> Done:
        """Whether a service could be started here."""
        with_port = ctx.options.port
        if with_port and not service.is_free(with_port):
            raise ToolFailure(f"port {with_port} is in use")
        return Done()

    def _try_aside(self, ctx: Context, root: Path, fresh: Release) -> None:
        port = service.free_port()
        service.start(ctx, root, fresh, port)
        problem = service.wait_until_healthy(ctx, root / fresh.folder, port, fresh.version)
        service.end(root / fresh.folder)
        if problem:
            shutil.rmtree(root / fresh.folder, ignore_errors=True)
            raise ToolFailure(f"{fresh.version} is not healthy, nothing was changed: {problem}")

    def _take_over(self, ctx: Context, root: Path, state: State, chosen: Release) -> int:
        """End what runs, start ``chosen`` on its port, and put the old one back if that fails."""
        old = state.current
        if old is not None:
            service.end(root / old.folder)
        port = _port(ctx, state)
        service.start(ctx, root, chosen, port)
        problem = service.wait_until_healthy(ctx, root / chosen.folder, port, chosen.version)
        if problem:
            service.end(root / chosen.folder)
            if old is not None:
                service.start(ctx, root, old, port)
                problem += f"; {old.version} was put back"
            raise ToolFailure(f"{chosen.version} is not healthy on port {port}: {problem}")
        before = old if old is not None and old.folder != chosen.folder else state.previous
        write_state(root, State(chosen, before, port))
        return port

    def _forget_older(self, root: Path, before: State, fresh: Release) -> None:
        """Only the version that runs and the one before it are kept."""
        kept = {fresh.folder, *(r.folder for r in (before.current,) if r is not None)}
        for folder in root.glob("releases/*"):
            if f"releases/{folder.name}" not in kept:
                service.end(folder)
                shutil.rmtree(folder, ignore_errors=True)


def _name(ctx: Context) -> str:
    return str(ctx.options.service or ctx.options.module)


def _root(ctx: Context) -> Path:
    """The service's own folder in the environment's; from the handle where only that is left."""
    handle: Any = ctx.handle
    if isinstance(handle, dict) and isinstance(handle.get("root"), str):
        return Path(handle["root"])
    if ctx.environment is None:
        raise ToolFailure("local-service works in an environment; name one for the stage")
    root = ctx.environment.folder / path_part(_name(ctx))
    root.mkdir(parents=True, exist_ok=True)
    return root


def _port(ctx: Context, state: State) -> int:
    """The fixed port, else the one the service has here already, else a free one."""
    wanted = ctx.options.port or state.port
    if wanted and service.is_free(wanted):
        return int(wanted)
    if ctx.options.port:
        raise ToolFailure(f"port {wanted} is in use by another program")
    return service.free_port()
