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
    tools: tuple[str, ...] = ()
    """The names of its tools, so that who wants one of them need not load all others."""


def _tools(name: str, module: str, tools: tuple[str, ...], extra: str = "") -> Shipped:
    return Shipped(name, f"cxlocal_plugins.{module}", ("cxlocal_register_tools",), extra, tools)


SHIPPED: tuple[Shipped, ...] = (
    _tools("wheel", "wheel", ("wheel",), "python"),
    _tools("pytest", "pytest_tool", ("pytest",)),
    _tools("local-service", "local_service", ("local-service",), "python"),
    _tools("commands", "commands", ("commands",)),
    _tools("oci", "oci", ("oci",)),
    _tools(
        "containers",
        "containers",
        (
            "podman",
            "docker",
        ),
    ),
    _tools("haproxy", "haproxy", ("haproxy",)),
    _tools("git-tag", "targets.git_tag", ("git-tag",)),
    _tools("python-index", "targets.python_index", ("python-index",)),
    _tools("npm", "targets.npm", ("npm",)),
    _tools("forge-release", "targets.forge", ("forge-release",)),
    _tools("debian-repository", "targets.debian", ("debian-repository",)),
    _tools("object-store", "targets.object_store", ("object-store",), "s3"),
    _tools("folder", "targets.folder", ("folder",)),
    _tools("postgresql", "postgresql", ("postgresql",)),
    _tools("ssh", "ssh", ("ssh",)),
    Shipped("junit", "cxlocal_plugins.junit", ("cxlocal_register_report_readers",)),
    Shipped("sinks", "cxlocal_plugins.sinks", ("cxlocal_register_sinks",)),
    Shipped("ci", "cxlocal_plugins.ci", ("cxlocal_identify_ci",)),
    Shipped("sqlite-store", "cxlocal_sync.plugin", ("cxlocal_register_stores",)),
)
