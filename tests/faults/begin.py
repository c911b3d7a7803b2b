"""Makes a journal and a store, takes one number with the store up (which also leaves a reserve here) and
prints it: ``begin.py HOME``, for test_power_cut."""

import sys
from contextlib import closing
from pathlib import Path

from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import scheme_named


def begin(home: Path) -> int:
    """The number taken."""
    ids = SystemIds()
    request = NumberRequest(
        "shop", "1.0", scheme_named("semver"), ids.uuid(), {"id": "a", "how": "test"}
    )
    opened = Journal.open(home / "journal.db", clock=SystemClock(), ids=ids)
    with opened as journal, closing(SqliteStore("sqlite:", home)) as store:
        return obtain_number(journal, store, request).number


if __name__ == "__main__":
    print(begin(Path(sys.argv[1])), flush=True)
