"""A run says which version it repairs."""

from __future__ import annotations

from typing import Any

import pytest

from cxlocal.errors import UsageError
from cxlocal.runner.request import repaired


@pytest.mark.parametrize("version", ["2.7.106", "1.0rc1", "v3"])
def test_a_version_that_a_run_repairs(version: str) -> None:
    assert repaired(version) == version and repaired("") == ""


@pytest.mark.parametrize("version", ["a b", "-x", "../2", "$(id)", "2.7\n", "x" * 201])
def test_what_is_no_version_repairs_nothing(version: str) -> None:
    with pytest.raises(UsageError, match="cannot be a version"):
        repaired(version)


def test_a_run_says_what_it_repairs(shop: Any) -> None:
    shop.write('[stages.build]\ncommand = "true"\n')
    assert shop.command("run", "--fixes", "a b").code == 2
    assert shop.command("run", "--resume", "--fixes", "0.1.0").code == 2
    refused = shop.command("run", "--resume", "--unplanned")
    assert refused.code == 2 and "cxlocal run --anyway --unplanned --reason WHY" in refused.err
    assert shop.command("run", "--fixes", "0.0.9", "--unplanned").code == 0
    (row,) = shop.query("SELECT fixes, planned FROM run")
    assert tuple(row) == ("0.0.9", 0)
    assert shop.command("run").code == 0
    told = shop.query("SELECT coalesce(fixes, 'nothing') FROM run ORDER BY queued_at")
    assert told == ["0.0.9", "nothing"]
