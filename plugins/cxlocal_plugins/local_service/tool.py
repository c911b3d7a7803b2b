"""The verbs of ``local-service``."""

from __future__ import annotations

import os
import shutil
from itertools import chain, count
from pathlib import Path

from cxlocal.domain import path_part
from cxlocal.hooks.tool import ArtifactRef, Context, Deployed, Done, Observed, Tool, ToolFailure
from cxlocal_plugins.local_service.install import install
from cxlocal_plugins.local_service.process import end, is_running
from cxlocal_plugins.local_service.rotate import running, settle, take_over, try_aside
from cxlocal_plugins.local_service.state import FILE, Release, State, read_state
from cxlocal_plugins.local_service.web import LOOPBACK, is_free, look

RELEASES = "releases"


class LocalService(Tool):
    """A Python service on this machine."""

    name = "local-service"
    api = 2
    title = "Service on this machine"
    here = True

    class Options(Tool.Options, frozen=True):
        """``module``: started as ``python -m MODULE``; or ``command``: a program of the wheel, with
        arguments. It finds HOST and PORT in its environment. ``args`` follow it. ``artifact``:
        which wheel. ``service``: its name, by default the module's. ``shared``: dependencies are
        those installed beside cxlocal. ``port``: a fixed port; by default a free one, kept for
        later versions. ``health``: a path that must answer below 400 within ``start_timeout``
        seconds. ``version_path``: a path whose answer must hold the version."""

        module: str = ""
        command: tuple[str, ...] = ()
        args: tuple[str, ...] = ()
        artifact: str = "wheel"
        service: str = ""
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

    def deploy(self, ctx: Context) -> Deployed:
        """Install the run's wheel and rotate it in. Raises ToolFailure."""
        artifact = ctx.artifacts.get(ctx.options.artifact)
        if artifact is None:
            raise ToolFailure(f"there is no artifact {ctx.options.artifact!r} to deploy")
        root = _root(ctx)
        fresh = _fresh(ctx, root, artifact)
        # Before the first file: whoever finds this handle can take everything back.
        ctx.intend({"root": str(root), "release": fresh.folder})
        (root / RELEASES).mkdir(parents=True, exist_ok=True)
        state = settle(root, read_state(root))
        if _is_live(ctx, root, state, fresh):
            return _deployed(ctx, state, fresh)
        install(ctx, artifact.path, root / fresh.folder)
        try_aside(ctx, root, fresh)
        take_over(ctx, root, state, fresh)
        state = read_state(root)
        _forget_others(root, state)
        return _deployed(ctx, state, fresh)

    def undo(self, ctx: Context) -> Deployed:
        """Put the version before back; ``ctx.version`` is the one that is meant.

        Raises ToolFailure when another one, or none, is kept here. Twice does no harm.
        """
        root = _root(ctx)
        state = read_state(root)
        live = running(root, state)
        if live is not None and _is_meant(ctx, live):
            return _deployed(ctx, state, live)
        kept = state.previous
        if kept is None:
            raise ToolFailure("there is no version before this one to go back to")
        if not _is_meant(ctx, kept):
            raise ToolFailure(f"the version before is {kept.version} here, not {ctx.version}")
        ctx.intend({"root": str(root), "release": kept.folder})
        take_over(ctx, root, settle(root, state), kept)
        return _deployed(ctx, read_state(root), kept)

    def health(self, ctx: Context) -> Done:
        """Raises ToolFailure unless the service that should run is healthy."""
        root = _root(ctx)
        state = read_state(root)
        live = running(root, state)
        if live is None:
            raise ToolFailure("nothing runs here")
        problem = look(state.port, ctx.options.health, ctx.options.version_path, live.version)
        if problem:
            raise ToolFailure(problem)
        return Done(details={"version": live.version})

    def observe(self, ctx: Context) -> Observed:
        """What runs here now, by the process and by asking it."""
        root = _root(ctx)
        state = read_state(root)
        live = running(root, state)
        if live is None:
            return Observed(details={"known": state.current.version if state.current else ""})
        problem = look(state.port, ctx.options.health, ctx.options.version_path, live.version)
        return Observed(
            version=live.version,
            digest=live.sha256,
            uri=f"http://{LOOPBACK}:{state.port}",
            healthy=not problem,
            details={"problem": problem} if problem else {},
        )

    def destroy(self, ctx: Context) -> Done:
        """End every process and remove what was made. Harmless where nothing was made."""
        root = _root(ctx)
        folders = sorted((root / RELEASES).glob("*"))
        ended = [folder.name for folder in folders if end(folder)]
        if (root / RELEASES).is_dir():
            shutil.rmtree(root / RELEASES)
        # Only what is ours: the folder is the environment's, and others may use it.
        for path in (root / FILE, *root.glob(".*.part")):
            path.unlink(missing_ok=True)
        if root.is_dir() and not any(root.iterdir()):
            root.rmdir()
        return Done(details={"ended": ended})

    remove = destroy

    def probe(self, ctx: Context) -> Done:
        """Whether a service could be started here."""
        port = ctx.options.port
        live = ctx.environment is not None and running(_root(ctx), read_state(_root(ctx)))
        if port and not live and not is_free(port):
            raise ToolFailure(f"port {port} is in use by another program")
        return Done()


def _fresh(ctx: Context, root: Path, artifact: ArtifactRef) -> Release:
    """The release to be made, in a folder of its own: what was cut off earlier may still stir."""
    options = ctx.options
    command = options.command or ("python", "-m", options.module)
    base = f"{RELEASES}/{path_part(ctx.version)}-{ctx.run[:8]}-{artifact.sha256[:8]}"
    names = chain([base], (f"{base}-{number}" for number in count(2)))
    folder = next(name for name in names if not (root / name).exists())
    return Release(folder, ctx.version, ctx.run, artifact.sha256, (*command, *options.args))


def _is_live(ctx: Context, root: Path, state: State, fresh: Release) -> bool:
    """Whether exactly this runs already, and well: an earlier attempt may have got that far."""
    current = state.current
    return (
        current is not None
        and current._replace(folder="") == fresh._replace(folder="")
        and ctx.options.port in (0, state.port)
        and is_running(root / current.folder)
        and not look(state.port, ctx.options.health, ctx.options.version_path, current.version)
    )


def _is_meant(ctx: Context, release: Release) -> bool:
    return release.version == ctx.version and release.run == ctx.run


def _deployed(ctx: Context, state: State, release: Release) -> Deployed:
    return Deployed(
        service=_name(ctx),
        uri=f"http://{LOOPBACK}:{state.port}",
        details={"port": state.port, "version": release.version, "run": release.run},
    )


def _forget_others(root: Path, state: State) -> None:
    """Only the version that runs and the one before it are kept."""
    kept = {one.folder for one in (state.current, state.previous) if one is not None}
    for folder in root.glob(f"{RELEASES}/*"):
        if f"{RELEASES}/{folder.name}" not in kept:
            end(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _name(ctx: Context) -> str:
    options = ctx.options
    return str(options.service or options.module or os.path.basename(options.command[0]))


def _root(ctx: Context) -> Path:
    """The service's own folder in the environment's: several services may live in one. What a handle says of
    it is not asked: it comes from history, and must not be able to empty a disk. Raises ToolFailure."""
    if ctx.environment is None:
        raise ToolFailure("local-service works in an environment; name one for the stage")
    return Path(ctx.environment.folder) / path_part(_name(ctx))
