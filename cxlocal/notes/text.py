"""Notes as a text: Markdown for pages, and the same for plain readers. Pure.

What commits say is foreign text: it stands there as it was written and is never markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cxlocal.address import TICKET, ticket_link, web_link
from cxlocal.notes.commits import Told, Written, grouped, tell
from cxlocal.patterns import compile_late
from cxlocal.text import counted, harmless, shorten
from cxlocal.values import NamedTuple

CHARACTERS_MAX = 100_000
"""Of a text: a release at GitHub takes 125,000 characters, and other targets more."""
SUBJECT_CHARACTERS_MAX = 500
FIRST_LISTED_MAX = 200
"""Commits of a first release that are listed; of more, one sentence says how many there are."""

_MARKUP = compile_late(r"[\\`*\[\]~|$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ENTITY = compile_late(r"&(?=#?\w+;)")
_BEGINNING = compile_late(r"(?P<mark>[#+=>:-]+)|(?P<number>\d{1,9})(?P<point>[.)])(?=\s|$)")
_MENTION = compile_late(r"@(?=[\w-])")


class Since(NamedTuple):
    """What notes begin after."""

    version: str
    run: str
    commit: str
    place: str = ""
    """The environment it is live in; empty where it is what was released before."""


class Notes(NamedTuple):
    """What a version brings, as far as it is known here."""

    deliverable: str
    version: str
    """Empty for what is not released yet."""
    run: str
    commit: str
    since: Since | None
    """None for a first release."""
    commits: Sequence[Written]
    """The newest first."""
    total: int | None
    """How many there are; None where nobody here can tell."""
    note: str = ""
    """What a reader must know about the list."""
    changelog: str = ""
    """The words of the project's own changelog."""
    links: Mapping[str, str] = {}
    """Kind to template of an address."""

    @property
    def range(self) -> str:
        """The commits as git names them: ``4f2a91c..7b30de2``."""
        before = "" if self.since is None else f"{self.since.commit[:12]}.."
        return f"{before}{self.commit[:12]}"


def markdown(notes: Notes) -> str:
    """The notes in Markdown; never empty."""
    return _text(notes, _Markdown(notes.links))


def plain(notes: Notes) -> str:
    """The same for readers of plain text, such as the message of a tag."""
    return _text(notes, _Plain(notes.links))


def document(notes: Notes) -> dict[str, Any]:
    """The notes for a program, with the Markdown as ``text``."""
    listed = []
    for written in notes.commits:
        told = tell(written)
        tickets = dict.fromkeys(TICKET.findall(f"{written.subject}\n{written.body}"))
        listed.append(
            {
                "commit": written.commit,
                "subject": written.subject,
                "author": written.author,
                "committed_at": written.committed_at,
                "group": told.group,
                "scope": told.scope,
                "words": told.words,
                "breaks": told.breaks,
                "address": web_link(notes.links.get("commit"), {"commit": written.commit}),
                "tickets": [
                    {"ticket": one, "address": ticket_link(notes.links.get("ticket"), one)}
                    for one in tickets
                ],
            }
        )
    return {
        "deliverable": notes.deliverable,
        "version": notes.version or None,
        "run": notes.run or None,
        "commit": notes.commit,
        "since": None if notes.since is None else notes.since._asdict(),
        "range": notes.range,
        "total": notes.total,
        "more": None if notes.total is None else max(notes.total - len(listed), 0),
        "note": notes.note,
        "changelog": notes.changelog,
        "commits": listed,
        "text": markdown(notes),
    }


class _Plain:
    """Words as they are."""

    def __init__(self, links: Mapping[str, str]) -> None:
        self.links = links

    def heading(self, words: str) -> str:
        return f"{words}:"

    def words(self, text: str) -> str:
        return harmless(" ".join(shorten(text, SUBJECT_CHARACTERS_MAX).split()))

    def strong(self, text: str) -> str:
        return text

    def code(self, text: str) -> str:
        return text

    def commit(self, commit: str) -> str:
        return commit[:12]


