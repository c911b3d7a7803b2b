"""Names, paths, variables and options in a configuration file: what each may be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any

from cxlocal.config.problems import Where, problem
from cxlocal.patterns import compile_late
from cxlocal.text import clean_text

NAME_LENGTH_MAX = 64
"""Names of stages, environments, promotions and artifacts stand in file names and tables."""

COUNT_MAX = 500
"""Entries of one sort in a file; more is a generated file gone wrong."""

_NAME = compile_late(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
VARIABLE = compile_late(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_VARIABLES = compile_late(r"[A-Za-z_][A-Za-z0-9_]*\*?", re.ASCII)

RESERVED_VARIABLES = (
    "CXLOCAL_VERSION", "CXLOCAL_RUN", "CXLOCAL_REVISION", "CXLOCAL_STAGE", "CXLOCAL_ENVIRONMENT",
    "CXLOCAL_ENVIRONMENT_URI",
)  # fmt: skip
"""Variables that cxlocal itself gives to every stage."""

ARTIFACT_VARIABLE = "CXLOCAL_ARTIFACT_"
"""Begins the variables that say where artifacts are."""


def check_name(name: str, where: Where, word: str) -> None:
    """A name that can stand in a file name and in a placeholder. Raises ConfigError."""
    if len(name) > NAME_LENGTH_MAX or not _NAME.fullmatch(name):
        raise problem(
            where,
            f"{clean_text(name)[:80]!r} cannot name a{'n' if word[0] in 'aeiou' else ''} {word}",
            why=f"a name has 1 to {NAME_LENGTH_MAX} letters (a to z), digits, '_', '-' and '.',"
            " and begins with a letter or digit",
            hint="give it a plain name; `title` takes any text",
            key=clean_text(name)[:80],
            name="bad-name",
        )


def check_names(names: list[str], where: Where, word: str) -> None:
    """Names of one sort: well formed, and distinct on file systems that ignore case."""
    if len(names) > COUNT_MAX:
        raise problem(where, f"{len(names)} {word}s are too many", why=f"{COUNT_MAX} at most")
    seen: dict[str, str] = {}
    for name in names:
        if word == "secret":
            check_variable(name, where, "a secret")
        else:
            check_name(name, where, word)
        other = seen.setdefault(name.casefold(), name)
        if other != name:
            raise problem(
                where,
                f"{word}s {other!r} and {name!r} differ only in case",
                why="some file systems cannot tell their logs apart",
                hint="rename one of them",
                key=name,
            )


def check_variable(name: str, where: Where, word: str) -> None:
    """A name that an environment variable can have and that cxlocal does not set itself."""
    if not VARIABLE.fullmatch(name) or len(name) > NAME_LENGTH_MAX:
        raise problem(
            where,
            f"{clean_text(name)[:80]!r} cannot name {word}",
            why="it becomes an environment variable: letters, digits and '_', no digit first",
            hint="use a name such as DEPLOY_TOKEN",
            key=clean_text(name)[:80],
            name="bad-name",
        )
    _refuse_reserved(name, where)


def _refuse_reserved(name: str, where: Where) -> None:
    if name in RESERVED_VARIABLES or name.startswith(ARTIFACT_VARIABLE):
        raise problem(
            where,
            f"{name} is set by cxlocal itself",
            why="a second value would hide it from the stage",
            hint="choose another name",
            key=name,
        )


def check_pass_env(names: Iterable[str], where: Where) -> None:
    """Names of variables, or groups such as ``LC_*``."""
    for name in names:
        if not _VARIABLES.fullmatch(name):
            raise problem(
                where,
                f"pass_env: {clean_text(name)[:80]!r} is not the name of a variable",
                hint="write names, or a group such as 'LC_*'",
                key="pass_env",
            )
        _refuse_reserved(name, where)


def check_path(path: str, where: Where, key: str) -> None:
    """A path below the folder of cx.toml, written with ``/``. Raises ConfigError."""
    why = ""
    if not path or "\0" in path:
        why = "it is empty" if not path else "it holds a zero byte"
    elif path.startswith(("/", "~")):
        why = "it does not begin in the folder of cx.toml"
    elif ".." in path.split("/"):
        why = "it leads out of the folder with '..'"
    elif ".git" in path.casefold().split("/"):
        why = "it leads into git's own folder"
    if why:
        raise problem(
            where,
            f"{key}: {clean_text(path)[:120]!r} is not a path in the checkout",
            why=why,
            hint="write a path such as 'dist/app.tar.gz'",
            key=key,
        )


def json_problem(value: Any, depth: int = 0) -> str:
    """Why a plan cannot hold this value as JSON; empty when it can. Plans stand in the journal."""
    if depth > 20:
        return "it is nested more than 20 levels deep"
    if isinstance(value, datetime | date | time):
        return "dates and times have no form in JSON: write them as text"
    if isinstance(value, float) and not math.isfinite(value):
        return "JSON has no form for nan and inf"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "whole numbers have 64 bits at most"
    inner: Iterable[Any] = ()
    if isinstance(value, dict):
        inner = value.values()
    elif isinstance(value, list):
        inner = value
    return next((why for one in inner if (why := json_problem(one, depth + 1))), "")


def check_tool_options(options: dict[str, Any], tool: str | None, where: Where) -> None:
    """Options need a tool, and are kept as JSON. Raises ConfigError."""
    if options and tool is None:
        raise problem(
            where,
            "'with' needs a tool",
            why="it holds the options of a tool",
            hint="add tool = \"…\", or take 'with' out",
            key="with",
        )
    for key, value in options.items():
        why = json_problem(value)
        if why:
            raise problem(where, f"with.{clean_text(key)} cannot be kept", why=why, key="with")
