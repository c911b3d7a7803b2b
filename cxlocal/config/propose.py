"""The text of a first ``cx.toml``: at most 25 lines, commented, right for the repository. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cxlocal.config.recipes import Recipe, recognise
from cxlocal.config.survey import Counted, Survey, highest_tag, version_in

LINES_MAX = 25
"""A file one reads at a glance."""

IGNORED = ("cx.local.toml", ".cx/run")
"""What git is told to ignore: settings of one machine, and the run a folder is in."""

TEMPLATES = (("0.1", 0), ("1.0", 0))
"""Versions that a project has before its first release."""

NEXT = "# To deploy, add [environments.production] and a stage that works in it."


class Proposal(NamedTuple):
    """What ``cxlocal init`` writes, and what it says about it."""

    text: str
    title: str
    """What the repository was taken for."""
    because: str
    """Where the version line comes from."""


def propose(survey: Survey) -> Proposal:
    """A ``cx.toml`` for the repository of the survey."""
    recipe = recognise(survey)
    counted = highest_tag(survey.tags) or version_in(recipe.version, recipe.said_by)
    blocks = [
        [
            "# How this is released. 'cxlocal config schema' helps an editor to complete keys.",
            "cx = 1",
        ],
        _deliverable(survey, recipe),
        _version(recipe, counted),
        _scm(survey),
        ["[stages]", *(f"{name} = {inline(one)}" for name, one in recipe.stages.items())],
        _promotion(recipe),
    ]
    # The last line stands close, so that the longest proposal has LINES_MAX lines.
    text = "\n\n".join("\n".join(block) for block in blocks if block) + "\n" + NEXT + "\n"
    because = f"{counted.said_by} says {counted.line}.{counted.number}" if counted else ""
    return Proposal(text, recipe.title, because)


def _deliverable(survey: Survey, recipe: Recipe) -> list[str]:
    name = _readable(recipe.name) or _readable(survey.folder) or "app"
    lines = ["[deliverable]", f"name = {quoted(name)}  # stands in every record; keep it"]
    if survey.prefix:
        lines.append(f"paths = [{quoted(survey.prefix)}]  # what belongs to it in this repository")
    return lines


def _readable(name: str) -> str:
    """A name without control characters, at most 100 characters."""
    return re.sub(r"\s+", " ", "".join(c for c in name if c.isprintable())).strip()[:100].strip()


def _version(recipe: Recipe, counted: Counted | None) -> list[str]:
    scheme, line, first = recipe.scheme, "0.1", 0
    if counted:
        line = counted.line
        # What a tag or a file names may be published: count above it. Only what templates begin
        # with says nothing.
        untouched = (counted.line, counted.number) in TEMPLATES
        released = counted.said_by.startswith("the tag") or not untouched
        first = counted.number + 1 if released else 0
    if counted and int(line.partition(".")[0]) >= 2000:
        scheme, line, first = "calver", "YYYY.MM", 0
    example = line.replace("YYYY", "2026").replace("MM", "11")
    lines = [
        "[version]",
        f"scheme = {quoted(scheme)}",
        f"line = {quoted(line)}  # {example}.{first}, {example}.{first + 1} and so on",
    ]
    if first and counted:
        lines.append(f"from = {first}  # {_readable(counted.said_by)} is the last before")
    if recipe.stamp:
        lines.append(f"stamp = [{', '.join(map(inline, recipe.stamp))}]")
    return lines


def _scm(survey: Survey) -> list[str]:
    """Only where the default would not do: ``origin``, or the only remote."""
    if len(survey.remotes) < 2:
        return []
    names = ", ".join(quoted(name) for name in survey.remotes)
    return ["[scm]", f"remotes = [{names}]  # a commit must be on one of them"]


def _promotion(recipe: Recipe) -> list[str]:
    if not recipe.tests:
        return []
    after = ", ".join(map(quoted, recipe.tests))
    return ["[promotions]", f'PASSED_TEST = {{ title = "Tested", after = [{after}] }}']


def inline(value: object) -> str:
    """A value as TOML on one line."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Mapping):
        pairs = (f"{_key(key)} = {inline(one)}" for key, one in value.items())
        return f"{{ {', '.join(pairs)} }}"
    assert isinstance(value, list | tuple), f"no inline form for {value!r}"
    return f"[{', '.join(map(inline, value))}]"


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key)


def quoted(text: str) -> str:
    """A text as TOML; as it is between single quotes where that saves escapes."""
    if ('"' in text or "\\" in text) and "'" not in text and text.isprintable():
        return f"'{text}'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
