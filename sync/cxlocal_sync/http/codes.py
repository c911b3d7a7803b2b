"""Names of members, one-time codes, and what is kept of secrets. Pure but for chance."""

from __future__ import annotations

from hashlib import sha256

from cxlocal.clock import Ids
from cxlocal.errors import Refused, UsageError

NAME_MAX = 64
FIRST_MEMBER = "admin"
"""Who uses the first code and says no name."""
NAME_WANTED = "name-wanted"
"""Name of the refusal of a code that needs a name beside it."""


def check_name(name: str) -> str:
    """``name``, if a member can be called so. Raises UsageError."""
    if not name or len(name) > NAME_MAX or not name.isprintable() or name != name.strip():
        raise UsageError(
            "a member needs a name",
            why=f"1 to {NAME_MAX} printable characters",
            hint="cxlocal store invite build-server",
            name="bad-member-name",
        )
    return name


def no_such_member(name: str) -> Refused:
    """The refusal where nobody has that name."""
    return Refused(
        f"no member is called {name!r}",
        why="nobody was invited or enrolled under that name",
        hint="cxlocal store members   lists them",
        name="no-such-member",
    )


_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's: none is taken for another."""


def draw_code(ids: Ids) -> str:
    """A code of 80 random bits, in four groups of four letters."""
    number = int(ids.token()[:20], 16)
    letters = "".join(_LETTERS[number >> shift & 31] for shift in range(75, -1, -5))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))


def plain(code: str) -> str:
    """A code as it is compared: people type small letters, and O for 0."""
    letters = code.upper().replace("-", "").replace(" ", "")
    return letters.replace("O", "0").replace("I", "1").replace("L", "1")


def digest(secret: str) -> str:
    """What is kept of a token or a code. Both are drawn at random, so a plain hash will do."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
