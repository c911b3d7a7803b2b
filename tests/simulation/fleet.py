"""A fleet of machines before one served store: what comes back when outages of regions end.

Time, chance and the network come from a seed. The messages that bring events or ask for numbers are real,
and a real store answers them; how long it has for each is reckoned (``Costs``), and so is the queue before it, with
the limits and the appointments of the server. Machines rest between two contacts as ``cxlocal sync --watch`` does. What
a machine would pull is left out: it is counted in docs/scale.md.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from itertools import count, pairwise
from pathlib import Path
from typing import Any, NamedTuple

from comparing_kit import LINEAGE, Teller
from cxlocal_sync.http.limits import PATIENCE_SECONDS, STORE_SECONDS, WAITING_MAX, Appointments
from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.commands.sync import pause
from cxlocal.exchange.contact import ANSWER_SECONDS
from cxlocal.exchange.messages import BATCH_EVENTS_MAX, decode, encode

EVERY_SECONDS = 30.0
LINE = "1"
RESERVE = 3
MACHINES_A_PRODUCT = 100
LIMIT_SECONDS = 1800.0
"""A story ends then, whoever is not in step yet."""


class Costs(NamedTuple):
    """Seconds that the store has for things, as tests/bench/many_nodes.py measured them: 703 contacts with
    nothing in them a second, 290 with 20 events and a wish for a number."""

    contact: float = 0.0014
    number: float = 0.0014
    event: float = 0.00003
    again: float = 0.45
    """Of that, for an event that it has already (tests/bench/ingesting.py)."""


class Story(NamedTuple):
    """What happens to a fleet."""

    machines: int
    back: float = 1.0
    """The share of the machines that come back from a day's outage."""
    within_seconds: float = EVERY_SECONDS
    """In how much time they try for the first time; a second where the power comes back."""
    events: int = 40
    """What each of them has recorded meanwhile."""
    weight: int = 1
    """How many events one of them stands for in the time of the store."""
    releases_a_second: float = 2.0
    """Of machines that were not away, or are in step again."""
    heeds: bool = True
    """The server turns away what it could only answer too late, and machines come again when it told them
    to (Retry-After). Without it 128 may wait, however long, and machines come again as they always do."""


