"""A stage that stands in no plan: a single command may report any. It spares the commands that report
one the libraries that read a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxlocal.values import NamedTuple

if TYPE_CHECKING:
    from cxlocal.plan.types import Output, ReportRule, Stage


class FreeStage(NamedTuple):
    """What there is to know of a stage with nothing but a name; the fields are those of ``Stage``."""

    name: str
    kind: str = "task"
    tool: str = ""
    verb: str = ""
    environment: str = ""
    produces: tuple[Output, ...] = ()
    artifacts: tuple[str, ...] = ()
    reports: tuple[ReportRule, ...] = ()
    allow_empty: bool = False
    timeout_seconds: int = 0
    """None at all."""
    secrets: tuple[str, ...] = ()


if TYPE_CHECKING:
    AnyStage = Stage | FreeStage
