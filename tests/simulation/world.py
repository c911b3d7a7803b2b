"""A deterministic world of machines and one store: clock, disk, network and chance come from a seed.

The store is the embedded one, or one in a folder, where each machine keeps a copy of it in its home and
answers itself. ``World(root, seed, kind)`` carries out ``steps`` drawn from its seed: releases, notes, exchanges; messages
lost, doubled and late; partitions in either direction; crashes around every commit; file copies and
whole-machine copies (which keep every sign of their place), restores of machines and of the store,
clocks that jump, disks that are full, numbers that are lent. It keeps a book of what was promised to people, checks it
after every step, and after ``heal`` checks that everybody agrees.

What docs/faults.md names as residual risk is booked when it happens, and only that excuses a
number in two runs; such a number must then be shown as conflicted by everybody.
"""

from __future__ import annotations

import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from cxlocal_sync.keys.folder import FolderSpace
from cxlocal_sync.keys.space import KeySpace, SpaceError, SpaceUnclear
from cxlocal_sync.keys.store import KeyStore
from cxlocal_sync.stores.sqlite import SqliteStore
from numbers_kit import FaultyStore, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.borrower import borrow
from cxlocal.allocation.lender import lend
from cxlocal.domain import NumberState
from cxlocal.errors import Conflict, CxError, Refused, StoreNeeded, Trouble
from cxlocal.events.runs import run_flagged
from cxlocal.exchange.own_tables import verify
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import recover_store, synchronise
from cxlocal.journal.file import Journal
from cxlocal.numbers.ledger import ledger
from cxlocal.numbers.schemes import SCHEMES

DELIVERABLE, LINE = "webshop", "2.7"
RESERVE, AHEAD = 3, 20
START_MS = 1_795_400_000_000
DAY_MS = 86_400_000
MACHINES_MAX = 7
FAULTS = ("lose-request", "lose-reply", "twice", "late-request")
FAULTS_OF_FOLDERS = (*FAULTS, SpaceError, SpaceUnclear, SpaceUnclear)
"""The last: nobody knows whether it was put."""


class Crash(BaseException):
    """The power of one machine goes; nobody may handle it."""


class SimulatedClock:
    """Wall time that anybody may set; monotonic time that moves with every look."""

    def __init__(self) -> None:
        self.wall_ms = START_MS
        self.seconds = 0.0

    def now_ms(self) -> int:
        self.wall_ms += 1
        return self.wall_ms

    def monotonic(self) -> float:
        self.seconds += 0.001
        return self.seconds


class SimulatedIds:
    """Ids drawn from the world's chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def uuid(self) -> str:
        raw = f"{self.chance.getrandbits(128):032x}"
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"

    def token(self) -> str:
        return f"{self.chance.getrandbits(128):032x}"


def place_of(path: str | Path) -> str:
    """Stands in for ``exchange.hint.file_hint``: a file beside the journal says where it lies, so
    that a copied machine can keep that sign (a virtual machine) or lose it (a copied file)."""
    sign = Path(path).parent / "place"
    return sign.read_text()


class Embedded:
    """One store for all machines, in a file that knows where it lies."""

    knows_its_place = True

    def __init__(self, world: World) -> None:
        (world.central / "place").write_text("central")
        self.store = SqliteStore("sqlite:", world.central, clock=SimulatedClock(), ids=world.ids)

    def opened_for(self, machine: Machine) -> SqliteStore:
        return self.store

    def tables(self, machine: Machine) -> Any:
        """The tables of the store, as the machine knows them."""
        connection = self.store._connection
        assert connection is not None
        return connection

    def let_go(self, machine: Machine) -> None:
        """Nothing of the store lies in a machine's home."""

    def close(self) -> None:
        self.store.close()


