"""docs/examples/nginx: a balancer written from the docs alone, on a real nginx."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "nginx"


@pytest.mark.slow
@pytest.mark.needs("nginx")
@pytest.mark.timeout(180)
def test_it_keeps_the_contract_and_serves_by_weight(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", EXAMPLE],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(EXAMPLE), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0 and "17 passed" in done.stdout, done.stdout


def test_its_table_is_one(tmp_path: Path) -> None:
    text = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    table = tomllib.loads(text.partition("```toml\n")[2].partition("```")[0])["components"]["lb"]
    assert table["tool"] == "nginx" and table["mutable"] and set(table["with"]) == {"listen"}
