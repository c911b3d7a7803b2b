"""Numbers of one line against numbers of eight lines, PostgreSQL: whether lines hinder each other.

``python tests/bench/lines.py [ROUNDS]``. Eight machines with a connection each ask for online numbers side by side, each
number by a message of its own: all of one line, which is one counter, and each of a line of its own. By turns in each
round. The bar: eight lines at least 1.5 times as fast.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from comparing_kit import Teller
from cxlocal_sync.postgresql.store import PostgresqlStore
from postgresql_kit import Databases
from rounds import measure, report, rounds_wanted

from cxlocal.exchange.messages import decode, encode

MACHINES = 8
EACH = 12
"""Numbers of one machine in a round."""
BAR = 1.5


class Asker:
    """One machine with a connection of its own."""

    def __init__(self, index: int, store: Any) -> None:
        self.index, self.store = index, store
        self.teller = Teller(f"{index + 1:032x}")
        self.lineage = ""
        self.nonces = count()

    def ask(self, line: str) -> int:
        """The next number of ``line``."""
        wish = {
            "kind": "online", "deliverable": "webshop", "line": line, "run": "",
            "nonce": f"{self.index}-{next(self.nonces)}",
        }  # fmt: skip
        contact = self.teller.contact(lineage=self.lineage, generation=int(bool(self.lineage)))
        message = encode({"protocol": 1, "contact": contact, "grant": [wish]})
        answer = decode(self.store.exchange(message, timeout=60))
        assert "refusal" not in answer, answer
        self.lineage = answer["store"]["lineage"]
        self.teller.accepted()
        return int(answer["grant"][0]["entry"]["lo"])


def side_by_side(
    askers: list[Asker], line_of: Callable[[Asker], str], seen: dict[str, list[int]]
) -> None:
    """Every machine takes its numbers, all at once."""

    def take(asker: Asker) -> None:
        line = line_of(asker)
        numbers = [asker.ask(line) for _ in range(EACH)]
        seen.setdefault(line, []).extend(numbers)

    threads = [threading.Thread(target=take, args=(asker,)) for asker in askers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(rounds: int, folder: Path) -> int:
    """Measure, and see that no number came twice."""
    seen: dict[str, list[int]] = {}
    with ExitStack() as stack:
        databases = Databases()
        stack.callback(databases.close)
        url = databases.fresh()
        askers = []
        for index in range(MACHINES):
            store = PostgresqlStore(url, folder)
            stack.callback(store.close)
            askers.append(Asker(index, store))
            askers[-1].ask("first")
        seconds = measure(
            {
                "one line": lambda: side_by_side(askers, lambda asker: "one", seen),
                "eight lines": lambda: side_by_side(
                    askers, lambda asker: f"own-{asker.index}", seen
                ),
            },
            rounds=rounds,
        )
    assert all(sorted(numbers) == list(range(len(numbers))) for numbers in seen.values())
    return report(
        f"{MACHINES * EACH} numbers a round", seconds, [("eight lines", "one line", 1 / BAR)]
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.exit(main(rounds_wanted(), Path(name)))
