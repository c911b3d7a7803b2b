"""What a run that began before was made from, checked out once more."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cxlocal.revision.repository import read_file
from cxlocal.runner.caches import key_contents
from cxlocal.runner.run_version import stamp
from cxlocal.runner.workspace import discard

if TYPE_CHECKING:
    from cxlocal.runner.record import RunRecord
    from cxlocal.runner.workspace import Workspace


def fill(found: Workspace, record: RunRecord) -> Workspace:
    """Check the commit of a run out, with its version in its files; of one that cannot be made nothing is left."""
    try:
        if not found.in_place:
            found.make(record.plan.paths, found.source)
        found = found._replace(key_contents=_key_contents(record, found))
        if record.version:
            stamp(record.plan, found.project, record.version)
    except (
        BaseException
    ):  # A signal, too, leaves no half checkout that somebody takes for a whole one.
        if not found.in_place:
            discard(found)
        raise
    return found


def _key_contents(record: RunRecord, workspace: Workspace) -> dict[str, bytes]:
    """Those of the commit, also where the tree was stamped when the run began in it."""
    found = key_contents(workspace.project, record.plan)
    stamped = {one.file for one in record.plan.version.stamp} if workspace.in_place else set()
    repository = workspace.repository
    for name in stamped & found.keys():
        path = os.path.join(repository.prefix, name)
        found[name] = read_file(repository, record.revision, path) or b""
    return found
