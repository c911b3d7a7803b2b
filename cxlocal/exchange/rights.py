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

    A code replaces the rights of a member that is enrolled, so the command names those it has, too.
    """
    import shlex

    take, push, read = (
        names if names is None or kind not in kinds else names | {deliverable}
        for kind, names in rights.lists()
    )
    wanted = Rights(take, push, read, rights.manage)
    invite = shlex.join(("cxlocal", "store", "invite", member, *_as_options(wanted)))
    return f"on a machine that may invite: {invite}; then here: cxlocal store join URL --code CODE"


def _as_options(rights: Rights) -> list[str]:
    """The options of ``cxlocal store invite`` that give these rights; none where they are all."""
    named = [names for _, names in rights.lists() if names is not None]
    both = frozenset[str]()
    if len(named) == len(rights.lists()):
        both = frozenset.intersection(*named)
    options = [word for name in sorted(both) for word in ("--deliverable", name)]
    if named:
        for kind, names in rights.lists():
            left = [ALL] if names is None else sorted(names - both)
            options += [word for name in left for word in (f"--{kind}", name)]
    return [*options, "--manage"] if rights.manage else options


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
