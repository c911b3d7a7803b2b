"""What the witness of a journal adds to a number: against a bare commit of sqlite3 in the same mode.

``python tests/bench/witness.py [ROUNDS] [FOLDER]``.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from pathlib import Path

from rounds import measure, report, rounds_wanted

from cxlocal.journal.witness import Seen, write_seen

EACH = 200
"""Writes a round."""
ALLOWED = 1.5
"""A witness costs little more than the commit it comes after."""


def main() -> int:
    """Measure and print."""
    folder_wanted = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=folder_wanted) as name:
        folder = Path(name)
        connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=TRUNCATE")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, text TEXT)")

        def commits() -> None:
            for _ in range(EACH):
                connection.execute("INSERT INTO row (text) VALUES ('x')")

        def witnesses(*, durable: bool) -> None:
            for number in range(1, EACH + 1):
                assert write_seen(folder / "seen", Seen(number, "a" * 64), durable=durable)

        seconds = measure(
            {
                "a bare commit": commits,
                "the witness of a journal": lambda: witnesses(durable=True),
                "the witness of a store": lambda: witnesses(durable=False),
            },
            rounds=rounds_wanted(),
        )
        connection.close()
    return report(
        f"{EACH} writes a round",
        seconds,
        [
            ("the witness of a journal", "a bare commit", ALLOWED),
            ("the witness of a store", "a bare commit", ALLOWED),
        ],
    )


if __name__ == "__main__":
    sys.exit(main())
