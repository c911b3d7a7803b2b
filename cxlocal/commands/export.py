"""``cxlocal export``: events for other programs, and bundles and receipts for other machines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cxlocal.bundles.receipts import Written, write_receipt
from cxlocal.bundles.writer import ALL, UNSENT, Packed, pack
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.find_run import find_run
from cxlocal.commands.frame import command
from cxlocal.commands.output import harmless_json, json_option, put, write_document
from cxlocal.commands.project import load_project, open_project_store
from cxlocal.commands.site import Wanted, write_site
from cxlocal.commands.status import named_here
from cxlocal.commands.terminal import harmless, say, warn
from cxlocal.errors import UsageError
from cxlocal.events.export import FORMS
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.read import all_events, run_events
from cxlocal.journal.rebuild import catch_up
from cxlocal.projection.evidence import TOPICS, evidence_sentences, result_words
from cxlocal.projection.queries import QUERIES
from cxlocal.text import counted

RECEIPT_SECONDS = 60.0
"""For all questions of all machines; what is left unanswered is answered by the next receipt."""


@command(
    examples=[
        ("cxlocal export --format cdevents", "every event as a CDEvents document, one a line"),
        ("cxlocal export --format cdevents --run 2.7.14", "the events of one run"),
        ("cxlocal export --format cloudevents", "the same in CloudEvents envelopes"),
        ("cxlocal export --format journal", "with coordinates and hashes, as kept here"),
        ("cxlocal export evidence 2.7.14", "what proves a version, on one sheet"),
        ("cxlocal export --bundle /media/stick/a.bundle", "what the store lacks, to carry there"),
        ("cxlocal export --bundle all.bundle --all", "everything, for a machine with nothing"),
        ("cxlocal export --site history", "the pages as plain files: history/index.html"),
        ("cxlocal export --site shop -d webshop --zip", "of one product, as shop.zip"),
        ("cxlocal export --receipt /media/stick/a.receipt", "what the store says, to carry back"),
    ]
)
@click.argument("what", metavar="[evidence", type=click.Choice(["evidence"]), required=False)
@click.argument("version", metavar="VERSION]", default="")
@click.option(
    "--format",
    "form",
    type=click.Choice(["cdevents", "cloudevents", "journal"]),
    default="cdevents",
    show_default=True,
    help="The form of each line.",
)
@click.option("--run", "wanted", help="Only events of this run (id or version).")
@click.option("-d", "--deliverable", help="Only events of this deliverable.")
@click.option("--bundle", metavar="FILE", help="Write a bundle: what the store may lack.")
@click.option(
    "--all", "everything", is_flag=True, help="Bundle: everything held here; site: all releases."
)
@click.option("--reports", is_flag=True, help="Bundle: with the raw reports of its runs.")
@click.option("--receipt", metavar="FILE", help="Write a receipt for bundles imported here.")
@click.option("--site", metavar="DIR", help="Write the pages as plain files; 200 releases.")
@click.option("--since", default="", metavar="DAY", help="Site: releases since then, 2026-11-23.")
@click.option("--log-lines", is_flag=True, help="Site: with the last lines of what failed.")
@click.option("--zip", "as_zip", is_flag=True, help="Site: as one file, DIR.zip.")
@json_option
@pass_app
def export(
    app: App,
    what: str | None,
    version: str,
    form: str,
    wanted: str | None,
    deliverable: str | None,
    bundle: str | None,
    everything: bool,
    reports: bool,
    receipt: str | None,
    site: str | None,
    since: str,
    log_lines: bool,
    as_zip: bool,
    as_json: bool,
) -> None:
    """Print events, or write them into a file for another machine.

    Without a file: one JSON document a line. 'evidence VERSION' prints what proves a version. A bundle
    carries history to a store that this machine cannot reach, by stick or mail; 'cxlocal import' takes
    it in. A receipt carries back what the store said to it. A site is the pages of 'cxlocal browse', to
    be read without cxlocal. All of them are as confidential as the journal.
    """
    given = {
        "--bundle": bundle, "--receipt": receipt, "--site": site, "evidence": what, "--run": wanted,
        "--all": everything, "--reports": reports, "--since": since, "--log-lines": log_lines,
        "--zip": as_zip, "--deliverable": deliverable,
    }  # fmt: skip
    check_together([name for name, one in given.items() if one])
    if site:
        asked = Wanted(Path(site), deliverable or "", since, everything, log_lines, as_zip)
        wrote = write_site(app, asked)
        if as_json:
            write_document(wrote._asdict())
        return
    if what:
        _print_evidence(app, version, deliverable, as_json=as_json)
        return
    if bundle:
        with app.journal(create=False) as journal:
            catch_up(journal)
            packed = pack(
                journal, Path(bundle), scope=ALL if everything else UNSENT, reports=reports
            )
        _tell(packed, describe_bundle(packed), as_json=as_json)
        if packed.left_out:
            warn(
                f"{packed.left_out} machines' histories are not in it: this machine does not follow"
                " all they worked on ('cxlocal store follow --all', then 'cxlocal sync')"
            )
    elif receipt:
        written = _write_receipt(app, Path(receipt))
        _tell(written, _describe_receipt(written), as_json=as_json)
        for why in written.unanswered:
            warn(f"the store did not answer a machine's questions: {why}")
    else:
        _print_events(app, form, wanted, deliverable)


TOGETHER = {
    "--bundle": ("--all", "--reports"), "--receipt": (), "evidence": ("--deliverable",),
    "--site": ("--deliverable", "--since", "--all", "--log-lines", "--zip"),
    "": ("--run", "--deliverable"),
}  # fmt: skip
"""What is written, and what may be said of it; printed events where nothing is."""


def check_together(given: list[str]) -> None:
    """One thing is written, with what belongs to it. Raises UsageError."""
    forms = [name for name in TOGETHER if name in given]
    kind = forms[0] if forms else ""
    odd = [name for name in given if name != kind and name not in TOGETHER[kind]]
    if not odd:
        return
    named = {"": "printed events", "evidence": "evidence"}.get(kind, f"export {kind}")
    raise UsageError(
        f"{named} and {', '.join(odd)} exclude each other",
        why="a bundle, a receipt, a site, evidence and printed events are written one at a time",
        hint="'cxlocal export --help' shows what belongs together",
        name="bad-options",
    )


def _tell(what: Packed | Written, words: str, *, as_json: bool) -> None:
    if as_json:
        write_document(what._asdict())
    else:
        say(words)


def describe_bundle(packed: Packed) -> str:
    """What a bundle holds, in one line."""
    machines = "this machine" if packed.machines <= 1 else counted(packed.machines, "machine")
    parts = [f"{counted(packed.events, 'event')} of {machines}"]
    if packed.reports:
        parts.append(f"{packed.reports} raw reports")
    if packed.asks:
        parts.append(f"asks for a reserve of {', '.join(packed.asks)}")
    return f"Wrote {packed.path}: {', '.join(parts)}; {packed.bytes} bytes."


def _write_receipt(app: App, path: Path) -> Written:
    with app.journal(create=False) as journal:
        store = open_project_store(app, load_project(app), journal=journal)
        try:
            # The newest word of the store, where it can be had; else what it said last.
            synchronise(journal, store, budget_seconds=RECEIPT_SECONDS, use_breaker=False)
            return write_receipt(journal, store, path, RECEIPT_SECONDS)
        finally:
            store.close()


def _describe_receipt(written: Written) -> str:
    machines = counted(written.machines, "machine")
    return (
        f"Wrote {written.path}: the store's word to {machines},"
        f" with {written.answers} answered; {written.bytes} bytes."
    )


def _print_events(app: App, form: str, wanted: str | None, deliverable: str | None) -> None:
    with app.journal(create=False) as journal:
        if wanted is not None:
            catch_up(journal)
            run = find_run(journal, wanted, deliverable, here=named_here(app))["run"]
            found = run_events(journal, run)
            events = iter(found)
        else:
            events = (event for _, event in all_events(journal))
        for event in events:
            if deliverable is None or event.deliverable == deliverable:
                put(harmless_json(FORMS[form](event)))


def _print_evidence(app: App, version: str, deliverable: str | None, *, as_json: bool) -> None:
    with app.journal(create=False) as journal:
        catch_up(journal)
        found = find_run(journal, version, deliverable, here=named_here(app))
        query = QUERIES["evidence"]
        rows = journal.query(query.sql, {"run": found["run"], "deliverable": ""})
    said = evidence_sentences(rows)
    if as_json:
        write_document({"run": found["run"], "deliverable": found["deliverable"],
                        "version": found["version"], "sentences": said, "rows": rows})  # fmt: skip
        return
    put(harmless("\n".join(sheet(f"{found['deliverable']} {found['version'] or found['run'][:8]}", said, rows)), keep="\n"))  # fmt: skip


def sheet(name: str, said: list[str], rows: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the sheet of a version. Pure."""
    yield f"What proves {name}"
    yield ""
    yield from said
    for topic, title in TOPICS.items():
        about = [row for row in rows if row["topic"] == topic]
        if about:
            yield f"\n{title}"
        for row in about:
            parts = (
                row["name"],
                result_words(topic, row["result"] or ""),
                row["who"],
                row["at"],
                row["words"],
            )
            yield "  " + " · ".join(str(part) for part in parts if part)
            if row["sha256"]:
                yield f"    SHA-256 {row['sha256']}"
    yield "\nTo check it: 'cxlocal verify' recomputes every hash of the record; 'sha256sum FILE' that of a file."
