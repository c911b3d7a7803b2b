"""The text of a first ``cx.toml``: short, commented, right for the repository."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cxlocal.numbers.schemes import SCHEMES, number_in
from cxlocal.survey.counting import Point, Standing, Start, standing
from cxlocal.survey.recipe import Recipe
from cxlocal.survey.system import system_packages
from cxlocal.survey.tree import Survey
from cxlocal.values import NamedTuple

LINES_MAX = 30
"""A file one reads at a glance."""

IGNORED = ("cx.local.toml", ".cx/run")
"""What git is told to ignore: settings of one machine, and the run a folder is in."""

NEXT = "# To deploy, add [environments.production] and a stage that works in it."
UNTESTED = (
    "# Nothing tests this: no tests were found. Add one, and each run stops saying so:",
    '# unit = {{ kind = "test", command = "…", needs = ["{last}"] }}',
)
THREE_NUMBERS = ("package.json", "Cargo.toml")
"""Files whose tools refuse any other version: an image counted 41, 42 leaves them as they are."""
RESERVES = (
    "# With a shared store this machine also keeps 3 numbers from 100 above (reserve, ahead), for",
    "# days on which the store cannot be reached; a gap of that kind is no mistake.",
)


class Proposal(NamedTuple):
    """What ``cxlocal init`` writes, and what it says about it."""

    text: str
    title: str
    """What the repository was taken for."""
    because: tuple[str, ...]
    """Where the version line comes from, a sentence for each source."""
    standing: Standing
    recipe: Recipe
    system: tuple[str, ...]
    """Packages of the system that the project names, for people to install."""
    system_by: str


def propose(
    survey: Survey, recipe: Recipe, *, alone: bool = True, start: Start | None = None
) -> Proposal:
    """A ``cx.toml`` for the folder of the survey. ``alone``: its repository releases nothing else.
    ``start``: where a person said that counting begins, in place of the higher version."""
    known = standing(
        survey, recipe.name, recipe.place.said, scheme=recipe.scheme, strict=recipe.strict, alone=alone,
    )  # fmt: skip
    packages, by = system_packages(survey)
    blocks = [
        [
            "# How this is released. 'cxlocal config schema' helps an editor to complete keys.",
            "cx = 1",
        ],
        _deliverable(survey, recipe),
        _version(survey, recipe, known, start or known.start),
        _scm(survey),
        _stages(recipe, packages, by),
        _promotion(recipe),
    ]
    # The last line stands close, so that the longest proposal has LINES_MAX lines.
    text = "\n\n".join("\n".join(block) for block in blocks if block) + "\n" + NEXT + "\n"
    because = [f"{one.by} says {one.text}" for one in (known.tag, known.tree) if one]
    return Proposal(text, recipe.title, tuple(because), known, recipe, tuple(packages), by)


def _deliverable(survey: Survey, recipe: Recipe) -> list[str]:
    name = _readable(recipe.name) or _readable(survey.name) or "app"
    lines = ["[deliverable]", f"name = {quoted(name)}  # stands in every record; keep it"]
    if survey.prefix:
        lines.append(f"paths = [{quoted(survey.prefix)}]  # what belongs to it in this repository")
    return lines


def _readable(name: str) -> str:
    """A name without control characters, at most 100 characters."""
    return re.sub(r"\s+", " ", "".join(c for c in name if c.isprintable())).strip()[:100].strip()


def _version(survey: Survey, recipe: Recipe, known: Standing, start: Start) -> list[str]:
    following = re.sub(r"\d+$", lambda match: str(int(match[0]) + 1), start.example)
    lines = [
        "[version]",
        f"scheme = {quoted(start.scheme)}",
        f"line = {quoted(start.line)}  # {start.example}, {following} and so on",
    ]
    if start.first:
        # As a version it is of its line alone, and need not go when another line is begun.
        named = number_in(SCHEMES[start.scheme], start.line, start.example) == start.first
        first = quoted(start.example) if named else str(start.first)
        lines.append(f"from = {first}  # {_reason(known, start)}")
    elif known.other or (known.chosen and known.chosen.early):
        lines.append(f"# {_reason(known, start)}")
    three = start.scheme != "counter" and start.example.count(".") == 2
    stamps = [one for one in recipe.place.stamp if three or one["file"] not in THREE_NUMBERS]
    if stamps:
        also = _repeated(survey, recipe)
        more = f"  # {_readable(', '.join(also))} says it, too" if also else ""
        lines.append(f"stamp = [{', '.join(map(inline, stamps))}]{more}")
    return [*lines, *RESERVES]


def _repeated(survey: Survey, recipe: Recipe) -> list[str]:
    """Further files at the top with a line that calls the same text a version. What changed and what
    was locked is history, and words for people are theirs."""
    if not recipe.place.said:
        return []
    text = re.escape(recipe.place.said[0].text)
    line = re.compile(
        rf"version\w*[\"']?[ \t]*(?:[:=(,]+[ \t]*|[ \t])[\"']?v?{text}(?![\w.])", re.IGNORECASE
    )
    stamped = {str(one["file"]) for one in recipe.place.stamp}
    return [
        name
        for name in survey.below("*")
        if "/" not in name and name not in stamped
        if not re.search(r"(?i)change|history|news|lock|shrinkwrap|\.(md|rst|txt)$|^cx\.", name)
        if line.search(survey.text(name))
    ][:3]


def _reason(known: Standing, start: Start) -> str:
    """What the start follows, and what says otherwise."""
    first = known.chosen
    points = [one for one in (known.tag, known.tree) if one is not None]
    if start == known.other and len(points) == 2:
        first = min(points, key=lambda one: one.key)
    rest = [one for one in points if one is not first]
    words = (
        f"{_shown(first)} is {'announced' if first.early else 'the last before'}" if first else ""
    )
    if known.other:
        words += "".join(f"; {_shown(one)}" for one in rest)
    passed = first is not None and start.first > first.release[-1] + 1
    return f"{words}; {start.line}.{start.first - 1} is another's tag" if passed else words


def _shown(one: Point) -> str:
    said = one.by if one.by.endswith(one.text) else f"{one.text} ({one.by})"
    return _readable(said)


def _scm(survey: Survey) -> list[str]:
    """Only where the default would not do: ``origin``, or the only remote."""
    if len(survey.remotes) < 2:
        return []
    names = ", ".join(quoted(name) for name in survey.remotes)
    return ["[scm]", f"remotes = [{names}]  # a commit must be on one of them"]


def _stages(recipe: Recipe, packages: list[str], by: str) -> list[str]:
    lines = [f"# {_readable(note)}" for note in (*recipe.notes, recipe.place.note) if note]
    if packages:
        lines.append(f"# {_readable(by)} installs from the system: {' '.join(packages)}")
    lines += ["[stages]", *(f"{name} = {inline(one)}" for name, one in recipe.stages.items())]
    if not recipe.tests:
        lines += [line.format(last=list(recipe.stages)[-1]) for line in UNTESTED]
    return lines


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
