"""Checkouts that commands lend: each has its own, and one that cannot be made leaves nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxlocal.clock import SystemIds
from cxlocal.errors import Trouble
from cxlocal.revision.repository import open_repository
from cxlocal.runner import opening
from cxlocal.runner.lent_checkouts import check_out_apart
from cxlocal.runner.opening import check_out_again
from cxlocal.runner.orphans import CHECKOUTS
from cxlocal.runner.workspace import discard


@pytest.fixture
def asked(tmp_path: Path, shop: Any) -> tuple[Any, Any, Any]:
    """A machine, a source and a run of its commit."""
    (shop.tree / "f").write_text("1\n")
    shop.push("one")
    plan = SimpleNamespace(filters=(), paths=(), stages=(), version=SimpleNamespace(stamp=()))
    record = SimpleNamespace(run="R", revision=shop.git("rev-parse", "HEAD"), version="", plan=plan)
    machine = SimpleNamespace(home=tmp_path / "runs-of", ids=SystemIds())
    return machine, SimpleNamespace(repository=open_repository(shop.tree)), record


def test_two_at_once_have_two(asked: tuple[Any, Any, Any]) -> None:
    one, other = (check_out_apart(*asked, "preview") for _ in range(2))
    assert one.source != other.source
    discard(other)
    assert (one.source / "f").read_text() == "1\n"


@pytest.mark.parametrize("broken", ["the commit", "the version in its files"])
@pytest.mark.parametrize("apart", [True, False])
def test_one_that_cannot_be_made_leaves_nothing(
    asked: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch, broken: str, apart: bool
) -> None:
    machine, _, record = asked
    if broken == "the commit":
        record.revision = "0" * 40
    else:
        record.version = "1.0"
        monkeypatch.setattr(opening, "stamp", refuse)
    with pytest.raises(Trouble):
        check_out_apart(*asked, "lent") if apart else check_out_again(*asked)
    assert list((machine.home / CHECKOUTS).iterdir()) == []


def refuse(*_: Any) -> None:
    raise Trouble("no", why="it is asked to", hint="none", name="broken")
