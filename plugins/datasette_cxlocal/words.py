"""Words for people: texts of others made harmless to read, times, states. Pure."""

from __future__ import annotations

import unicodedata
from contextvars import ContextVar
from datetime import UTC, date, datetime, tzinfo

from markupsafe import Markup

from cxlocal.projection.asked import DECISION_WORDS
from cxlocal.text import duration_text, shorten
from cxlocal.values import NamedTuple

SHOWN_CHARACTERS = 120
"""Longer values are cut; the whole of it stands in the title, at most ``TITLE_CHARACTERS``."""
TITLE_CHARACTERS = 2000
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
# Separators of lines and paragraphs, control and format characters (bidi among them), halves of pairs,
# and what no table knows.
_ODD = {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}


def plain(text: object, keep: str = "") -> str:
    """``text`` with characters that are not seen, or turn others around, written out; ``keep`` are
    some that stay."""
    return "".join(
        char if char in keep or unicodedata.category(char) not in _ODD else _written(char)
        for char in str(text)
    )


def _written(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def shown(text: object, limit: int = SHOWN_CHARACTERS) -> Markup:
    """A text of somebody else, as HTML: cut where it is long, apart from what stands beside it."""
    if text is None or text == "":
        return Markup("")
    whole = plain(text)
    if len(whole) <= limit:
        return Markup("<bdi>{}</bdi>").format(whole)
    cut, title = shorten(whole, limit), shorten(whole, TITLE_CHARACTERS)
    return Markup('<bdi title="{}">{}</bdi>').format(title, cut)


def brief(text: object, limit: int = 80) -> str:
    """A text of somebody else inside a sentence of ours."""
    return shorten(plain("" if text is None else text), limit)


def person(actor: object) -> str:
    """Somebody without the address behind the name."""
    name, mark, _ = str(actor or "").partition(" <")
    return brief(name if mark and name.strip() else actor, 60)


class State(NamedTuple):
    """How a state is told: a word, a shape, and the colour of its kind (never the colour alone)."""

    word: str
    shape: str
    kind: str


STATES = {
    "success": State("went well", "✓", "good"),
    "failure": State("failed", "✗", "bad"),
    "error": State("broke", "!", "bad"),
    "cancel": State("was stopped", "⊘", "off"),
    "open": State("is under way", "…", "wait"),
    "running": State("is under way", "…", "wait"),
    "not yet seen": State("has not been heard of yet", "…", "wait"),
    "not yet": State("not yet", "○", "none"),
    "not reached": State("not reached", "○", "none"),
    "not asked for": State("not asked for", "○", "none"),
    "not run": State("did not run", "○", "none"),
    "granted": State(DECISION_WORDS["granted"], "✓", "good"),
    "allow": State("allowed", "✓", "good"),
    "denied": State(DECISION_WORDS["denied"], "✗", "bad"),
    "deny": State("refused", "✗", "bad"),
    "undecided": State(DECISION_WORDS["undecided"], "?", "wait"),
    "overridden": State(DECISION_WORDS["overridden"], "⚑", "wait"),
    "deployed": State("first time there", "✓", "good"),
    "upgraded": State("took over", "✓", "good"),
    "rolledback": State("rolled back", "↩", "wait"),
    "failed": State("failed", "✗", "bad"),
    "cancelled": State("was stopped", "⊘", "off"),
    "cut off": State("was cut off", "✗", "bad"),
    "refused": State("was refused", "⊘", "off"),
    "in use, confirmed": State("live", "●", "good"),
    "no number": State("live", "●", "good"),
    "in use, not yet confirmed": State("live, not yet confirmed by the store", "◐", "wait"),
    "disputed": State("disputed: two versions claim this place", "⚠", "bad"),
    "conflicted": State("its number belongs to another run, too", "⚠", "bad"),
    "partly": State("services differ", "⚠", "bad"),
    "nothing live": State("nothing is live", "✗", "bad"),
}


def state_of(value: object) -> State:
    """The state of that name; itself where none of ours is meant."""
    text = plain(value or "")
    return STATES.get(text, State(text, "", "plain"))


def state_mark(value: object, word: str = "") -> Markup:
    """A state as shape and word."""
    state = state_of(value)
    return state_text(state._replace(word=word or state.word))


def state_text(state: State) -> Markup:
    """A state of ours as shape and word."""
    mark = Markup('<span aria-hidden="true">{}</span> ').format(state.shape) if state.shape else ""
    return Markup('<span class="cx-state cx-{}">{}{}</span>').format(state.kind, mark, state.word)


ZONE: ContextVar[tzinfo | None] = ContextVar("ZONE", default=None)
"""Of the times on the page that is being made; None for that of this machine."""

ABSOLUTE: ContextVar[bool] = ContextVar("ABSOLUTE", default=False)
"""Whether times stand without how long ago that is: on what is read later than it was made."""


def local(value: object) -> datetime | None:
    """A UTC text of the journal in the zone of the page; None for what is no time."""
    try:
        return datetime.fromisoformat(str(value)).astimezone(ZONE.get())
    except (ValueError, OverflowError, OSError):
        return None


def today(now_ms: int) -> date:
    """The day it is in the zone of the page."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(ZONE.get()).date()


def there(at: datetime) -> datetime:
    """A time on the clocks of the zone of the page, with that zone."""
    zone = ZONE.get()
    return at.astimezone() if zone is None else at.replace(tzinfo=zone)


def utc_of(at: datetime) -> str:
    """The same as the journal writes it."""
    return f"{there(at).astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z"


def moment_text(value: object) -> str:
    """``Mon 23 Nov 2026 08:13``; what is no time as it is."""
    at = local(value)
    if at is None:
        return plain(value or "")
    day = f"{_DAYS[at.weekday()]} {at.day} {_MONTHS[at.month - 1]} {at.year:04}"
    return f"{day} {at.hour:02}:{at.minute:02}"


def short_text(value: object) -> str:
    """``23 Nov 08:13``, where there is little room and the year stands beside it; what is no time as it is."""
    at = local(value)
    if at is None:
        return plain(value or "")
    return f"{at.day} {_MONTHS[at.month - 1]} {at.hour:02}:{at.minute:02}"


def day_text(day: date) -> str:
    """``Mon 23 Nov``."""
    return f"{_DAYS[day.weekday()]} {day.day} {_MONTHS[day.month - 1]}"


def month_text(day: date) -> str:
    """``Nov 2026``."""
    return f"{_MONTHS[day.month - 1]} {day.year}"


def moment(value: object, now_ms: int) -> Markup:
    """A time: in the zone of this machine, how long ago, UTC in the title."""
    at = local(value)
    if at is None:
        return shown(value)
    given = plain(value), f"{plain(value)} (UTC)", moment_text(value)
    if ABSOLUTE.get():
        return Markup('<time datetime="{}" title="{}">{}</time>').format(*given)
    return Markup('<time datetime="{}" title="{}">{} <span class="cx-ago">{}</span></time>').format(
        *given, ago(at, now_ms)
    )


def clock_time(value: object) -> Markup:
    """The time alone, beside a day that is named; the whole of it and UTC in the title."""
    at = local(value)
    if at is None:
        return shown(value)
    return Markup('<time datetime="{}" title="{}; {} (UTC)">{:02}:{:02}</time>').format(
        plain(value), moment_text(value), plain(value), at.hour, at.minute
    )


def age(value: object, now_ms: int) -> str:
    """How long something has been so, or since when, where that is read later; empty where it is not known."""
    at = local(value)
    if at is None:
        return ""
    if ABSOLUTE.get():
        return f"since {moment_text(value)}"
    return coarse(max(now_ms / 1000 - at.timestamp(), 0))


def ago(at: datetime, now_ms: int) -> str:
    """How long before (or after) now."""
    seconds = now_ms / 1000 - at.timestamp()
    if abs(seconds) < 60:
        return "just now"
    text = coarse(abs(seconds))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def coarse(seconds: float) -> str:
    """A duration in its greatest unit: ``3 min``, ``6 days``."""
    for size, one, many in ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {one if count == 1 else many}"
    return duration_text(seconds)


def zone_text(now_ms: int) -> str:
    """The zone of the times on a page, such as ``+0545 (UTC+05:45)`` or ``Europe/Berlin (UTC+01:00)``."""
    zone = ZONE.get()
    at = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
    offset = f"{at:%z}"
    name = getattr(zone, "key", "") or at.tzname() or ""
    utc = f"UTC{offset[:3]}:{offset[3:5]}" if at.utcoffset() else "UTC"
    plain_name = name.lstrip("+-").isdecimal() or name.startswith("UTC")
    return utc if not name or plain_name else f"{name} ({utc})"


def listed(words: list[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return (
        words[0]
        if len(words) == 1
        else ", ".join(words[:-1]) + " and " + words[-1]
        if words
        else ""
    )
