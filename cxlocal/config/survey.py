"""What ``cxlocal init`` knows of a repository: a value, and what can be read from it. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

LOOKED_AT = (
    "pyproject.toml", "setup.cfg", "setup.py", "package.json", "Makefile", "GNUmakefile",
    "makefile", "CMakeLists.txt", "Cargo.toml", "src/main.rs", "go.mod", "pom.xml", "build.gradle",
    "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "Chart.yaml", "Dockerfile",
)  # fmt: skip
"""Files that are read when they are there."""


class Survey(NamedTuple):
    """A folder and its repository, as far as they tell how it is released."""

    folder: str
    """The name of the folder."""
    names: frozenset[str] = frozenset()
    """Files and folders at its top, folders with a ``/`` at the end."""
    texts: Mapping[str, str] = {}
    """Content of the files in ``LOOKED_AT``, and of the modules that hold a Python version."""
    remotes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    prefix: str = ""
    """The folder relative to the top of the repository; empty at the top."""

    def text(self, name: str) -> str:
        """The content of a file, empty if it is not there."""
        return self.texts.get(name, "")

    def toml(self, name: str) -> dict[str, Any]:
        """A TOML file; empty when it is absent or broken (its own tool will say so)."""
        try:
            return tomllib.loads(self.text(name))
        except (tomllib.TOMLDecodeError, RecursionError):
            return {}

    def json(self, name: str) -> dict[str, Any]:
        """A JSON file that holds an object; empty when it is absent or broken."""
        try:
            found = json.loads(self.text(name) or "{}")
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}


def part(value: Any, *keys: str) -> Any:
    """What stands below ``keys`` in nested tables, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def words(value: Any) -> str:
    """``value`` if it is text, else an empty text."""
    return value if isinstance(value, str) else ""


class Counted(NamedTuple):
    """Where counting went so far."""

    line: str
    number: int
    said_by: str
    """The tag or file that says so."""


_TAG = re.compile(
    r"(?:.*?[/@_-])?[vV]?(?P<major>\d{1,9})\.(?P<minor>\d{1,9})\.(?P<number>\d{1,9})", re.ASCII
)
_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", re.ASCII)


def highest_tag(tags: Iterable[str]) -> Counted | None:
    """The highest ``1.2.3`` among tags such as ``v1.2.3`` and ``webshop-1.2.3``.

    Pre-releases are left aside: what follows them is still free.
    """
    best: tuple[tuple[int, int, int], str] | None = None
    for tag in tags:
        match = _TAG.fullmatch(tag)
        if match:
            found = (int(match["major"]), int(match["minor"]), int(match["number"]))
            if best is None or found > best[0]:
                best = found, tag
    if best is None:
        return None
    (major, minor, number), tag = best
    return Counted(f"{major}.{minor}", number, f"the tag {tag}")


def version_in(text: str, said_by: str) -> Counted | None:
    """``1.2.3`` (or ``1.2``) as line and number; None for anything else, such as ``0.0.0``."""
    match = _VERSION.match(text)
    if not match or not any(int(one or 0) for one in match.groups()):
        return None
    return Counted(f"{int(match[1])}.{int(match[2])}", int(match[3] or 0), said_by)
