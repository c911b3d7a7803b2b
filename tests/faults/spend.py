"""Takes numbers from the reserve and prints each once it has it: ``spend.py HOME [COUNT]``.
Run by test_power_cut."""

import sys
from pathlib import Path

from cxlocal.allocation.allocator import obtain_number
from cxlocal.allocation.request import NumberRequest
from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal
from cxlocal.numbers.schemes import scheme_named

journal = Journal.open(
    Path(sys.argv[1]) / "journal.db", clock=SystemClock(), ids=SystemIds(), create=False
)
for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
    request = NumberRequest(
        "shop", "1.0", scheme_named("semver"), SystemIds().uuid(), {"id": "a", "how": "test"}
    )
    print(obtain_number(journal, None, request).number, flush=True)
