"""What an instance says of itself in its folder, ``instance.json``::

    {"version", "run", "sha256", "port", "command"}

The folder is named by the id of the resource, so whoever has that finds all of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cxlocal.files import write_whole
from cxlocal.values import NamedTuple

FILE = "instance.json"
INSTANCES = "instances"


class Instance(NamedTuple):
    """One version, installed to run on a port of its own."""

    version: str
    run: str
    sha256: str
    port: int
    command: tuple[str, ...]
    """What is started. A program without a slash is looked for in the virtual environment first."""


def folder_of(root: Path, resource: str) -> Path:
    """Where the instance of a resource lives."""
    return root / INSTANCES / resource


def write_instance(folder: Path, instance: Instance) -> None:
    """Say it, durably."""
    write_whole(folder / FILE, json.dumps(instance._asdict(), indent=1))


def read_instance(folder: Path) -> Instance | None:
    """What a folder says; None where that is nothing, or damaged: then it never came to run."""
    try:
        said = json.loads((folder / FILE).read_text("utf-8"))
        return Instance(
            str(said["version"]), str(said["run"]), str(said["sha256"]), int(said["port"]),
            tuple(str(word) for word in said["command"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None


def instances(root: Path) -> Iterator[tuple[str, Path]]:
    """Every id with its folder."""
    for folder in sorted((root / INSTANCES).glob("*")):
        yield folder.name, folder