class Clock:
    """Time as the simulation has it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now_ms(self) -> int:
        return int(self.seconds * 1000)


class Machine:
    """One of the fleet."""

    def __init__(self, index: int) -> None:
        self.teller = Teller(f"{index:032x}")
        self.product = f"product-{index // MACHINES_A_PRODUCT}"
        self.reserve: list[int] = []
        self.sent = 0
        """Events that the store has acknowledged, as far as it knows."""
        self.arrived = 0
        self.wish: dict[str, Any] | None = None
        self.used: list[int] = []
        self.turned_away = 0
        self.in_step = 0.0
        self.under_way = False
        self.was_away = False

    @property
    def lacks(self) -> int:
        """Events that the store was not sent, as far as the machine knows."""
        return len(self.teller.chain) - self.sent

    def use(self, number: int) -> None:
        """A run has this number; those of the reserve that it overtook are given up, as a journal does."""
        self.used.append(number)
        self.reserve = [left for left in self.reserve if left > number]
        self.teller.append(self.product, f"{number}", used=(LINE, number, 1))

    def work(self, events: int) -> None:
        """A day without the store: runs, and numbers from the reserve."""
        self.was_away = True
        for _ in range(events - len(self.reserve)):
            self.teller.append(self.product, "x" * 300)
        while self.reserve:
            self.use(self.reserve.pop(0))

    def ask(self, kind: str, nonce: str, **more: Any) -> None:
        self.wish = {
            "kind": kind, "deliverable": self.product, "line": LINE, "nonce": nonce,
            "above": max(self.used, default=-1), **more,
        }  # fmt: skip


class Fleet:
    """The story, from the end of the outage on; ``tell`` tells it, ``check`` sees that nothing is lost."""

    def __init__(self, root: Path, story: Story, seed: int = 1, costs: Costs | None = None) -> None:
        self.story, self.costs = story, costs or Costs()
        self.chance = random.Random(seed)
        self.clock = Clock()
        self.store = SqliteStore(f"sqlite://{root / 'store.db'}", root)
        self.store.create(lineage=LINEAGE)
        assert self.store._connection is not None
        self.store._connection.execute("PRAGMA synchronous=OFF")
        self.appointments = Appointments(self.clock, 1)
        self.waiting: deque[float] = deque()
        self.busy_until = self.busy = 0.0
        self.machines = [Machine(index) for index in range(1, story.machines + 1)]
        self.back = self.machines[: int(story.machines * story.back)]
        self.missing = len(self.back)
        """Those of them that have not been in step yet."""
        self.seen: Counter[str] = Counter()
        self.arrivals: Counter[int] = Counter()
        self.nonces = count()
        self._order = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    # what happens

    def tell(self, limit_seconds: float = LIMIT_SECONDS) -> None:
        """From the end of the outage until everybody is in step, or the time is over."""
        for machine in self.machines:
            self._ask_reserve(machine)
            self._exchange(machine)
        for index, machine in enumerate(self.machines):
            away = index < len(self.back)
            if away:
                machine.work(self.story.events)
            first = self.chance.random() * (self.story.within_seconds if away else EVERY_SECONDS)
            self._at(first, lambda machine=machine: self._round(machine))  # type: ignore[misc]
        self._at(0.0, self._release)
        while self.missing and self.clock.seconds < limit_seconds:
            self.clock.seconds, _, act = heapq.heappop(self._due)
            act()
        self.ended = self.clock.seconds
        self._settle()

    def _at(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._due, (seconds, next(self._order), act))

    def _round(self, machine: Machine) -> None:
        """What a watch does: one contact after the other until it is in step, then a rest."""
        if machine.under_way:
            self._rest(machine, 1.0, 0)
            return
        machine.under_way = True
        told, ends = self._come(machine)
        if told == "again" and machine.lacks:
            self._at(ends, lambda: self._go_on(machine))
            return
        self._at(ends, lambda: self._let_go(machine))
        self._rest(machine, ends - self.clock.seconds, told if isinstance(told, int) else 0)

    def _go_on(self, machine: Machine) -> None:
        machine.under_way = False
        self._round(machine)

    def _let_go(self, machine: Machine) -> None:
        machine.under_way = False
        if not machine.lacks and not machine.in_step:
            machine.in_step = self.clock.seconds
            self.missing -= machine.was_away

    def _rest(self, machine: Machine, taken: float, after: int) -> None:
        after = after if self.story.heeds else 0
        rest = pause(EVERY_SECONDS, after, self.chance.random())
        self._at(self.clock.seconds + taken + rest, lambda: self._round(machine))

    def _release(self) -> None:
        """Somewhere a run needs a number now: the store is asked once, then the reserve."""
        if self.story.releases_a_second:
            rest = self.chance.expovariate(self.story.releases_a_second)
            self._at(self.clock.seconds + rest, self._release)
        machine = self.chance.choice(self.machines)
        if machine.under_way or (machine.lacks and not machine.in_step):
            return
        machine.ask("online", f"n{next(self.nonces)}", run="")
        machine.under_way = True
        told, ends = self._come(machine)
        self._at(ends, lambda: self._let_go(machine))
        if told == "again":
            self.seen["numbers of the store"] += 1
            return
        # What the store may have granted is never used: the run goes on from the reserve.
        machine.wish = None
        self.seen["numbers of reserves" if machine.reserve else "runs without a number"] += 1
        if machine.reserve:
            machine.use(machine.reserve.pop(0))

    def _come(self, machine: Machine) -> tuple[str | int, float]:
        """One message. *again* where the answer came; the seconds to stay away where it was turned away;
        *late* where nobody waited for the answer any more. And when that is known."""
        now, costs = self.clock.seconds, self.costs
        self.arrivals[int(now)] += 1
        while self.waiting and self.waiting[0] <= now:
            self.waiting.popleft()
        crowd = len(self.waiting)
        patience = PATIENCE_SECONDS if self.story.heeds else STORE_SECONDS
        if crowd >= WAITING_MAX or not self.appointments.has_room(crowd, patience):
            machine.turned_away += 1
            self.seen["turned away"] += 1
            return self.appointments.next_seconds(crowd), now
        if machine.wish is None and not machine.reserve:
            self._ask_reserve(machine)
        events = min(machine.lacks, BATCH_EVENTS_MAX)
        known = min(max(machine.arrived - machine.sent, 0), events)
        counted = events - known + known * costs.again
        takes = costs.contact + counted * costs.event * self.story.weight
        takes += costs.number if machine.wish else 0.0
        begins = max(now, self.busy_until)
        if begins - now > STORE_SECONDS:
            return "late", now + ANSWER_SECONDS
        self.appointments.took(takes)
        self.waiting.append(begins)
        self.busy_until = begins + takes
        self.busy += takes
        in_time = self.busy_until - now <= ANSWER_SECONDS
        if events or machine.wish:
            self._exchange(machine, heard=in_time)
        if in_time:
            return "again", self.busy_until
        self.seen["answers too late"] += 1
        return "late", now + ANSWER_SECONDS

    def _ask_reserve(self, machine: Machine) -> None:
        machine.ask("reserve", f"r{next(self.nonces)}", size=RESERVE, ahead=RESERVE)

    def _exchange(self, machine: Machine, *, heard: bool = True) -> None:
        """A real message to the real store; ``heard``: the machine gets the answer."""
        teller, last = machine.teller, machine.sent + BATCH_EVENTS_MAX
        contact = teller.contact(generation=1)
        push = [teller.batch(machine.sent, last)] if machine.lacks else []
        wish = [machine.wish] if machine.wish else []
        message = encode({"protocol": 1, "contact": contact, "push": push, "grant": wish})
        answer = decode(self.store.exchange(message, timeout=3600))
        assert "refusal" not in answer, answer
        machine.arrived = len(machine.teller.chain[:last])
        if not heard:
            return
        teller.accepted()
        if push:
            machine.sent = answer["push"][0]["sequence"]
        for told in answer["grant"]:
            self._granted(machine, told["entry"])
        machine.wish = None

    @staticmethod
    def _granted(machine: Machine, entry: dict[str, Any]) -> None:
        if entry["kind"] == "reserve":
            machine.reserve = list(range(entry["lo"], entry["hi"] + 1))
        else:
            machine.use(entry["lo"])

    def _settle(self) -> None:
        """Let what releases recorded meanwhile arrive, too."""
        for machine in self.machines:
            while machine.lacks:
                self._exchange(machine)

    # what must hold

    def check(self) -> None:
        """Every event is at the store, once and in its order; every number is of one run, and rises along
        its machine; the store has seen nothing that it did not grant."""
        tables = self.store._connection
        assert tables is not None
        held: dict[str, list[bytes]] = {machine.teller.node: [] for machine in self.machines}
        rows = tables.execute(
            "SELECT n.node, e.sequence, e.branch, e.hash FROM event e JOIN node n ON n.id = e.node"
            " ORDER BY e.position"
        )
        for node, sequence, branch, value in rows:
            held[node].append(value)
            assert (sequence, branch) == (len(held[node]), 0), "an event is not at its place"
        for machine in self.machines:
            own = [event.hash for event in machine.teller.chain]
            assert held[machine.teller.node] == own, "an event is lost, or there twice"
            assert all(a < b for a, b in pairwise(machine.used)), "numbers do not rise"
        uses = Counter((machine.product, one) for machine in self.machines for one in machine.used)
        assert not [one for one, times in uses.items() if times > 1], "a number is in two runs"
        assert tables.execute("SELECT count(*) FROM stop").fetchone() == (0,), "numbers are stopped"

    def figures(self) -> dict[str, float]:
        """What came of it."""
        steps = sorted(machine.in_step for machine in self.back if machine.in_step)
        asked = sum(self.seen[name] for name in RELEASES)
        return {
            "half in step, s": round(steps[len(steps) // 2]),
            "all, s": round(self.ended),
            "never": self.missing,
            "most in a second": max(self.arrivals.values()),
            "turned away": self.seen["turned away"],
            "of one machine": max(machine.turned_away for machine in self.machines),
            "answers too late": self.seen["answers too late"],
            "store busy, %": round(100 * self.busy / max(self.ended, self.busy_until)),
            "numbers of the store, %": round(100 * self.seen[RELEASES[0]] / max(1, asked)),
            "runs without a number": self.seen[RELEASES[2]],
        }

    def close(self) -> None:
        self.store.close()


RELEASES = ("numbers of the store", "numbers of reserves", "runs without a number")
