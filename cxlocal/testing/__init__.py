"""For those who write plugins: a bench to run verbs on, and contracts that each should keep.

Not here: tests of cxlocal itself.

::

    from cxlocal.testing import ToolContract

    class TestMine(ToolContract):
        tool = Mine
        with_table = {"folder": "src"}

        def prepare(self, bench):
            (bench.checkout / "src").mkdir()

pytest finds the tests of the contract in the class. Everything runs in real worker processes.
"""

from __future__ import annotations

import pytest

# Before the import, so that a broken promise is shown with its values.
pytest.register_assert_rewrite(
    "cxlocal.testing.contract",
    "cxlocal.testing.component_contract",
    "cxlocal.testing.sinks",
    "cxlocal.testing.target_contract",
)

from cxlocal.testing.bench import Bench, bench
from cxlocal.testing.component_contract import ComponentContract
from cxlocal.testing.contract import ToolContract
from cxlocal.testing.questions import question, read_report
from cxlocal.testing.sinks import Receiver, SinkContract, example
from cxlocal.testing.target_contract import TargetContract

__all__ = [
    "Bench", "ComponentContract", "Receiver", "SinkContract", "TargetContract", "ToolContract", "bench",
    "example", "question", "read_report",
]  # fmt: skip
