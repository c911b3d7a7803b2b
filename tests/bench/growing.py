"""Whether what a store does costs the same in an old store as in a young one.

``python tests/bench/growing.py [EVENTS] [FOLDER]``: fills a store to ten thousand events, a hundred
thousand and so on up to EVENTS (ten million; that takes seven gigabytes and some minutes), by writing
rows directly, and at each size measures what goes through messages: pushing new events, pushing them
again, pulling 500 from anywhere, one online number. Prints JSON: microseconds for each, and the last
size as a multiple of the first.
"""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from comparing_kit import Teller
from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.exchange.messages import decode, encode

SMALLEST = 10_000
BATCH = 500
ROUNDS = 21
"""Of each measurement at each size; the median counts."""
NODES = 1000
TEXT = "x" * 250
TYPE = "dev.cdevents.taskrun.finished.0.3.0"
CHUNK = 50_000


def rows(first: int, last: int) -> Iterator[tuple[Any, ...]]:
    """Events of many machines and deliverables, by turns, as an old store has them."""
    for position in range(first, last):
        node = 1 + position % NODES
        sequence = 1 + position // NODES
        deliverable = f"deliverable-{node % 200}"
        digest = position.to_bytes(32, "big")
        run = f"run-{position // 40}"
        document = (
            f'{{"context":{{"chainId":"{run}","timestamp":"2026-11-23T02:14:05Z","type":"{TYPE}"}},'
            f'"customData":{{"cxlocal":{{"text":"{position} {TEXT}"}}}}}}'
        )
        yield (
            position + 1, node, sequence, 0, TYPE, deliverable,
            sequence, position << 16, digest, digest, digest, run, document,
            digest, node,
        )  # fmt: skip


def fill(path: Path, first: int, last: int) -> None:
    """Write rows as if they had been pushed."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-1000000")
    connection.execute("BEGIN")
    if first == 0:
        connection.executemany(
            "INSERT OR IGNORE INTO node (id, node, member) VALUES (?, ?, 1)",
            [(number, f"{number:032x}") for number in range(1, NODES + 1)],
        )
    marks = ", ".join("?" * 15)
    for start in range(first, last, CHUNK):
        connection.executemany(
            f"INSERT INTO event VALUES ({marks})", rows(start, min(start + CHUNK, last))
        )
    digest = (last - 1).to_bytes(32, "big")
    connection.execute("UPDATE store SET position = ?, hash = ?", (last, digest))
    connection.execute("COMMIT")
    connection.close()


class Old:
    """A store of a certain size."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "store.db"
        self.store = SqliteStore("sqlite:", folder)
        self.chance = random.Random(7)
        self.nodes = 0
        self.nonces = 0
        recovery = {"evidence": [], "margin": 1000, "generation": 0}
        self.asker = Teller("f" * 32)
        self.say(self.asker, recover=recovery)

    def say(self, teller: Teller, **parts: Any) -> dict[str, Any]:
        message = {"protocol": 1, "contact": teller.contact(generation=2), **parts}
        answer = decode(self.store.exchange(encode(message), timeout=60))
        assert "refusal" not in answer, answer
        teller.accepted()
        return answer

    def grow(self, size: int) -> None:
        self.store.close()
        with sqlite3.connect(self.path) as connection:
            before = connection.execute("SELECT position FROM store").fetchone()[0]
        fill(self.path, before, size)

    def pushes(self) -> tuple[float, float]:
        """Microseconds an event, new and again."""
        self.nodes += 1
        teller = Teller(f"e{self.nodes:031x}")
        for index in range(BATCH):
            teller.append(f"deliverable-{index % 3}", f"{index} {TEXT}")
        batch = teller.batch(0, BATCH)
        seconds = []
        for appended in (BATCH, 0):
            start = time.perf_counter()
            answer = self.say(teller, push=[batch])
            seconds.append(time.perf_counter() - start)
            assert answer["push"][0]["appended"] == appended
        return seconds[0] / BATCH * 1e6, seconds[1] / BATCH * 1e6

    def pull(self, size: int) -> float:
        """Microseconds an event."""
        position = self.chance.randrange(1, size - BATCH)
        with sqlite3.connect(self.path) as connection:
            found = connection.execute(
                "SELECT position, hex(running) FROM event WHERE position >= ? LIMIT 1", (position,)
            ).fetchone()
        cursor = {"position": found[0], "hash": found[1].lower()}
        start = time.perf_counter()
        answer = self.say(self.asker, pull={"cursor": cursor, "limit": BATCH})
        taken = time.perf_counter() - start
        assert not answer["pull"]["void"]
        return taken / BATCH * 1e6

    def number(self) -> float:
        """Microseconds a number."""
        self.nonces += 1
        wish = {
            "kind": "online", "deliverable": "webshop", "line": "1", "run": f"r{self.nonces}",
            "nonce": f"n{self.nonces}",
        }  # fmt: skip
        start = time.perf_counter()
        answer = self.say(self.asker, grant=[wish])
        taken = time.perf_counter() - start
        assert answer["grant"][0]["entry"], answer
        return taken * 1e6


def measured(ask: Callable[[], float]) -> float:
    ask()
    return round(statistics.median(ask() for _ in range(ROUNDS)), 1)


def main(events: int, folder: Path) -> int:
    old = Old(folder)
    size, found = SMALLEST, []
    while size <= events:
        old.grow(size)
        pushed = [old.pushes() for _ in range(ROUNDS)]
        found.append(
            {
                "events": size,
                "push": round(statistics.median(new for new, _ in pushed), 1),
                "push again": round(statistics.median(again for _, again in pushed), 1),
                "pull": measured(lambda size=size: old.pull(size)),  # type: ignore[misc]
                "number": measured(old.number),
                "bytes": old.path.stat().st_size,
            }
        )
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
        size *= 10
    first, last = found[0], found[-1]
    names = ("push", "push again", "pull", "number")
    ratios = {name: round(last[name] / first[name], 2) for name in names}
    print(
        json.dumps({"title": "growing", "microseconds": found, "last to first": ratios}, indent=2)
    )
    old.store.close()
    return 0


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as name:
        sys.exit(main(wanted, Path(name)))
