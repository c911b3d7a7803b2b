"""The environment variables that tell a stage where it is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cxlocal.domain import variable_part

if TYPE_CHECKING:
    from cxlocal.plan.placeholders import Artifact

PREFIX = "CXLOCAL_ARTIFACT_"


def artifact_variables(name: str) -> tuple[str, str, str]:
    """The variables for path, digest and ref of an artifact."""
    stem = PREFIX + variable_part(name)
    return stem, f"{stem}_DIGEST", f"{stem}_REF"


def stage_variables(
    *,
    version: str,
    run: str,
    revision: str,
    stage: str,
    environment: str = "",
    environment_uri: str = "",
    artifacts: Mapping[str, Artifact] | None = None,
) -> dict[str, str]:
    """What a stage gets. A stage without environment has no ``CXLOCAL_ENVIRONMENT`` at all, so that
    ``sh -u`` stops a command that expects one; the URI is set, perhaps empty, where there is one.
    """
    found = {
        "CXLOCAL_VERSION": version,
        "CXLOCAL_RUN": run,
        "CXLOCAL_REVISION": revision,
        "CXLOCAL_STAGE": stage,
    }
    if environment:
        found["CXLOCAL_ENVIRONMENT"] = environment
        found["CXLOCAL_ENVIRONMENT_URI"] = environment_uri
    for name, artifact in (artifacts or {}).items():
        path, digest, ref = artifact_variables(name)
        found[path], found[digest], found[ref] = artifact.path, artifact.digest, artifact.ref
    return found
