"""Where a process runs: a laptop, or which CI server. A value; recognition is a hook."""

from __future__ import annotations

from cxlocal.values import NamedTuple


class Place(NamedTuple):
    """Where something happened, as recorded with every run."""

    kind: str
    """``laptop`` or ``ci``."""
    name: str = ""
    """Which CI: ``github-actions``, ``gitlab``, ``jenkins`` and so on; empty on a laptop."""
    run_url: str = ""
    """Where people look at the run at that CI."""
    run_id: str = ""
    """What identifies the run at that CI, the same in all its jobs."""
    attempt: str = ""
    """Attempt of the run, where the server counts those."""
    number: str = ""
    """The number people see there."""
    revision: str = ""
    """The commit that the CI server says it builds."""
    branch: str = ""
    """The branch it says."""
    actor: str = ""
    """Who started it there, as it says."""
    job: str = ""
    """The name of the job, the same whenever it is tried again."""
    job_id: str = ""
    """What identifies one execution of it."""
    job_attempt: str = ""
    """Attempt of the job, where the server counts those: a number that rises."""
    part: str = ""
    """Which part of a matrix or of parallel jobs this is; empty for none."""
    parts: str = ""
    """How many parts there are, where the server says so."""
