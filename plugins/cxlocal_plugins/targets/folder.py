"""The tool ``folder``: files of a version in a folder, such as a share or what a web server serves.

A file appears there whole or not at all, and never in the place of another one.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Done,
    Held,
    Holdings,
    Produced,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)


class Folder(Tool):
    """A folder that is there: one that is not mounted is no empty one."""

    name = "folder"
    api = 2
    title = "Folder"

    class Options(Tool.Options, frozen=True):
        """``folder`` must be there; ``below`` is made in it, and may hold ``{version}``."""

        folder: str
        below: str = "{version}"

    def ask(self, ctx: Context) -> Holdings:
        """The digest of each file as it is there."""
        found = {
            name: _held(_place(ctx, one), one, _root(ctx)) for name, one in ctx.artifacts.items()
        }
        return Holdings(files=found, refuses=True)

    def publish(self, ctx: Context) -> Published:
        """Copy what is missing."""
        for name in ctx.put:
            _put(ctx, ctx.artifacts[name])
        return Published()

    def fetch(self, ctx: Context) -> Done:
        """Bring files from there."""
        made = []
        for name in ctx.put or ctx.artifacts:
            one = ctx.artifacts[name]
            if _held(_place(ctx, one), one, _root(ctx)).state == "same":
                copy = ctx.scratch / one.sha256
                shutil.copyfile(_place(ctx, one), copy)
                made.append(Produced(name=name, path=copy))
        return Done(artifacts=tuple(made))

    def withdraw(self, ctx: Context) -> Withdrawn:
        """What was published stays readable: taking it away is a person's decision."""
        return Withdrawn(address=str(_root(ctx) / _below(ctx)))


def _root(ctx: Context) -> Path:
    root = Path(ctx.options.folder).expanduser()
    if not root.is_absolute():
        raise ToolFailure(f"folder {ctx.options.folder!r} has to begin with / or ~")
    return root


def _below(ctx: Context) -> str:
    below: str = ctx.options.below.replace("{version}", ctx.version)
    return below


def _place(ctx: Context, one: ArtifactRef) -> Path:
    root = _root(ctx)
    place = Path(os.path.normpath(root / _below(ctx) / one.path.name))
    if not place.is_relative_to(os.path.normpath(root)):
        raise ToolFailure(f"below = {ctx.options.below!r} leads out of {root}")
    return place


def _held(place: Path, one: ArtifactRef, root: Path) -> Held:
    wanted = f"sha256:{one.sha256}"
    try:
        if not root.is_dir():
            return Held(state="not known", why=f"{root} is not there", trouble="unreached")
        with place.open("rb") as file:
            held = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        if place.is_symlink():
            return Held(state="other", wanted=wanted, held="a link that leads nowhere")
        return Held(state="absent", wanted=wanted)
    except PermissionError as problem:
        return Held(state="not known", why=str(problem.strerror), trouble="credential")
    except OSError as problem:
        return Held(state="not known", why=str(problem.strerror), trouble="unreached")
    return Held.compared(wanted, held, location=place.as_uri())


def _put(ctx: Context, one: ArtifactRef) -> None:
    place = _place(ctx, one)
    begun = f".{place.name}.{ctx.run}."
    part = place.with_name(f"{begun}{os.uname().nodename}-{os.getpid()}")
    try:
        if not _root(ctx).is_dir():
            raise ToolFailure(f"{_root(ctx)} is not there", trouble="unreached")
        place.parent.mkdir(parents=True, exist_ok=True)
        with one.path.open("rb") as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
            target.flush()
            os.fsync(target.fileno())
        part.chmod(0o644)
        os.link(part, place)
        # What a killed one left; whoever is at work on it finds the file.
        for left in place.parent.glob(f"{glob.escape(begun)}*"):
            left.unlink(missing_ok=True)
    except FileExistsError:
        # Somebody was faster. With the same bytes all is well.
        if _held(place, one, _root(ctx)).state != "same":
            raise ToolFailure(f"{place} is there with other bytes") from None
    except PermissionError as problem:
        raise ToolFailure(f"{place.parent}: {problem.strerror}", trouble="credential") from problem
    except OSError as problem:
        raise ToolFailure(f"{place}: {problem.strerror}", trouble="unreached") from problem
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Folder]
