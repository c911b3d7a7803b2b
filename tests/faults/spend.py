"""Takes three numbers from the reserve and prints each once it has it. Run by test_power_cut."""

import sys
from pathlib import Path

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.journal.file import Journal
from cxlocal.numbers.obtain import NumberRequest, obtain_number
from cxlocal.numbers.schemes import scheme_named

journal = Journal.open(
    Path(sys.argv[1]) / "journal.db", clock=SystemClock(), ids=SystemIds(), create=False
)
for _ in range(3):
    request = NumberRequest(
        "shop", "1.0", scheme_named("semver"), SystemIds().uuid(), {"id": "a", "how": "test"}
    )
    print(obtain_number(journal, None, request).number, flush=True)
