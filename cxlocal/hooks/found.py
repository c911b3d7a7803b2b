"""Which plugins are installed, without importing any: the ``entry_points.txt`` of distributions.

``importlib.metadata`` would give the same list; importing it costs more than all of our start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from cxlocal.values import NamedTuple

GROUP = "cxlocal"

_ENTRY_POINTS_BYTES = 1 << 20
"""Read of one entry_points.txt. The largest seen in the wild have a few KiB."""


class Found(NamedTuple):
    """One entry point of our group."""

    name: str
    target: str
    """``module`` or ``module:object``."""
    distribution: str
    version: str


def installed(folders: Sequence[str]) -> list[Found]:
    """Every plugin in ``folders`` (``sys.path``), in order of distribution and name.

    Of a distribution that is there twice the first counts, as for imports.
    """
    seen: set[str] = set()
    found: list[Found] = []
    for path in _metadata_folders(folders):
        folder = os.path.basename(path).removesuffix(".dist-info")
        distribution, _, version = folder.partition("-")
        if distribution in seen:
            continue
        seen.add(distribution)
        for name, target in entry_points(_read(path)):
            found.append(Found(name, target, distribution.replace("_", "-"), version))
    return sorted(found, key=lambda one: (one.distribution, one.name))


def entry_points(text: str) -> Iterable[tuple[str, str]]:
    """Name and target of each entry point of our group. Pure.

    The format: https://packaging.python.org/specifications/entry-points/
    """
    ours = False
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("["):
            ours = line == f"[{GROUP}]"
        elif ours and "=" in line and not line.startswith(("#", ";")):
            name, _, target = line.partition("=")
            yield name.strip(), target.partition("[")[0].strip()


def _metadata_folders(folders: Sequence[str]) -> Iterator[str]:
    for folder in folders:
        try:
            with os.scandir(folder or ".") as entries:
                names = sorted(one.path for one in entries if one.name.endswith(".dist-info"))
        except OSError:
            continue  # sys.path may name archives and folders that are not there
        yield from names


def _read(metadata_folder: str) -> str:
    try:
        with open(os.path.join(metadata_folder, "entry_points.txt"), "rb") as file:
            content = file.read(_ENTRY_POINTS_BYTES)
    except OSError:
        return ""  # most distributions have none
    # Only a handful of distributions have our group; the others are not even decoded.
    return content.decode("utf-8", "replace") if f"[{GROUP}]".encode() in content else ""


class Shipped(NamedTuple):
    """One shipped plugin."""

    name: str
    """What ``-p no:NAME`` and ``[plugins] block`` call it."""
    module: str
    hooks: tuple[str, ...]
    extra: str = ""
    """What brings the packages it imports: ``pip install 'cxlocal[EXTRA]'``."""


SHIPPED: tuple[Shipped, ...] = (
    Shipped("wheel", "cxlocal_plugins.wheel", ("cxlocal_register_tools",), "python"),
    Shipped("pytest", "cxlocal_plugins.pytest_tool", ("cxlocal_register_tools",)),
    Shipped(
        "local-service", "cxlocal_plugins.local_service", ("cxlocal_register_tools",), "python"
    ),
    Shipped("commands", "cxlocal_plugins.commands", ("cxlocal_register_tools",)),
    Shipped("oci", "cxlocal_plugins.oci", ("cxlocal_register_tools",)),
    Shipped("containers", "cxlocal_plugins.containers", ("cxlocal_register_tools",)),
    Shipped("haproxy", "cxlocal_plugins.haproxy", ("cxlocal_register_tools",)),
    Shipped("git-tag", "cxlocal_plugins.targets.git_tag", ("cxlocal_register_tools",)),
    Shipped("python-index", "cxlocal_plugins.targets.python_index", ("cxlocal_register_tools",)),
    Shipped("npm", "cxlocal_plugins.targets.npm", ("cxlocal_register_tools",)),
    Shipped("forge-release", "cxlocal_plugins.targets.forge", ("cxlocal_register_tools",)),
    Shipped("debian-repository", "cxlocal_plugins.targets.debian", ("cxlocal_register_tools",)),
    Shipped(
        "object-store", "cxlocal_plugins.targets.object_store", ("cxlocal_register_tools",), "s3"
    ),
    Shipped("folder", "cxlocal_plugins.targets.folder", ("cxlocal_register_tools",)),
    Shipped("postgresql", "cxlocal_plugins.postgresql", ("cxlocal_register_tools",)),
    Shipped("ssh", "cxlocal_plugins.ssh", ("cxlocal_register_tools",)),
    Shipped("junit", "cxlocal_plugins.junit", ("cxlocal_register_report_readers",)),
    Shipped("sinks", "cxlocal_plugins.sinks", ("cxlocal_register_sinks",)),
    Shipped("ci", "cxlocal_plugins.ci", ("cxlocal_identify_ci",)),
    Shipped("sqlite-store", "cxlocal_sync.plugin", ("cxlocal_register_stores",)),
)
