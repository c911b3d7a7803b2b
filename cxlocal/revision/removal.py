"""How a checkout is removed, whatever a build left in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cxlocal.errors import Trouble
from cxlocal.revision.git import decode


def remove_checkout(target: Path) -> None:
    """Delete a checkout with all a build left in it; links are removed, not followed.

    Nothing happens when it is gone. Raises Trouble ``not-removed`` when the system refuses.
    """
    try:
        try:
            shutil.rmtree(target)
        except FileNotFoundError:
            return
        except PermissionError:
            # Builds leave read-only folders (Go's module cache does).
            _unlock(target)
            shutil.rmtree(target)
    except OSError as error:
        raise Trouble(
            f"the checkout {decode(os.fsencode(target))} could not be removed",
            why=error.strerror or str(error),
            hint="see what still uses it, then: cxlocal prune",
            name="not-removed",
        ) from error


def _unlock(target: Path) -> None:
    """Make every folder below ``target`` ours to change; links stay as they are."""
    target.chmod(0o700)
    for folder, names, _ in os.walk(target):
        for name in names:
            inner = os.path.join(folder, name)
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
