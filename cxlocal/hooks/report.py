"""Parsed reports: counts, cases, and what a report reader is."""

from __future__ import annotations

from pathlib import Path

from cxlocal.values import NamedTuple, Protocol

OUTCOMES = ("passed", "failed", "error", "skipped", "flaky")
"""What may become of a test case; *flaky*: failed, then passed when it was run again."""


class Case(NamedTuple):
    """One test case. Suite and name together are stable over runs, and one test's alone."""

    suite: str
    """The suite it belongs to."""
    name: str
    """Its name within the suite."""
    outcome: str
    """One of OUTCOMES."""
    seconds: float | None
    """How long it took; None where the report does not say."""
    message: str
    """First failure or error message, at most 1 KiB of UTF-8."""


class Report(NamedTuple):
    """What a reader makes of one report file. Counts are derived from the cases."""

    format: str
    """The name of the format, as in cx.toml."""
    suite: str
    """The suite the report is of."""
    cases: tuple[Case, ...]
    """Its cases, in the order of the report."""
    problem: str = ""
    """Why the file could be read only in part or not at all; empty when all was read."""

    def count(self, outcome: str) -> int:
        """How many cases have this outcome."""
        return sum(case.outcome == outcome for case in self.cases)

    @property
    def outcome(self) -> str:
        """failure if a case failed, else error if one has an error or the file was unreadable."""
        if self.count("failed"):
            return "failure"
        return "error" if self.problem or self.count("error") else "success"


class ReportReader(Protocol):
    """Reads one format. Reports come from untrusted builds: bounded memory, no entity expansion."""

    format: str
    """The name of the format it reads; what `reports` in cx.toml says."""

    def read(self, path: Path, *, suite: str) -> Report:
        """Never raises for bad content: ``problem`` says what was wrong."""
