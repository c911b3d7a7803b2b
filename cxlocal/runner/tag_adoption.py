"""Adopting versions from tags: counting goes on above what was released before cxlocal came.

An adopted line is a span of numbers that will never be used, from its beginning to the highest tag,
with the tags as the reason. It is an event like any other, so every machine that shares the store
counts above it, and ``cxlocal version explain`` says why.
"""

from __future__ import annotations

from collections.abc import Iterable

from cxlocal.events.machines import version_skipped
from cxlocal.exchange.standing import require
from cxlocal.journal.file import Journal
from cxlocal.numbers import holdings
from cxlocal.numbers.schemes import Scheme, lines_in_tags
from cxlocal.runner.run_version import adopted
from cxlocal.text import shorten
from cxlocal.values import NamedTuple

WHY_CHARACTERS_MAX = 200


class Adopted(NamedTuple):
    """One line and what its tags say."""

    line: str
    up_to: int
    """The highest number that has a tag."""
    tags: int
    newest: str
    """The tag of that number."""
    state: str
    """adopted now; known (adopted before); counted (here already); above (counted here already,
    and the tag lies above what was handed out)."""


def adopt(
    journal: Journal,
    scheme: Scheme,
    deliverable: str,
    line: str,
    tags: Iterable[str],
    *,
    part: bool = False,
) -> list[Adopted]:
    """Record what ``tags`` speak of, in one transaction; every line they speak of, in order.

    ``line`` is that of cx.toml; ``part``: the deliverable is a folder of its repository.
    """
    require(journal, deliverable, "push")
    found = lines_in_tags(scheme, deliverable, line, tags, part=part)
    rows = []
    with journal.write() as transaction:
        for name, numbers in sorted(found.items()):
            highest = max(numbers)
            state = _state(journal, deliverable, name, highest)
            rows.append(Adopted(name, highest, len(numbers), numbers[highest], state))
            if state == "adopted":
                transaction.append(
                    version_skipped(
                        deliverable=deliverable, line=name, lo=0, hi=highest,
                        why=_why(numbers),
                    )
                )  # fmt: skip
    return rows


def _state(journal: Journal, deliverable: str, line: str, highest: int) -> str:
    counted = holdings.highest_known(journal.connection, deliverable, line)
    if counted >= 0:
        return "above" if highest > counted else "counted"
    return "known" if adopted(journal, deliverable, line) > highest else "adopted"


def _why(numbers: dict[int, str]) -> str:
    names = [numbers[number] for number in sorted(numbers)]
    shown = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
    text = f"released before this line was counted here: the repository has the tags {shown}"
    return shorten(text, WHY_CHARACTERS_MAX)
