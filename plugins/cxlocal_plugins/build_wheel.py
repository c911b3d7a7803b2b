"""Builds one wheel with the project's own backend (PEP 517), as a process of its own:

``python -m cxlocal_plugins.build_wheel SOURCE TARGET``

When every build requirement is installed in this interpreter's environment, the backend runs right
here: this is what works without a network. Otherwise pip makes an environment for the build, which
needs an index or a folder of wheels (``PIP_FIND_LINKS``, ``PIP_NO_INDEX``).

The exit code says what happened; ``TARGET/missing.json`` names what was missing here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from build import BuildBackendException, BuildException, ProjectBuilder, check_dependency
from build.env import DefaultIsolatedEnv

FAILED = 1
"""The backend said no, or the project is described wrongly."""
NOT_INSTALLED = 75
"""What the build needs could not be brought: trouble, and worth a retry (EX_TEMPFAIL)."""
MISSING = "missing.json"


def main(source: str, target: str) -> int:
    """Build; the exit code."""
    try:
        builder = ProjectBuilder(source)
        missing = _unmet(builder.build_system_requires)
        if not missing:
            # The backend itself is here; it may name further requirements.
            missing = _unmet(builder.get_requires_for_build("wheel"))
        (Path(target) / MISSING).write_text(json.dumps(missing), encoding="utf-8")
        if missing:
            return _build_isolated(source, target)
        builder.build("wheel", target)
    except (BuildException, BuildBackendException) as error:
        sys.stderr.write(f"ERROR {error}\n")
        return FAILED
    return 0


def _unmet(requirements: set[str]) -> list[str]:
    """Which of these, or of what they need in turn, is not installed here."""
    return sorted(
        {" needs ".join(chain) for one in requirements for chain in check_dependency(one)}
    )


def _build_isolated(source: str, target: str) -> int:
    with DefaultIsolatedEnv() as env:
        builder = ProjectBuilder.from_isolated_env(env, source)
        try:
            env.install(builder.build_system_requires)
            env.install(builder.get_requires_for_build("wheel"))
        except subprocess.CalledProcessError as error:
            sys.stderr.buffer.write((error.stdout or b"") + (error.stderr or b""))
            return NOT_INSTALLED
        builder.build("wheel", target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
