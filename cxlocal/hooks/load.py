"""Turning names and files into modules and classes."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from cxlocal.errors import Trouble
from cxlocal.values import NamedTuple


class PluginPlace(NamedTuple):
    """Where another process finds a plugin."""

    target: str
    """``module`` or ``module:object``."""
    file: str = ""
    source: str = ""
    """Of a plugin of a project: its bytes as they were trusted, each one character. The file may be another by now."""


def module_from_bytes(name: str, path: Path, source: bytes) -> ModuleType:
    """A module made of exactly these bytes: what was checked is what runs.

    It is put into ``sys.modules`` under ``name``. Raises whatever its code raises.
    """
    module = ModuleType(name)
    module.__file__ = str(path)
    module.__cxlocal_sha256__ = hashlib.sha256(source).hexdigest()  # type: ignore[attr-defined]
    module.__cxlocal_source__ = source  # type: ignore[attr-defined]
    code = compile(source, str(path), "exec", dont_inherit=True)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102  (a trusted plugin: running it is the point)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def class_named(where: dict[str, str], source: str = "") -> type[Any]:
    """The class that a request names (``messages.reference``): a tool, a sink.

    ``source`` is that of its module, where the file may be gone by now: the checkout of a run. A file
    whose digest was given must still have it: a stage may have rewritten the checkout since
    the file was trusted. Raises Trouble, and whatever the module's code raises.
    """
    if source:
        module = module_from_bytes(where["module"], Path(where["file"]), source.encode())
    else:
        module = _module(where["module"], where["file"], where["sha256"])
    found: object = module
    for part in where["qualname"].split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type):
        raise Trouble(
            f"{where['name']}: {where['module']} has no {where['qualname']}",
            why="the plugin has changed since it was asked what it has",
            hint="run the command again",
        )
    return found


def _module(name: str, file: str, sha256: str) -> ModuleType:
    if not sha256 and name != "__main__":
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            # Loaded from a file that is on no path: a test module, a script.
            if not file:
                raise
    source = Path(file).read_bytes()
    if sha256 and hashlib.sha256(source).hexdigest() != sha256:
        raise Trouble(
            f"{file} has changed since it was trusted",
            why="a stage of this run, or somebody else, has written to it",
            hint="let no stage write to .cx/plugins",
            name="plugin-changed",
        )
    return module_from_bytes("cxlocal_tool" if name == "__main__" else name, Path(file), source)


def plugin_at(place: PluginPlace) -> object:
    """The plugin itself. Raises what its code raises."""
    if place.source:
        return module_from_bytes(place.target, Path(place.file), place.source.encode("latin-1"))
    return imported(place.target)


def imported(target: str) -> object:
    """The object of an entry point, ``module`` or ``module:object``. Raises what the import raises."""
    name, _, attributes = target.partition(":")
    found: object = importlib.import_module(name)
    for part in attributes.split(".") if attributes else ():
        found = getattr(found, part)
    return found
