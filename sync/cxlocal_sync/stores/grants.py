"""Handing out numbers: the rules of ``cxlocal.numbers.log``, applied within one transaction."""

from __future__ import annotations

from typing import Any

from cxlocal.errors import CxError
from cxlocal.events.types import VERSION_USED
from cxlocal.exchange.messages import (
    RUN_HAS_NUMBER,
    STORE_LEFT,
    BadMessage,
    entry_out,
    refusal,
    text_of,
    whole_of,
)
from cxlocal.numbers import log
from cxlocal.numbers.schemes import NUMBER_MAX
from cxlocal_sync.stores.feed import Feed, StoreRow
from cxlocal_sync.stores.session import Session

RECOVER = "cxlocal store recover"


class NoGrant(CxError):
    """A request for numbers that is refused; the rest of its message stands."""

    default_name = "no-grant"


class Granter:
    """The grant logs of one store, within one transaction."""

    def __init__(self, session: Session, store: StoreRow, feed: Feed) -> None:
        self.session = session
        self.store = store
        self.feed = feed

    def state(self, deliverable: str, line: str) -> log.LogState:
        """What the log of a line amounts to."""
        row = self.session.execute(
            "SELECT online, high, k, hash FROM cursor WHERE deliverable = ? AND line = ?",
            (deliverable, line),
        ).fetchone()
        if row is None:
            return log.EMPTY
        held = self.session.execute(
            "SELECT lo, hi, node, k FROM grant_entry WHERE deliverable = ? AND line = ?"
            " AND hi > ? AND kind = 'reserve' ORDER BY lo",
            (deliverable, line, row[0]),
        )
        return log.LogState(row[0], row[1], tuple(log.Held(*each) for each in held), row[2], row[3])

    def append(
        self, deliverable: str, line: str, state: log.LogState, kind: str, lo: int, hi: int, *,
        node: str, run: str = "", nonce: str = "", why: str = "",
    ) -> tuple[log.Entry, log.LogState]:  # fmt: skip
        """Write the next entry of a log. Raises LogBroken for one that breaks a rule."""
        entry = log.make_entry(
            state, (self.store.lineage, deliverable, line), kind, lo, hi,
            node=node, run=run, nonce=nonce, generation=self.store.generation, why=why,
        )  # fmt: skip
        return entry, self.keep(deliverable, line, state, entry)

    def keep(
        self, deliverable: str, line: str, state: log.LogState, entry: log.Entry
    ) -> log.LogState:
        """Append a finished entry to its log and to the feed. Raises LogBroken."""
        after = log.apply(state, entry)
        ((position, running),) = self.feed.steps([bytes.fromhex(entry.hash)])
        # sql: marks only
        marks = ", ".join("?" * 15)
        self.session.execute(
            f"INSERT INTO grant_entry VALUES ({marks})",
            (position, deliverable, line, *entry, running),
        )
        self.session.execute(
            "INSERT INTO cursor VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (deliverable, line) DO UPDATE SET"
            " online = excluded.online, high = excluded.high, k = excluded.k, hash = excluded.hash",
            (deliverable, line, after.online, after.high, after.k, after.hash),
        )
        return after

    def granted(self, deliverable: str, line: str, number: int) -> bool:
        """Whether an online or reserve entry covers ``number``."""
        row = self.session.execute(
            "SELECT 1 FROM grant_entry WHERE deliverable = ? AND line = ? AND hi >= ? AND lo <= ?"
            " AND kind != 'raise' LIMIT 1",
            (deliverable, line, number, number),
        ).fetchone()
        return row is not None

    def adopted(self, deliverable: str, line: str, number: int, lineage: str) -> bool:
        """Whether ``number`` was counted by a store of that lineage, which was adopted."""
        row = self.session.execute(
            "SELECT 1 FROM grant_entry WHERE deliverable = ? AND line = ? AND hi >= ?"
            " AND kind = 'raise' AND run = ? AND run <> '' LIMIT 1",
            (deliverable, line, number, lineage),
        ).fetchone()
        return row is not None

    def raise_to(self, deliverable: str, line: str, number: int, *, node: str, why: str) -> None:
        """Lift the online cursor of a line to ``number``, if it is below."""
        state = self.state(deliverable, line)
        span = log.raise_range(state, number)
        if span is not None:
            self.append(deliverable, line, state, log.RAISE, *span, node=node, why=why)

    def stop(
        self, deliverable: str, cause: str, why: str, line: str = "", number: int = -1
    ) -> None:
        """Hand out no more numbers of ``deliverable`` (empty: of any) until recovered."""
        self.session.execute(
            "INSERT INTO stop VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (deliverable, cause, why, line, number),
        )

    def stopped(self, deliverable: str) -> tuple[str, str] | None:
        """(cause, why) when no numbers of ``deliverable`` are handed out."""
        row: tuple[str, str] | None = self.session.execute(
            "SELECT cause, why FROM stop WHERE deliverable IN ('', ?)"
            " ORDER BY deliverable, cause LIMIT 1",
            (deliverable,),
        ).fetchone()
        return row

    def saw_in_use(
        self, deliverable: str, line: str, number: int, *, node: str, lineage: str, older: bool
    ) -> bool:
        """Take note of a number that an event or a request says is in use.

        A number we granted lifts the cursor. One we did not never moves it: it stops grants and
        stays as evidence. ``lineage`` granted it, as far as the event says; ``older``: in a
        generation before the last recovery, whose grants may be lost to us. Such a number is
        expected as long as it lies below where the recovery continued, and one of a store that was
        adopted as long as it lies below where that ended. Returns whether all is well.
        """
        ours = lineage == self.store.lineage
        if ours and self.granted(deliverable, line, number):
            why = f"number {number} is in use; it was taken while the store could not be reached"
            self.raise_to(deliverable, line, number, node=node, why=why)
            return True
        if ours and older and number <= self.state(deliverable, line).online:
            return True
        if not ours and self.adopted(deliverable, line, number, lineage):
            return True
        self.stop(
            deliverable, "unknown-number",
            f"number {number} of line {line!r} is in use, and this store never granted it",
            line, number,
        )  # fmt: skip
        return False

    def answer(self, wish: dict[str, Any], node: str) -> dict[str, Any]:
        """The answer to one wish (of ``read_wish``): an entry, nothing due, or a refusal."""
        try:
            entry = self._grant(wish, node)
        except NoGrant as error:
            no = refusal(error.name, f"{error.what}: {error.why}", error.hint, **error.data)
            return {"nonce": wish["nonce"], "entry": None, "refusal": no}
        shown = entry and entry_out(wish["deliverable"], wish["line"], entry)
        return {"nonce": wish["nonce"], "entry": shown, "refusal": None}

    def _grant(self, wish: dict[str, Any], node: str) -> log.Entry | None:
        deliverable, line = wish["deliverable"], wish["line"]
        repeated = self._by_nonce(wish, node)
        if repeated is not None:
            return repeated
        self._check_run(wish, node)
        state = self._floor(wish, node)
        above = wish["above"]
        if above > state.online:
            self.saw_in_use(
                deliverable, line, above, node=node, lineage=self.store.lineage, older=False
            )
        self._check_stop(deliverable)
        state = self.state(deliverable, line)
        if wish["kind"] == log.ONLINE:
            lo = hi = log.next_online(state)
        elif log.exchange_due(state, wish["held"], wish["ahead"]):
            lo, hi = log.place_reserve(state, wish["size"], wish["ahead"])
        else:
            return None
        if hi > NUMBER_MAX:
            raise NoGrant(
                "no number is left on this line", why=f"{hi} is above {NUMBER_MAX}",
                hint="change [version] line in cx.toml", name="line-used-up",
            )  # fmt: skip
        entry, _ = self.append(
            deliverable, line, state, wish["kind"], lo, hi,
            node=node, run=wish["run"], nonce=wish["nonce"],
        )  # fmt: skip
        return entry

    def _check_run(self, wish: dict[str, Any], node: str) -> None:
        """A run has one number, also when commands on two machines ask for it."""
        if wish["kind"] != log.ONLINE or not wish["run"]:
            return
        row = self.session.execute(
            "SELECT line, lo FROM grant_entry WHERE deliverable = ? AND run = ? AND run != ''"
            " AND kind = 'online' AND node <> ? LIMIT 1",
            (wish["deliverable"], wish["run"], node),
        ).fetchone()
        if row is not None:
            raise NoGrant(
                "this run has its number already",
                why=f"number {row[1]} of line {row[0]!r} was granted for it to another machine,"
                " which has not reported its use yet",
                hint="run 'cxlocal sync' there and then here; or begin a new run: cxlocal run start --new",
                name=RUN_HAS_NUMBER,
            )  # fmt: skip
        # sql: a constant, so that the index over such events alone is used
        used = self.session.execute(
            "SELECT n.node FROM event e JOIN node n ON n.id = e.node"
            f" WHERE e.run = ? AND e.type = '{VERSION_USED}' AND e.deliverable = ? AND n.node <> ?"
            " LIMIT 1",
            (wish["run"], wish["deliverable"], node),
        ).fetchone()
        if used is not None:
            raise NoGrant(
                "this run has its number already",
                why=f"machine {used[0][:8]} has taken one for it from its reserve",
                hint="run 'cxlocal sync' and give the command again; or begin a new run: cxlocal run start --new",
                name=RUN_HAS_NUMBER,
            )

    def _check_stop(self, deliverable: str) -> None:
        found = self.stopped(deliverable)
        if found is not None:
            raise NoGrant(
                "the store hands out no numbers", why=found[1],
                hint="follow it there, and set [store] url"
                if found[0] == STORE_LEFT
                else f"run '{RECOVER}': it continues above everything that may be in use",
                name="grants-stopped", stop=found[0],
            )  # fmt: skip

    def _floor(self, wish: dict[str, Any], node: str) -> log.LogState:
        """Where a line begins: [version] from, and never below what tags already use."""
        deliverable, line, first = wish["deliverable"], wish["line"], wish["first"]
        state, tagged = self.state(deliverable, line), wish["tagged"]
        following = max(first, state.online + 1)
        # A tag on a number that was granted here is one of our own releases.
        if tagged >= following and not self.granted(deliverable, line, tagged):
            raise NoGrant(
                f"line {line!r} would go on at {following}",
                why=f"number {tagged} of it is already in use by a tag or another journal",
                hint=f"adopt it: cxlocal import --tags '*'; or set from = {tagged + 1} in the"
                " [version] table of cx.toml",
                name="starts-too-low", tagged=tagged,
            )  # fmt: skip
        if first > NUMBER_MAX:
            raise NoGrant(
                "[version] from is too high", why=f"{first} is above {NUMBER_MAX}",
                hint="lower [version] from in cx.toml", name="line-used-up",
            )  # fmt: skip
        span = log.raise_range(state, first - 1)
        if span is None or self.stopped(deliverable):
            return state
        why = f"the line was set to start at {first}"
        return self.append(deliverable, line, state, log.RAISE, *span, node=node, why=why)[1]

    def _by_nonce(self, wish: dict[str, Any], node: str) -> log.Entry | None:
        """What this very request was granted before. Raises BadMessage for a borrowed nonce."""
        row = self.session.execute(
            "SELECT deliverable, line, k, kind, lo, hi, node, run, nonce, generation, why,"
            " previous, hash FROM grant_entry WHERE nonce = ? AND nonce != ''",
            (wish["nonce"],),
        ).fetchone()
        if row is None:
            return None
        entry = log.Entry(*row[2:])
        asked = (wish["deliverable"], wish["line"], wish["kind"], node)
        if (row[0], row[1], entry.kind, entry.node) != asked:
            raise BadMessage("the message repeats the nonce of another request")
        return entry


