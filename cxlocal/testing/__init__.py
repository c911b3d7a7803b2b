"""For those who write tools and sinks: a bench to run verbs on, and contracts that each should keep.

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
    "cxlocal.testing.contract", "cxlocal.testing.component_contract", "cxlocal.testing.sinks"
)

from cxlocal.testing.bench import Bench, bench
from cxlocal.testing.component_contract import ComponentContract
from cxlocal.testing.contract import ToolContract
from cxlocal.testing.sinks import Receiver, SinkContract, example

__all__ = [
    "Bench", "ComponentContract", "Receiver", "SinkContract", "ToolContract", "bench", "example",
]  # fmt: skip
