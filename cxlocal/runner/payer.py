"""Paying debts: what tools created is destroyed by the same tools, with the handle alone."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cxlocal.domain import Outcome, path_part
from cxlocal.errors import CxError, Trouble
from cxlocal.hooks.manager import Manager, find_tool
from cxlocal.hooks.messages import Fields
from cxlocal.hooks.tool import EnvironmentRef, Tool, verbs_of
from cxlocal.hooks.tool_worker import ToolRequest, ToolWorker
from cxlocal.private import make_folder
from cxlocal.processes.child import Child, End
from cxlocal.processes.environment import stage_environment
from cxlocal.processes.log import StageLog
from cxlocal.processes.mask import Masker
from cxlocal.processes.supervisor import Supervisor
from cxlocal.runner.debts import Debt, paid
from cxlocal.runner.record import RunRecord
from cxlocal.runner.work import Launch, environment_folder

HURRIED_SECONDS = 4.0
"""Limit for paying one debt after a signal: everything must be over within 10 s then. What is not
paid by then stays owed, and the next command pays it."""


class Payer(NamedTuple):
    """Pays debts: one ``destroy`` for each thing created, newest first."""

    record: RunRecord
    manager: Manager
    environ: Mapping[str, str]
    secrets: Mapping[str, str]
    limit_seconds: float

    def pay(self, owed: list[Debt]) -> Generator[Launch, End, list[tuple[Debt, str]]]:
        """Pay what can be paid; what could not be, with the reason. Unpaid ones are flagged."""
        unpaid: list[tuple[Debt, str]] = []
        mask = Masker(self.secrets.values())
        for debt, ids in latest(owed):
            try:
                reason = yield from self._pay(debt)
            except (CxError, OSError) as problem:
                reason = str(problem)
            if not reason:
                paid(self.record.journal, ids)
                continue
            reason = mask.text(reason)
            unpaid.append((debt, reason))
            text = f"{debt.tool} could not destroy what it created in {debt.instance}: {reason}"
            self.record.record(self.record.flag_draft("not-destroyed", text, debt.instance))
        return unpaid

    def _pay(self, debt: Debt) -> Generator[Launch, End, str]:
        tool = find_tool(self.manager, debt.tool)
        if "destroy" not in verbs_of(tool):
            return f"the tool {debt.tool} has no verb destroy"
        journal = self.record.journal
        place = environment_folder(journal.home, debt.deliverable, debt.instance)
        scratch = place / f".destroy-{debt.id}-{journal.ids.token()[:8]}"
        make_folder(scratch)
        log = StageLog.create(
            journal.home / "logs" / path_part(debt.run),
            f"destroy-{debt.stage}",
            masker=Masker(self.secrets.values()),
        )
        worker = self._worker(tool, debt, place, scratch, log)

        def launch(supervisor: Supervisor, tag: object) -> Child:
            return worker.start(
                supervisor,
                env=stage_environment(self.environ),
                sink=log,
                timeout_seconds=self.limit_seconds,
                tag=tag,
                grace_seconds=1.0,
            )

        try:
            end = yield launch
        finally:
            log.close()
            shutil.rmtree(scratch, ignore_errors=True)
        found = worker.outcome(end)
        return "" if found.outcome == Outcome.SUCCESS else found.reason or str(found.outcome)

    def _worker(
        self, tool: type[Tool], debt: Debt, place: Path, scratch: Path, log: StageLog
    ) -> ToolWorker:
        fields = Fields(
            checkout=scratch,
            scratch=scratch,
            version=self.record.version,
            run=debt.run,
            revision=self.record.revision,
            stage=debt.stage,
            deliverable=debt.deliverable,
            environment=EnvironmentRef(
                name=debt.environment, instance=debt.instance, lifetime=debt.lifetime, folder=place
            ),
            handle=debt.handle,
        )
        secrets = {name: self.secrets[name] for name in tool.secrets if name in self.secrets}
        request = ToolRequest(tool, "destroy", debt.options, fields, secrets)
        return ToolWorker(request, on_intend=_refuse_intent, on_progress=log.note)


def _refuse_intent(handle: Any) -> None:
    raise Trouble(
        "destroy creates nothing, so it has nothing to intend",
        why="an intent names what a later destroy has to take away",
        hint="leave ctx.intend out of the tool's destroy",
    )


def latest(owed: list[Debt]) -> list[tuple[Debt, list[int]]]:
    """The last handle of each tool and stage, with all the debts it stands for. ``owed`` is newest
    first: a later handle describes what an earlier one began."""
    groups: dict[tuple[str, str, str], list[Debt]] = {}
    for debt in owed:
        groups.setdefault((debt.instance, debt.tool, debt.stage), []).append(debt)
    return [(found[0], [one.id for one in found]) for found in groups.values()]
