"""A machine in a process of its own: takes numbers from a store and prints each once it is durable.

``worker.py URL HOME NAME COUNT``
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from numbers_kit import open_at, open_journal, request

from cxlocal.allocation.allocator import obtain_number
from cxlocal.errors import StoreNeeded


def main(url: str, home: Path, name: str, count: int) -> None:
    store = open_at(url, home)
    journal = open_journal(home)
    print("ready", flush=True)
    for index in range(count):
        try:
            number = obtain_number(journal, store, request(f"{name}-{index}", reserve=0))
        except StoreNeeded as error:  # there is no reserve: it must be the store's
            print(f"# {error.why}", flush=True)
            continue
        print(number.number, flush=True)
    journal.close()
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
