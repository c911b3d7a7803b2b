"""The section of a version, written into a changelog in the form that the file has. Pure."""

from __future__ import annotations

import re

from cxlocal.notes import changelog

_NEW = "# Changelog\n"


def with_entry(text: str, version: str, day: str, words: str) -> str:
    """``text`` with a section of ``version``: what stood under *Unreleased* becomes it, else ``words``.
    A file that has one stays as it is. ``day``: of the release, ``2026-11-30``."""
    if changelog.has(text, version):
        return text
    lines = (text or _NEW).replace("\r\n", "\n").rstrip("\n").split("\n")
    found = changelog.headings_of(lines)
    opened = next((one for one in found if changelog.is_open(one.title)), None)
    former = next((one for one in found if changelog.version_at(one.title)), None)
    heading = _heading(lines, former or opened, version, day)
    if opened is not None and changelog.open_section(text):
        place, body = opened.below, []
    else:
        body = ["", *words.rstrip("\n").split("\n")]
        place = former.line if former is not None else len(lines)
    before, after = lines[:place], lines[place:]
    while before and not before[-1].strip():
        before.pop()
    while after and not after[0].strip():
        after.pop(0)
    parts = [*before, "", *heading, *body, "", *after]
    end = "\r\n" if "\r\n" in text else "\n"
    return end.join(parts).rstrip() + end


def _heading(lines: list[str], like: changelog.Heading | None, version: str, day: str) -> list[str]:
    """As the heading of the version before: its marks, its brackets, its way to write the day."""
    if like is None:
        return [f"## {version} - {day}"]
    bracket = f"[{version}]" if re.match(r"\[", like.title.strip()) else version
    bracket = f"v{bracket}" if re.match(r"v\d", like.title.strip()) else bracket
    form = "{} ({})" if "(" in like.title else "{} / {}" if " / " in like.title else "{} - {}"
    title = form.format(bracket, day)
    words = lines[like.line]
    if like.below == like.line + 1 and words.lstrip().startswith("#"):
        return [f"{'#' * like.level} {title}"]
    if like.below > like.line + 1:
        mark = lines[like.below - 1].strip()[0]
        return [title, mark * len(title)]
    return [f"## {title}"] if words.startswith("#") else [title]
