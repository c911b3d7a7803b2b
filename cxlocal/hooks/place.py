"""Where a process runs: a laptop, or which CI server. A value; recognition is a hook."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where something happened, as recorded with every run."""

    kind: str
    """``laptop`` or ``ci``."""
    name: str = ""
    """Which CI: ``github-actions``, ``gitlab``, ``jenkins`` and so on; empty on a laptop."""
    run_url: str = ""
    run_id: str = ""
    """What identifies the run at that CI, the same in all its jobs."""
    attempt: str = ""
    number: str = ""
    """The number people see there."""
    revision: str = ""
    branch: str = ""
    actor: str = ""
    job: str = ""
