"""Environments made of components, of toys: see ``toys.py``."""

from __future__ import annotations

import sys
from pathlib import Path

from cxlocal.testing import bench

# Here and not in a package: every test file is loaded by itself.
sys.path.insert(0, str(Path(__file__).resolve().parent))

__all__ = ["bench"]
