"""Puts unpacked wheels before everything else, as a plugin of pytest in the project's interpreter.

pytest itself puts folders of the checkout first: the parent of a test package, the folder of a
``conftest.py``, what ``pythonpath`` in the project's configuration names. A search path alone would
lose against them, and the tests would pass on the sources while the wheel is broken.

A copy of this file stands beside the folders it speaks for. It is loaded by ``-p``, so that workers
of pytest-xdist have it too. Any Python that runs pytest can read it: nothing of cxlocal is used.
"""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

FOLDERS = [str(one) for one in sorted(Path(__file__).parent.iterdir()) if one.is_dir()]


class Front:
    """Finds the modules of the wheels, whatever the search path says."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module in a wheel; None for all others, and for tests that a wheel brings along."""
        first, *others = name.split(".")
        if first in ("test", "tests", "conftest") or first.startswith("test_"):
            return None
        parents = [first, *others][:-1]
        places = [str(Path(folder, *parents)) for folder in FOLDERS]
        spec = PathFinder.find_spec(name, places)
        # A folder without __init__.py may have parts elsewhere; its modules are found one by one.
        return spec if spec is not None and spec.has_location else None


sys.meta_path.insert(0, Front)
