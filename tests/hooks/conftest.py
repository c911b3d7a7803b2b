"""A folder for plugins (``plugin_site.py``)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# Here and not in a package: every test file is loaded by itself.
sys.path.insert(0, str(Path(__file__).resolve().parent))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on our own module path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder
