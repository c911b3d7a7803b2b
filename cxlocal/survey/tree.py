"""What ``cxlocal init`` knows of a repository: its files, their texts, its tags."""

from __future__ import annotations

import configparser
import json
import posixpath
import re
import tomllib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from cxlocal.patterns import compile_late
from cxlocal.values import NamedTuple

FOREIGN = compile_late(
    r"(?:^|/)(?:node_modules|vendor|third[_-]?party|3rdparty|extern(?:al)?|\.venv|\.git)/"
)
"""Folders in repositories that hold the work of others."""


_UNPACKED = compile_late(r"(.*[A-Za-z].*?)[-_]v?(\d+(?:\.\d+)+[A-Za-z0-9.+~-]*)", re.ASCII)


class Tag(NamedTuple):
    """A tag and the day it was made; zeros where that is not known."""

    name: str
    year: int = 0
    month: int = 0
    day: int = 0


class Survey(NamedTuple):
    """A folder and its repository, as far as they tell how it is released.

    Names given to the methods are relative to the folder.
    """

    folder: str
    """The name of the folder."""
    files: frozenset[str] = frozenset()
    """Every file of the repository, from its top."""
    texts: Mapping[str, str] = {}
    """The content of those that hold text; may be read only when asked for."""
    remotes: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()
    prefix: str = ""
    """The folder relative to the top of the repository; empty at the top."""
    tools: frozenset[str] = frozenset()
    """Programs that are on this machine, of those that recipes choose between."""

    @property
    def name(self) -> str:
        """What the folder is called, without the version of an unpacked archive (``shop-1.30``)."""
        match = _UNPACKED.fullmatch(self.folder)
        return match[1] if match else self.folder

    @property
    def named_version(self) -> str:
        """The version in the name of an unpacked archive's folder; empty where there is none."""
        match = _UNPACKED.fullmatch(self.folder)
        return match[2] if match else ""

    def path(self, name: str) -> str:
        """``name`` from the top of the repository."""
        return posixpath.normpath(posixpath.join(self.prefix, name))

    def has(self, *names: str) -> bool:
        """Whether one of these files is there."""
        return any(self.path(name) in self.files for name in names)

    def first(self, *names: str) -> str:
        """The first of these files that is there, or an empty text."""
        return next((name for name in names if self.path(name) in self.files), "")

    def text(self, name: str) -> str:
        """The content of a file, empty if it is not there or no text."""
        return self.texts.get(self.path(name), "") if name else ""

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

    def ini(self, name: str) -> dict[str, dict[str, str]]:
        """A file of sections such as setup.cfg and tox.ini; empty when it is absent or broken."""
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(self.text(name))
        except configparser.Error:
            return {}
        return {section: dict(parser[section]) for section in parser.sections()}

    def below(self, *patterns: str, foreign: bool = False) -> list[str]:
        """The files of the folder that match one of the patterns (``*`` also stands for ``/``),
        those nearest to it first. Work of others is left aside."""
        start = f"{self.prefix}/" if self.prefix else ""
        found = [
            rest
            for path in self.files
            if path.startswith(start)
            for rest in [path[len(start) :]]
            if any(fnmatchcase(rest, pattern) for pattern in patterns)
            and (foreign or not FOREIGN.search(rest))
        ]
        return sorted(found, key=lambda name: (name.count("/"), name))

    def at(self, folder: str) -> Survey:
        """The same repository seen from a folder of it, named from the top."""
        name = posixpath.basename(folder) if folder else self.folder
        return self._replace(prefix=folder, folder=name)

    def up(self, *names: str) -> str:
        """The folder of the nearest of these files above this one, as ``..`` and so on; empty
        where there is none."""
        steps = self.prefix.count("/") + 1 if self.prefix else 0
        for count in range(1, steps + 1):
            way = "/".join([".."] * count)
            if self.has(*(f"{way}/{name}" for name in names)):
                return way
        return ""


def part(value: Any, *keys: str) -> Any:
    """What stands below ``keys`` in nested tables, or None."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def table(value: Any, *keys: str) -> dict[str, Any]:
    """The table below ``keys``; empty where there is none."""
    found = part(value, *keys)
    return found if isinstance(found, dict) else {}


def words(value: Any) -> str:
    """``value`` if it is text, else an empty text."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> list[str]:
    """The texts of a list; one text is a list of one."""
    found = [value] if isinstance(value, str) else value
    return [one for one in found if isinstance(one, str)] if isinstance(found, list) else []


def first_match(pattern: str, text: str) -> str:
    """The group of the only match; empty where there is none, or where a stamp could not tell
    which is meant."""
    found = re.findall(pattern, text, re.MULTILINE)
    return str(found[0]) if len(found) == 1 else ""


def readable_pattern(pattern: str, text: str) -> str:
    """A pattern that finds the same as ``pattern``, once in ``text``, and reads as the line there
    does (``^__version__ = "([^"]+)"``); ``pattern`` itself where there is no such one."""
    match = re.search(pattern, text, re.MULTILINE)
    if match is None:
        return pattern
    start = text.rfind("\n", 0, match.start(1)) + 1
    before, after = text[start : match.start(1)], text[match.end(1) : match.end(1) + 1]
    plain = re.sub(r"([\\.^$*+?{}\[\]|()])", r"\\\1", before)
    found = f"^{plain}([^{after}]+){after}" if after and after in "\"'<" else rf"^{plain}(\S+)"
    return found if first_match(found, text) == match[1] and before.strip() else pattern


def slug(name: str) -> str:
    """A name that can stand in a file name and in a shell command as it is."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "app"


def all_of(names: Iterable[str], more: Iterable[str] = ()) -> list[str]:
    """Both without empty ones, each once, in order."""
    return [one for one in dict.fromkeys((*names, *more)) if one]
