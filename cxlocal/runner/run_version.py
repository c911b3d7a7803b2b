"""The version of a run: asked for, or made up for a rehearsal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cxlocal.allocation.request import Number, NumberRequest
from cxlocal.exchange.open import reserve_size
from cxlocal.numbers.holdings import highest_known
from cxlocal.numbers.schemes import Scheme, numbers_in_tags
from cxlocal.revision.repository import Repository, version_tags
from cxlocal.runner.record import RunRecord, Version
from cxlocal.runner.source import Machine, Source, find_scheme, lender_finder

if TYPE_CHECKING:
    from cxlocal.exchange.store import Store
    from cxlocal.journal.file import Journal
    from cxlocal.numbers.stamp import Stamp, Stamped
    from cxlocal.plan.types import Plan


def take_version(
    machine: Machine, record: RunRecord, source: Source, store: Store | None
) -> Version:
    """A number for a release, and that the run has it: durable when this returns. ``store`` None: do
    not ask anybody.

    Raises StoreNeeded, Refused, Conflict and ConfigError.
    """
    from cxlocal.allocation.allocator import obtain_number

    journal, plan, run = record.journal, record.plan, record.run
    scheme = find_scheme(source.manager, plan)
    request = NumberRequest(
        plan.deliverable,
        plan.version.line,
        scheme,
        run,
        source.actor._asdict(),
        kept=source.kept,
        reserve=reserve_size(source.config, source.settings),
        ahead=plan.version.ahead,
        first=max(plan.version.first, adopted(journal, plan.deliverable, plan.version.line)),
        when_empty=plan.version.when_empty,
        only=plan.version.first if _is_final(journal, run) else None,
        tagged=tagged(journal, source, plan, scheme, online=store is not None),
        beside=lambda transaction, number: record.start(transaction, _version(number)),
    )
    patience = 0.0 if source.kept else float(source.settings.store_patience_seconds)
    find_lender = None if store is None else lender_finder(source, machine)
    number = obtain_number(
        journal, store, request, patience_seconds=patience, find_lender=find_lender
    )
    version = _version(number)
    if record.version != version.text:  # it was taken before, here or on another machine
        with journal.write() as transaction:
            record.start(transaction, version)
    return version


def _version(number: Number) -> Version:
    return Version(number.text, number.line, number.number, number.how)


def _is_final(journal: Journal, run: str) -> bool:
    row = journal.one("SELECT final_of FROM run WHERE id = ?", (run,))
    return bool(row and row["final_of"])


def adopted(journal: Journal, deliverable: str, line: str) -> int:
    """Where a line goes on above what was released before cxlocal came (``import --tags``); 0 for
    nothing. That is a span skipped from the very beginning of the line, here or on any machine
    whose events have arrived."""
    row = journal.one(
        "SELECT max(hi) AS hi FROM number_skip WHERE deliverable = ? AND line = ? AND lo = 0"
        " AND why IS NOT NULL",
        (deliverable, line),
    )
    return row["hi"] + 1 if row and row["hi"] is not None else 0


def tagged(journal: Journal, source: Source, plan: Plan, scheme: Scheme, *, online: bool) -> int:
    """The highest number of the line among the tags of the remote and of this clone: a clone of a
    CI server has none, and one of a person may have some that are not pushed yet.

    Asked only while the journal knows none of the line itself: then counting could begin below
    what was released before cxlocal came.
    """
    line = plan.version.line
    if highest_known(journal.connection, plan.deliverable, line) >= 0:
        return -1
    told = source.tags
    if told is None and online:
        from cxlocal.revision.proof import remote_tags

        told = remote_tags(source.repository, plan.remotes)
    tags = {*version_tags(source.repository), *(told or ())}
    part = is_part(plan, source.repository)
    return max(numbers_in_tags(scheme, plan.deliverable, line, tags, part=part), default=-1)


def is_part(plan: Plan, repository: Repository) -> bool:
    """Whether the deliverable is a folder of its repository, whose tags may be others'."""
    return bool(repository.prefix) or any(path.strip("./") for path in plan.paths)


def rehearsed(plan: Plan, scheme: Scheme, run: str, folder: Path) -> Version:
    """The version of a rehearsal in ``folder``: the text that names its run, or plain numbers where
    one of the places it goes to takes no more. Raises ConfigError."""
    from cxlocal.numbers.rehearsal import marked_text, plain_text, wants_plain

    text = marked_text(run)
    words = [stage.command for stage in plan.stages if stage.command]
    commands = [one if isinstance(one, str) else " ".join(one) for one in words]
    from cxlocal.numbers.stamp import takes

    rendered, stamps = scheme.render(plan.version.line, 0), stamps_of(plan)
    files = [one.file for one in stamps]
    if wants_plain(rendered, files, commands) or not takes(folder, stamps, text):
        text = plain_text(rendered)
    return Version(text, plan.version.line, None, "rehearsal")


def stamp(plan: Plan, folder: Path, version: str) -> list[Stamped]:
    """Write ``version`` at every stamp of the plan below ``folder``. Raises ConfigError."""
    if not plan.version.stamp:
        return []
    from cxlocal.numbers.stamp import apply_stamps

    return apply_stamps(folder, stamps_of(plan), version)


def check(plan: Plan, folder: Path) -> None:
    """Raise ConfigError where a stamp would not find its place, before a number is taken."""
    if plan.version.stamp:
        from cxlocal.numbers.stamp import check_stamps

        check_stamps(folder, stamps_of(plan))


def stamps_of(plan: Plan) -> list[Stamp]:
    """The stamps of the plan."""
    from cxlocal.numbers.stamp import Stamp

    return [Stamp(one.file, one.key, one.pattern) for one in plan.version.stamp]