class _Markdown(_Plain):
    """Words so that no reader of Markdown takes them for anything else."""

    def heading(self, words: str) -> str:
        return f"### {words}"

    def words(self, text: str) -> str:
        whole, parts, at = super().words(text), [], 0
        for found in TICKET.finditer(whole) if self.links.get("ticket") else ():
            address = ticket_link(self.links["ticket"], found[0])
            if address:
                parts += [_escaped(whole[at : found.start()]), _link(_escaped(found[0]), address)]
                at = found.end()
        text = "".join(parts) + _escaped(whole[at:])
        # Behind a dash a line begins anew: what begins a list, a heading or a quotation is none.
        return _BEGINNING.sub(_not_beginning, text, count=1) if _BEGINNING.match(text) else text

    def strong(self, text: str) -> str:
        return f"**{text}**"

    def code(self, text: str) -> str:
        return f"`{text}`"

    def commit(self, commit: str) -> str:
        address = web_link(self.links.get("commit"), {"commit": commit})
        return _link(commit[:7], address) if address else f"`{commit[:7]}`"


def _escaped(text: str) -> str:
    text = _ENTITY.sub("&amp;", text)
    text = _MARKUP.sub(lambda found: "\\" + found[0], text).replace("<", "&lt;")
    # Nobody is called by what somebody wrote to others.
    return _MENTION.sub("@&#8203;", text)


def _not_beginning(found: re.Match[str]) -> str:
    if found["mark"]:
        return "".join(f"\\{character}" for character in found["mark"])
    return f"{found['number']}\\{found['point']}"


def _link(words: str, address: str) -> str:
    safe = address.replace("(", "%28").replace(")", "%29")
    return f"[{words}]({safe})"


def _text(notes: Notes, form: _Plain) -> str:
    if notes.changelog:
        parts = [_cut(notes.changelog), "", _summary(notes, form)]
        return "\n".join(parts if notes.commits or notes.total else parts[:1]).rstrip() + "\n"
    if notes.since is None and (notes.total or 0) > FIRST_LISTED_MAX:
        return _summary(notes, form) + "\n"
    lines = list(_listed(notes, form))
    return (
        "\n".join([*lines, "", _summary(notes, form)] if lines else [_summary(notes, form)]) + "\n"
    )


def _cut(text: str) -> str:
    return text if len(text) <= CHARACTERS_MAX else text[: CHARACTERS_MAX - 1].rstrip() + "…"


def _listed(notes: Notes, form: _Plain) -> Iterator[str]:
    """The commits under their headings, and how many more there are."""
    shown, used, size = 0, False, 0
    merges = sum(not tell(one).group for one in notes.commits)
    groups = grouped(notes.commits)
    only_merges = bool(groups) and not groups[0][1][0].group
    for heading, ones in groups:
        if heading:
            yield from ([""] if used else []) + [form.heading(heading), ""]
        for told in ones:
            item = _item(told, form)
            size += len(item)
            if size > CHARACTERS_MAX:
                break
            yield item
            shown, used = shown + 1, True
    total = len(notes.commits) if notes.total is None else notes.total
    more = total - shown - (0 if only_merges else merges)
    if shown and more > 0:
        yield from ("", f"and {more} more ({form.code(notes.range)})")


def _item(told: Told, form: _Plain) -> str:
    scope = f"{form.strong(form.words(told.scope))}: " if told.scope else ""
    item = f"- {scope}{form.words(told.words)} ({form.commit(told.written.commit)})"
    if told.breaks and told.breaks != told.words:
        item += f"\n  {form.words(told.breaks)}"
    return item


def _summary(notes: Notes, form: _Plain) -> str:
    """One sentence: how many commits, since what, and what must be known about them."""
    since, total = notes.since, notes.total
    if since is None:
        count = f", with {counted(total, 'commit')}" if total else ""
        words = f"The first release{count}"
    else:
        name = form.words(since.version or since.run[:8])
        if since.place:
            name += f", which is live in {form.words(since.place)}"
        count = "Commits" if total is None else counted(total, "commit") if total else "No commits"
        words = f"{count} since {name}"
    span = f" ({form.code(notes.range)})" if total != 0 and notes.commit else ""
    note = f"; {form.words(notes.note)}" if notes.note else ""
    return f"{words}{span}{note}."
