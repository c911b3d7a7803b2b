"""Takes a number from the reserve and prints it once it has it: ``spend.py HOME``, for test_power_cut."""

import sys
from pathlib import Path

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import scheme_named


def spend(home: Path) -> int:
    """A number of the reserve in ``home``; ``StoreNeeded`` where it holds none."""
    file, ids = home / "journal.db", SystemIds()
    request = NumberRequest(
        "shop", "1.0", scheme_named("semver"), ids.uuid(), {"id": "a", "how": "test"}
    )
    with Journal.open(file, clock=SystemClock(), ids=ids, create=False) as journal:
        return obtain_number(journal, None, request).number


if __name__ == "__main__":
    print(spend(Path(sys.argv[1])), flush=True)