class Folder:
    """A store in a folder, seen by each machine through a copy in its own home. A backup that is put
    in its place looks like itself."""

    knows_its_place = False

    def __init__(self, world: World) -> None:
        self.world = world
        self._store(world.root / "founder", SimulatedClock(), list).create()

    def _store(self, home: Path, clock: SimulatedClock, trouble: Callable[[], object]) -> KeyStore:
        def open_space(_seconds: float) -> KeySpace:
            return UnsteadySpace(self.world.central, trouble)

        url = f"folder://{self.world.central}"
        return KeyStore(url, home, open_space, clock=clock, ids=self.world.ids)

    def opened_for(self, machine: Machine) -> KeyStore:
        return self._store(machine.home, machine.clock, machine.use_folder)

    def tables(self, machine: Machine) -> Any:
        connection = machine.link.inner._connection
        assert connection is not None
        return connection

    def let_go(self, machine: Machine) -> None:
        """Before its home is copied or replaced."""
        machine.link.close()

    def close(self) -> None:
        for machine in self.world.machines:
            self.let_go(machine)


KINDS = {"embedded": Embedded, "folder": Folder, "lending": Embedded}
"""*lending* is the embedded store, and machines that number runs of others out of their reserve."""


class UnsteadySpace(FolderSpace):
    """A folder that calls ``trouble`` before and after each thing that is put into it."""

    def __init__(self, root: Path, trouble: Callable[[], object]) -> None:
        super().__init__(root)
        self.trouble = trouble

    def put_new(self, key: str, content: bytes) -> bool:
        self.trouble()
        put = super().put_new(key, content)
        self.trouble()
        return put


