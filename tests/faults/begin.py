"""Makes a journal and a store, takes one number with the store up (which also leaves a reserve
here) and prints it. Run by test_power_cut."""

import sys
from pathlib import Path

from cxlocal_sync.stores.sqlite import SqliteStore

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import scheme_named

home = Path(sys.argv[1])
journal = Journal.open(home / "journal.db", clock=SystemClock(), ids=SystemIds())
store = SqliteStore("sqlite:", home)
request = NumberRequest(
    "shop", "1.0", scheme_named("semver"), SystemIds().uuid(), {"id": "a", "how": "test"}
)
print(obtain_number(journal, store, request).number, flush=True)
