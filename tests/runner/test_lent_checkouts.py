"""Checkouts that commands lend: each has its own, and one that cannot be made leaves nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxlocal.clock import SystemIds
from cxlocal.errors import Trouble
from cxlocal.revision.repository import open_repository
from cxlocal.runner import checkout_again, site
from cxlocal.runner.lent_checkouts import check_out_apart
from cxlocal.runner.opening import check_out_again
from cxlocal.runner.orphans import CHECKOUTS
from cxlocal.runner.workspace import Workspace, discard


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


WAYS = {
    "again": lambda asked, workspace: check_out_again(*asked),
    "apart": lambda asked, workspace: check_out_apart(*asked, "lent"),
    "beside a run": lambda asked, workspace: site._lent(workspace, asked[2]),
}


@pytest.mark.parametrize("broken", ["the commit", "the version in its files", "the disk"])
@pytest.mark.parametrize("way", WAYS)
def test_one_that_cannot_be_made_leaves_nothing(
    asked: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch, broken: str, way: str
) -> None:
    machine, source, record = asked
    commit, folder = record.revision, machine.home / CHECKOUTS / "own"
    workspace = Workspace(source.repository, commit, folder, folder / "source")
    record.version = "1.0"
    with monkeypatch.context() as here:
        if broken == "the commit":
            record.revision = "0" * 40
        else:
            here.setattr(checkout_again, "stamp", refuse if "version" in broken else full)
        if way == "beside a run" and broken != "the disk":
            assert WAYS[way](asked, workspace) is None
        else:
            with pytest.raises((Trouble, OSError)):
                WAYS[way](asked, workspace)
    assert [one for one in (machine.home / CHECKOUTS).rglob("*") if one.is_file()] == []
    record.revision = commit
    found: Any = WAYS[way](asked, workspace)
    assert (found.project / "f").read_text() == "1\n", "the next time it is made whole"


def test_one_lent_beside_a_run_is_made_once_and_has_its_version(
    asked: tuple[Any, Any, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, source, record = asked
    stamped = []
    monkeypatch.setattr(checkout_again, "stamp", lambda *told: stamped.append(told[1:]))
    workspace = Workspace(
        source.repository, "0" * 40, tmp_path / "own", tmp_path / "own" / "source"
    )
    assert site._lent(workspace, record) and stamped == [], "one without a version is not stamped"
    record.run, record.version = "S", "1.0"
    one, again = (site._lent(workspace, record) for _ in range(2))
    assert one is not None and again is not None and one.project == again.project
    assert stamped == [(one.project, "1.0")]


def refuse(*_: Any) -> None:
    raise Trouble("no", why="it is asked to", hint="none", name="broken")


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")