def read_wish(want: Any) -> dict[str, Any]:
    """A wish of a message, checked. Raises BadMessage."""
    try:
        held = want.get("held")
        wish: dict[str, Any] = {
            "kind": text_of(want["kind"]),
            "deliverable": text_of(want["deliverable"]),
            "line": text_of(want["line"]),
            "run": text_of(want.get("run", "")),
            "nonce": text_of(want["nonce"]),
            "above": whole_of(want.get("above", -1)),
            "first": whole_of(want.get("first", 0)),
            "tagged": whole_of(want.get("tagged", -1)),
            "size": whole_of(want.get("size", 1)),
            "ahead": whole_of(want.get("ahead", 1)),
            "held": None if held is None else (whole_of(held[0]), whole_of(held[1])),
        }
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise BadMessage("the message holds a malformed wish", why=repr(error)) from error
    sound = (
        wish["kind"] in (log.ONLINE, log.RESERVE)
        and wish["nonce"]
        and 1 <= wish["size"] <= log.COUNT_MAX
        and 1 <= wish["ahead"] <= log.AHEAD_MAX
    )
    if not sound:
        raise BadMessage(
            "the message holds a malformed wish",
            why=f"kind {wish['kind']!r}, size {wish['size']}, ahead {wish['ahead']}",
        )
    return wish