class LendingMachine:
    """What ``cxlocal serve --lend`` is to who borrows; the first answer may be lost on the way."""

    url = "lender:"

    def __init__(self, journal: Journal, *, loses_first: bool) -> None:
        self.journal = journal
        self.loses = loses_first

    def lend(self, asked: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        lent = lend(self.journal, asked, SCHEMES.__getitem__, "member")
        if self.loses:
            self.loses = False
            raise StoreUnreachable("the lender cannot be reached", why="lost", url=self.url)
        return lent

    def close(self) -> None:
        """Nothing is open."""


class Machine:
    """A home folder with its journal, and its side of the network."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.home = world.root / name
        self.clock = SimulatedClock()
        self.link = FaultyStore(world.back.opened_for(self))
        self.puts_left = -1
        """What it puts into a folder until something goes wrong there; -1 for never."""
        self.put_trouble: type[BaseException] = SpaceError
        self.snapshot: Path | None = None
        self.blind_contacts = 0
        """Its reserve may be another machine's, too, until so many more accepted contacts: a copy is
        found out before both have made two (P9)."""
        self.moved_reserve = -1
        """The reserve that somebody vouched for with --journal-was-moved, of a copy perhaps."""
        self.doubted_until = 0
        """Generation from which on what it was granted is sound: it was granted by a store that
        had forgotten some of its grants, and nobody had told it yet."""
        self.journal: Journal = None  # type: ignore[assignment]

    def use_folder(self) -> None:
        """Before and after each thing it puts into the store's folder."""
        self.puts_left -= self.puts_left >= 0
        if self.puts_left == 0:
            self.puts_left = -1
            raise self.put_trouble("simulated")

    def open(self) -> None:
        """Start the machine's software."""
        self.home.mkdir(exist_ok=True)
        if not (self.home / "place").exists():
            (self.home / "place").write_text(self.name)
        self.journal = Journal.open(self.home / "journal.db", clock=self.clock, ids=self.world.ids)
        # Syncing to a real disk is tested where power is cut at every system call; here it would
        # only cost time.
        self.journal.connection.execute("PRAGMA synchronous=OFF")

    @property
    def spends_blindly(self) -> bool:
        """Whether a residual risk of the design is being taken with its reserve."""
        return self.blind_contacts > 0 or self.reserve() == self.moved_reserve

    def reserve(self) -> int:
        """Where its reserve begins; -2 without one."""
        row = self.journal.one("SELECT lo FROM reserve LIMIT 1")
        return row["lo"] if row else -2

    def close(self) -> None:
        self.journal.close()
        self.world.back.let_go(self)

    def restart(self) -> None:
        """After a crash: what was not committed is gone."""
        self.journal.connection.close()
        self.world.back.let_go(self)
        self.open()

    def copy_to(self, folder: Path) -> None:
        """The files as they lie on the disk now."""
        self.close()
        shutil.copytree(self.home, folder)
        self.open()


class World:
    """Machines, a store, a book of promises."""

    def __init__(self, root: Path, seed: int, kind: str = "embedded") -> None:
        self.root = root
        self.seed = seed
        self.kind = kind
        self.chance = random.Random(seed)
        self.ids = SimulatedIds(self.chance)
        self.central = root / "central"
        self.central.mkdir(parents=True)
        self.machines: list[Machine] = []
        self.back = KINDS[kind](self)
        self.store_snapshot: Path | None = None
        self.store_forgot = False
        """It was restored, unnoticed so far: nobody who has seen more has called since."""
        self.runs = 0
        self.holders: dict[int, set[str]] = defaultdict(set)
        """Number to the runs it was printed for."""
        self.excused: set[int] = set()
        """Numbers printed while a residual risk of the design was being taken."""
        self.notes: dict[str, set[str]] = {}
        """Text of an acknowledged note to the machines and snapshots that held it."""
        self.story: list[str] = []
        for index in range(3):
            self.add(f"m{index}")
        # Each meets the store once: one that never did would make a store of its own.
        for machine in self.machines:
            self.exchange(machine)

    def add(self, name: str) -> Machine:
        machine = Machine(self, name)
        machine.open()
        self.machines.append(machine)
        return machine

    # what happens

    def live(self, steps: int) -> None:
        """Let ``steps`` things happen, checking what must always hold."""
        actions: list[tuple[int, Callable[[], None]]] = [
            (10, self.release), (4, self.release_offline), (6, self.note), (10, self.sync),
            (3, self.partition), (4, self.mend), (3, self.crash), (2, self.late_messages),
            (2, self.clock_jumps), (1, self.copy_machine), (1, self.copy_whole_machine),
            (1, self.take_snapshot), (1, self.restore_machine), (1, self.take_store_snapshot),
            (1, self.restore_store), (2, self.recover), (2, self.disk_full),
            (1, self.journal_was_moved),
        ]  # fmt: skip
        if self.kind == "lending":
            actions.append((6, self.borrow))
        weights = [weight for weight, _ in actions]
        for _ in range(steps):
            ((_, action),) = self.chance.choices(actions, weights)
            self.story.append(action.__name__)
            action()
            self.check_always()

    def any_machine(self) -> Machine:
        return self.chance.choice(self.machines)

    @contextmanager
    def trouble(self, machine: Machine, likely: float = 0.3) -> Iterator[None]:
        """Perhaps one message of what follows goes wrong."""
        if self.chance.random() < likely:
            fault = self.chance.choice(FAULTS if self.kind == "embedded" else FAULTS_OF_FOLDERS)
            if isinstance(fault, str):
                machine.link.faults = [fault]
            else:
                machine.puts_left, machine.put_trouble = self.chance.randrange(1, 9), fault
        try:
            yield
        finally:
            machine.link.faults = []
            machine.puts_left = -1

    def release(self) -> None:
        machine = self.any_machine()
        with self.trouble(machine):
            self.take_number(machine, machine.link)

    def release_offline(self) -> None:
        self.take_number(self.any_machine(), None)

    def take_number(self, machine: Machine, store: Any) -> None:
        self.runs += 1
        run = f"run-{self.runs}"
        machine.journal.connection.execute("DELETE FROM breaker")
        blind = machine.spends_blindly or self.store_forgot or self.is_doubted(machine)
        try:
            number = obtain_number(
                machine.journal, store, request(run, reserve=RESERVE, ahead=AHEAD)
            )
        except (StoreNeeded, Refused) as error:
            self.story[-1] += f" {machine.name}: {error.name}"
            return
        assert number.number is not None
        if number.how == "online":
            self.learn(machine)
        self.story[-1] += f" {machine.name}: {number.number} {number.how}"
        self.holders[number.number].add(run)
        if blind:
            self.excused.add(number.number)

    def borrow(self) -> None:
        """A machine gets the number of a run from another one."""
        machine, lender = self.any_machine(), self.any_machine()
        loses_first = self.chance.random() < 0.3
        if lender is machine:
            return
        self.runs += 1
        run = f"run-{self.runs}"
        blind = lender.spends_blindly or self.store_forgot or self.is_doubted(lender)
        there = LendingMachine(lender.journal, loses_first=loses_first)
        try:
            number = borrow(machine.journal, lambda: there, request(run, kept=False))
        except (Conflict, Refused) as error:
            self.note_story(f"{machine.name} of {lender.name}: {error.name}")
            return
        assert number.number is not None and number.how == "lent"
        self.note_story(f"{machine.name} of {lender.name}: {number.number}")
        self.holders[number.number].add(run)
        if blind:
            self.excused.add(number.number)

    def note(self) -> None:
        """Any event that is acknowledged to a person (P12)."""
        machine = self.any_machine()
        text = f"note {self.ids.token()}"
        machine.journal.append(run_flagged(kind="note", subject="s", text=text))
        self.notes[text] = {machine.name}

    def sync(self) -> None:
        machine = self.any_machine()
        with self.trouble(machine):
            self.exchange(machine)

    def exchange(self, machine: Machine) -> Any:
        try:
            report = synchronise(
                machine.journal, machine.link, use_breaker=False, budget_seconds=20
            )
        except (Refused, Trouble) as error:
            self.note_story(f"{machine.name}: {error.name}")
            return None
        if report.reached:
            self.note_story(f"{machine.name}: {'stopped' if report.stopped else 'level'}")
            self.learn(machine)
        return report

    def note_story(self, text: str) -> None:
        if self.story:
            self.story[-1] += f" {text}"

    def is_doubted(self, machine: Machine) -> bool:
        state = machine.journal.one("SELECT generation FROM store_state")
        return state is not None and state["generation"] < machine.doubted_until

    def learn(self, machine: Machine) -> None:
        """An accepted contact settles who is the copy, and whether the store went back."""
        machine.blind_contacts = max(0, machine.blind_contacts - 1)
        if self.store_forgot:
            generation = machine.journal.one("SELECT generation FROM store_state")
            machine.doubted_until = (generation["generation"] if generation else 0) + 1
        if self.back.tables(machine).execute("SELECT 1 FROM stop LIMIT 1").fetchone():
            self.store_forgot = False

    def partition(self) -> None:
        self.any_machine().link.down = True

    def mend(self) -> None:
        self.any_machine().link.down = False

    def late_messages(self) -> None:
        machine = self.any_machine()
        self.chance.shuffle(machine.link.late)
        machine.link.deliver_late()

    def crash(self) -> None:
        """The power goes before or after one of the commits of what the machine does next."""
        machine = self.any_machine()
        journal, left = machine.journal, self.chance.randrange(4)
        after = self.chance.random() < 0.5
        commit = journal._commit

        def cut() -> None:
            nonlocal left
            left -= 1
            if left >= 0:
                return commit()
            if after:
                commit()
            raise Crash

        if self.kind == "folder" and self.chance.random() < 0.5:
            machine.puts_left, machine.put_trouble = self.chance.randrange(1, 9), Crash
        else:
            journal._commit = cut  # type: ignore[method-assign]
        before = {number: set(runs) for number, runs in self.holders.items()}
        try:
            if self.chance.random() < 0.5:
                self.take_number(machine, machine.link)
            else:
                self.exchange(machine)
        except Crash:
            # Nothing was printed: whatever number it was is skipped.
            self.holders = defaultdict(set, before)
        finally:
            machine.puts_left = -1
            machine.restart()

    def clock_jumps(self) -> None:
        clock = self.any_machine().clock
        clock.wall_ms = max(0, clock.wall_ms + self.chance.randint(-400, 400) * DAY_MS)

    def copy_machine(self) -> None:
        """Its files are copied elsewhere: the copy sees that it lies elsewhere."""
        self._copy(keeps_place=False)

    def copy_whole_machine(self) -> None:
        """A virtual machine is copied with everything by which it knows its place."""
        self._copy(keeps_place=True)

    def _copy(self, *, keeps_place: bool) -> None:
        if len(self.machines) >= MACHINES_MAX:
            return
        original = self.any_machine()
        name = f"m{len(self.machines)}"
        original.copy_to(self.root / name)
        if not keeps_place:
            (self.root / name / "place").write_text(name)
        copy = self.add(name)
        self.note_story(f"{original.name} to {name}")
        for holders in self.notes.values():
            if original.name in holders:
                holders.add(name)
        if keeps_place:
            original.blind_contacts = copy.blind_contacts = 2
        copy.moved_reserve = original.moved_reserve

    def take_snapshot(self) -> None:
        machine = self.any_machine()
        if machine.snapshot is not None:
            shutil.rmtree(machine.snapshot)
        machine.snapshot = self.root / f"{machine.name}-snapshot"
        self.note_story(machine.name)
        machine.copy_to(machine.snapshot)
        self._forget(f"{machine.name}-snapshot")
        for holders in self.notes.values():
            if machine.name in holders:
                holders.add(f"{machine.name}-snapshot")

    def _forget(self, keeper: str) -> None:
        for holders in self.notes.values():
            holders.discard(keeper)

    def restore_machine(self) -> None:
        """The machine goes back to its snapshot, place and all, as a virtual machine does."""
        machine = self.any_machine()
        if machine.snapshot is None:
            return
        self.note_story(machine.name)
        machine.close()
        shutil.rmtree(machine.home)
        shutil.copytree(machine.snapshot, machine.home)
        machine.open()
        machine.blind_contacts = 2
        self._forget(machine.name)
        for holders in self.notes.values():
            if f"{machine.name}-snapshot" in holders:
                holders.add(machine.name)

    def take_store_snapshot(self) -> None:
        self.back.close()
        if self.store_snapshot is not None:
            shutil.rmtree(self.store_snapshot)
        self.store_snapshot = self.root / "central-snapshot"
        shutil.copytree(self.central, self.store_snapshot)
        self._forget("store-snapshot")
        for holders in self.notes.values():
            if "store" in holders:
                holders.add("store-snapshot")

    def restore_store(self) -> None:
        """The store goes back; half of the time nothing at its place tells so."""
        if self.store_snapshot is None:
            return
        self.back.close()
        shutil.rmtree(self.central)
        shutil.copytree(self.store_snapshot, self.central)
        if self.chance.random() < 0.5 and self.back.knows_its_place:
            (self.central / "place").write_text(f"central again {self.ids.token()}")
        else:
            self.store_forgot = True

    def recover(self) -> None:
        machine = self.any_machine()
        if machine.link.down or not self._stopped_for(machine):
            return
        try:
            recover_store(machine.journal, machine.link)
        except CxError as error:
            self.note_story(error.name)

    def _stopped_for(self, machine: Machine) -> bool:
        report = self.exchange(machine)
        return report is not None and bool(report.stopped)

    def disk_full(self) -> None:
        """The machine's disk takes no further page while it works."""
        machine = self.any_machine()
        connection = machine.journal.connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + self.chance.randrange(3)}")
        try:
            self.take_number(machine, machine.link)
            self.exchange(machine)
        except Trouble as error:
            self.note_story(error.name)
        finally:
            machine.restart()

    def journal_was_moved(self) -> None:
        """A person says so of a machine whose journal lies elsewhere. Said of a copy it is the
        residual risk the manual names."""
        from cxlocal.exchange.copies import journal_was_moved, lies_elsewhere

        machine = self.any_machine()
        if lies_elsewhere(machine.journal):
            journal_was_moved(machine.journal, "a test", {"id": "someone", "how": "test"})
            machine.moved_reserve = machine.reserve()
            self.note_story(machine.name)

    # what must hold

    def check_always(self) -> None:
        """After every step: no number in two runs but by a residual risk (P1)."""
        for number, runs in self.holders.items():
            assert len(runs) == 1 or number in self.excused, f"P1: {number} is in {sorted(runs)}"

    def heal(self) -> None:
        """Everything is reachable and works; the operator recovers a store that asks for it."""
        self.story.append("heal")
        for machine in self.machines:
            machine.link.down = False
            machine.link.deliver_late()
        for _ in range(3):
            for machine in self.machines:
                report = self.exchange(machine)
                assert report is not None, f"P18: {machine.name} was refused"
                if report.stopped:
                    recover_store(machine.journal, machine.link)
        for _ in range(2):
            for machine in self.machines:
                report = self.exchange(machine)
                assert report.reached, report
                assert not report.stopped, report
                assert not report.pending, report

    def check_healed(self) -> None:
        """Everybody agrees, nothing that still exists anywhere is lost, every number is explained,
        and another exchange changes nothing."""
        before = [self.picture(machine) for machine in self.machines]
        for machine, picture in zip(self.machines, before, strict=True):
            apart = [differences(*pair) for pair in zip(before[0], picture, strict=True)]
            assert not any(apart), f"P18: m0 and {machine.name} differ: {apart}"
        for machine in self.machines:
            self.exchange(machine)
        after = [self.picture(machine) for machine in self.machines]
        assert before == after, "P18: an idle exchange changed something"
        events, spans = before[0]
        self.check_notes(events)
        self.check_numbers(spans)
        for machine in self.machines:
            found = verify(machine.journal).findings
            assert found == [], f"P15: {machine.name}: {found}"
            self.check_order(machine)
        self.check_grants()

    def picture(self, machine: Machine) -> tuple[list[Any], list[Any]]:
        """All events of all chains, and the states of all numbers."""
        journal = machine.journal
        events = journal.query(
            "SELECT n.name AS node, e.sequence, hex(e.hash) AS hash, e.document ->>"
            " '$.customData.cxlocal.text' AS text FROM event e JOIN node_lookup n ON n.id = e.node"
            " ORDER BY n.name, e.sequence, e.hash"
        )
        spans = [span[:4] for span in ledger(journal, DELIVERABLE, LINE)]
        return [tuple(row.values()) for row in events], spans

    def check_notes(self, events: list[Any]) -> None:
        known = {row[3] for row in events}
        names = {machine.name for machine in self.machines}
        for text, holders in self.notes.items():
            assert text in known or not holders & names, f"P12: {text} is lost"

    def check_numbers(self, spans: list[Any]) -> None:
        following = 0
        states: dict[int, NumberState] = {}
        for lo, hi, state, _ in spans:
            assert lo == following, f"P7: no state, or two, before {lo}"
            following = hi + 1
            states.update(dict.fromkeys(range(lo, hi + 1), state))
        for number, runs in self.holders.items():
            state = states.get(number)
            lost = not any(run in self.known_runs() for run in runs)
            if lost:
                continue  # printed by a machine that was set back before it told anybody
            if len(runs & self.known_runs()) > 1:
                assert state == NumberState.CONFLICTED, f"P10: {number} is {state}"
            else:
                assert state in (NumberState.CONFIRMED, NumberState.CONFLICTED), f"{number} {state}"

    def known_runs(self) -> set[str]:
        rows = self.machines[0].journal.query("SELECT run FROM version WHERE run IS NOT NULL")
        return {row["run"] for row in rows}

    def check_order(self, machine: Machine) -> None:
        """P3: numbers increase along a chain. One with branches is two histories."""
        rows = machine.journal.query(
            "SELECT v.node, v.number FROM version v WHERE v.number >= 0 AND v.node NOT IN"
            " (SELECT n.name FROM event e JOIN node_lookup n ON n.id = e.node WHERE e.branch > 0)"
            " ORDER BY v.node, v.sequence"
        )
        for a, b in pairwise(rows):
            assert a["node"] != b["node"] or a["number"] < b["number"], "P3"

    def check_grants(self) -> None:
        """P5: disjoint grants, ascending online grants."""
        tables = self.back.tables(self.machines[0])
        grants = tables.execute(
            "SELECT lo, hi FROM grant_entry WHERE kind != 'raise' ORDER BY lo"
        ).fetchall()
        assert all(a[1] < b[0] for a, b in pairwise(grants)), "P5: grants overlap"
        online = tables.execute(
            "SELECT lo FROM grant_entry WHERE kind = 'online' ORDER BY k"
        ).fetchall()
        assert all(a < b for a, b in pairwise(online)), "P5: online grants do not ascend"

    def close(self) -> None:
        for machine in self.machines:
            machine.journal.connection.close()
        self.back.close()


def differences(one: list[Any], other: list[Any]) -> list[Any]:
    """What only one of two lists has."""
    return [row for row in one if row not in other] + [row for row in other if row not in one]


__all__ = ["Crash", "World", "place_of"]
