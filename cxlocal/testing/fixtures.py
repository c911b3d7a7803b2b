"""Fixtures for pytest. Import them into a conftest.py, or ``pytest_plugins = ["cxlocal.testing"]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxlocal.testing.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty checkout, an environment and real workers (``cxlocal.testing.Bench``)."""
    return Bench(tmp_path / "bench")
