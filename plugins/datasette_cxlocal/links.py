"""Where pages lead out: addresses made of the templates of a deliverable. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from markupsafe import Markup

from cxlocal.address import TICKET, ticket_link, web_link
from datasette_cxlocal.words import SHOWN_CHARACTERS, plain, shown


def links_of(text: object) -> dict[str, object]:
    """The templates of a deliverable, as a run has them; none where that is nothing of the kind."""
    try:
        found = json.loads(str(text or "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def outward(links: Mapping[str, object], kind: str, **given: object) -> str:
    """The address for a kind of link; empty without a template, or where it needs what is not known."""
    known = {name: None if value is None else str(value) for name, value in given.items()}
    return web_link(links.get(kind), known)


def commit_subject(text: object, links: Mapping[str, object]) -> Markup:
    """The first line of a commit message, its tickets as links."""
    whole = plain(text or "")
    if not links.get("ticket") or len(whole) > SHOWN_CHARACTERS:
        return shown(whole)
    parts, at = [], 0
    for found in TICKET.finditer(whole):
        address = ticket_link(links["ticket"], found[0])
        if address:
            parts += [
                Markup("{}").format(whole[at : found.start()]),
                Markup('<a href="{}" rel="noopener noreferrer">{}</a>').format(address, found[0]),
            ]
            at = found.end()
    return Markup("<bdi>{}{}</bdi>").format(Markup("").join(parts), whole[at:])
