"""What readers and gates are asked, as cxlocal asks it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxlocal.hooks import reading
from cxlocal.hooks.report import Report, ReportReader
from cxlocal.hooks.stage_view import GateQuestion


def read_report(reader: ReportReader, path: Path, *, suite: str = "unit") -> Report:
    """The report in ``path``, read and checked as in a release; what the reader does wrong is its problem."""
    return reading.read_report(reader, reader.format, path, suite)


def question(kind: str = "deploy", **fields: Any) -> GateQuestion:
    """A question to a gate: of a planned deployment to a lasting environment, but for ``fields``."""
    asked: dict[str, Any] = {
        "deliverable": "webshop", "version": "1.0.0", "run": "0f0e0d0c-0b0a-4908-8706-050403020100",
        "environment": "production", "promotion": "", "data_age_seconds": None,
        "facts": {"stages": [], "actor": "ada"}, "lifetime": "lasting",
        "asked_at": "2026-11-30T12:00:00.000Z",
    }  # fmt: skip
    return GateQuestion(kind, **{**asked, **fields})
