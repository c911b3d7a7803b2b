"""What a member may do: which deliverables it may take numbers of, push and read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxlocal.errors import UsageError
from cxlocal.values import NamedTuple

ALL = "*"
NAMES_MAX = 1000
"""Deliverables named in one right: more is a mistake, or an attack on the members' file."""


class Rights(NamedTuple):
    """None stands for every deliverable."""

    take: frozenset[str] | None = None
    push: frozenset[str] | None = None
    read: frozenset[str] | None = None
    manage: bool = False
    """May invite and revoke members, and recover the store."""

    def as_json(self) -> dict[str, Any]:
        """As they are stored and travel."""
        return {
            **{kind: [ALL] if names is None else sorted(names) for kind, names in self.lists()},
            "manage": self.manage,
        }

    def lists(self) -> tuple[tuple[str, frozenset[str] | None], ...]:
        """Each right by its name."""
        return (("take", self.take), ("push", self.push), ("read", self.read))

    @property
    def unlimited(self) -> bool:
        """Whether messages need no look inside but for ``manage``."""
        return self.take is None and self.push is None and self.read is None


def rights_from_json(shape: object) -> Rights:
    """Rights as they are stored and travel; what is not named is not allowed.

    Raises UsageError for another shape.
    """
    if not isinstance(shape, Mapping):
        raise _malformed("they are not an object")
    unknown = sorted(set(map(str, shape)) - {"take", "push", "read", "manage"})
    if unknown:
        raise _malformed(f"nobody knows the right {unknown[0]!r}")
    manage = shape.get("manage", False)
    if not isinstance(manage, bool):
        raise _malformed("manage is true or false")
    take, push, read = (_names(shape.get(kind, [])) for kind in ("take", "push", "read"))
    return Rights(take, push, read, manage)


def _names(value: object) -> frozenset[str] | None:
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise _malformed("a right is a list of deliverables")
    if len(value) > NAMES_MAX:
        raise _malformed(f"a right names {len(value)} deliverables, {NAMES_MAX} at most")
    return None if ALL in value else frozenset(value)


def how_to_ask(member: str, rights: Rights, deliverable: str, *kinds: str) -> str:
    """What to do about rights of ``kinds`` (``take``, ``push``, ``read``) that ``member`` lacks.

    What is named replaces what was, so the command names those it has, too. Who shall take numbers and push
    history of a deliverable reads it, too: its machine would know its own releases alone.
    """
    import shlex

    if {"take", "push"} <= set(kinds):
        kinds = (*kinds, "read")
    take, push, read = (
        names if names is None or kind not in kinds else names | {deliverable}
        for kind, names in rights.lists()
    )
    wanted = Rights(take, push, read, rights.manage)
    grant = shlex.join(("cxlocal", "store", "grant", member, *_as_options(wanted)))
    return f"on a machine that may invite: {grant}; then here: cxlocal sync"


def _as_options(rights: Rights) -> list[str]:
    """The options of ``cxlocal store grant`` that give these rights."""
    named = [names for _, names in rights.lists() if names is not None]
    both = frozenset[str]()
    if len(named) == len(rights.lists()):
        both = frozenset.intersection(*named)
    options = [word for name in sorted(both) for word in ("--deliverable", name)]
    if not named:
        options += ["--deliverable", ALL]
    else:
        for kind, names in rights.lists():
            left = [ALL] if names is None else sorted(names - both)
            options += [word for name in left for word in (f"--{kind}", name)]
    return [*options, "--manage"] if rights.manage else options


def words_of(rights: Rights) -> str:
    """Rights as one reads them: ``shop: take push read; engine: read; manage``."""
    named = [names for _, names in rights.lists() if names is not None]
    wanted = sorted(frozenset[str]().union(*named))
    if len(named) < len(rights.lists()):
        wanted = [ALL, *wanted]
    said = []
    for each in wanted:
        kinds = [
            kind
            for kind, names in rights.lists()
            if (names is None if each == ALL else names is not None and each in names)
        ]
        said.append(f"{'everything' if each == ALL else each}: {' '.join(kinds)}")
    return "; ".join([*said, *(["manage"] if rights.manage else [])]) or "nothing"


def may(names: frozenset[str] | None, deliverable: str) -> bool:
    """Whether a right covers a deliverable."""
    return names is None or deliverable in names


def _malformed(why: str) -> UsageError:
    return UsageError(
        "the rights cannot be read",
        why=why,
        hint="cxlocal store invite NAME --take shop --push shop --read '*'",
        name="bad-rights",
    )
