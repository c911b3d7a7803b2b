"""A place to try a tool: a checkout, an environment, and verbs that run in real workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemIds
from cxlocal.hooks.context import Ran, run_tool_here
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.tool import ArtifactRef, EnvironmentRef, Tool

RUN = "0f0e0d0c-0b0a-4908-8706-050403020100"
REVISION = "c" * 40


class Bench:
    """Runs verbs of tools as a release would.

    ``checkout`` is a folder to be filled; ``environment`` a lasting environment with a folder of
    its own; each verb gets an empty scratch folder.
    """

    def __init__(self, folder: Path, *, deliverable: str = "webshop") -> None:
        self.folder = folder
        self.deliverable = deliverable
        self.checkout = folder / "checkout"
        self.checkout.mkdir(parents=True)
        place = folder / "environment"
        place.mkdir()
        self.environment = EnvironmentRef(
            name="production", instance="production", lifetime="lasting", folder=place
        )
        self.ran: list[Ran] = []
        """Everything that ran here, oldest first."""
        self.resource = SystemIds().uuid()
        """What a verb is told that makes one instance or takes it away."""
        self.resources: set[str] = set()
        """Instances that were to be made here and not to be removed."""
        self.built: dict[str, dict[str, ArtifactRef]] = {}
        """What was built here, by version and name."""

    def run(
        self,
        tool: type[Tool],
        verb: str,
        with_table: Mapping[str, Any] | None = None,
        *,
        version: str = "1.0.0",
        run: str = RUN,
        artifacts: Mapping[str, ArtifactRef] | None = None,
        handle: Any = None,
        environment: bool = True,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        limit_seconds: float = 30.0,
        on_intend: Callable[[Any], None] | None = None,
        kill_after_seconds: float | None = None,
        mask_log: bool = True,
        **told: Any,
    ) -> Ran:
        """Run one verb to its end (``cxlocal.hooks.context.run_tool_here``).

        Without ``handle`` the last one that was made durable here is given, as in a release. ``told``:
        what else ``ctx`` has, such as ``resource``, ``component``, ``turn``, ``wanted``.
        Raises ConfigError for options that the tool does not take.
        """
        scratch = self.folder / f"scratch-{len(self.ran)}"
        scratch.mkdir()
        fields = Fields(
            checkout=self.checkout,
            scratch=scratch,
            version=version,
            run=run,
            revision=REVISION,
            stage=verb,
            deliverable=self.deliverable,
            environment=self.environment if environment else None,
            artifacts=dict(artifacts or {}),
            handle=self.last_handle() if handle is None else handle,
            **told,
        )
        ran = run_tool_here(
            tool,
            verb,
            fields,
            with_table=with_table,
            secrets=secrets,
            timeout_seconds=limit_seconds,
            env=env,
            on_intend=on_intend,
            kill_after_seconds=kill_after_seconds,
            mask_log=mask_log,
        )
        self.ran.append(ran)
        return ran

    def artifact(self, name: str, content: bytes) -> ArtifactRef:
        """A file as a stage before would have made it."""
        digest = sha256(content).hexdigest()
        path = self.folder / "artifacts" / digest / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return ArtifactRef(name=name, path=path, sha256=digest, size=len(content))

    def last_handle(self) -> Any:
        """The newest handle that became durable here; None if none."""
        return next((ran.intents[-1] for ran in reversed(self.ran) if ran.intents), None)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """An empty checkout, an environment and real workers (``cxlocal.testing.Bench``)."""
    return Bench(tmp_path / "bench")
