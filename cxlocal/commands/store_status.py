"""``cxlocal store status``: the store as this machine knows it after asking it once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, put, write_document, write_rows
from cxlocal.commands.project import Project, load_project, open_project_store
from cxlocal.commands.terminal import harmless
from cxlocal.errors import ExitCode
from cxlocal.exchange.followed import read_with as followed
from cxlocal.exchange.overview import overview
from cxlocal.exchange.standing import words_of_staying
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import synchronise
from cxlocal.journal.rebuild import catch_up
from cxlocal.text import counted

STATUS_SECONDS = 5.0
"""What asking the store for news may take before the status is shown as it was."""


@command(
    examples=[
        ("cxlocal store status", "machines, last contacts, reserves and how far numbers are"),
        ("cxlocal store status --json", "the same for a program"),
    ]
)
@json_option
@pass_app
def status(app: App, as_json: bool) -> int:
    """Show the store: machines, last contacts, reserves, what waits.

    Ends with 1 where a store hands out no numbers, with 5 where one cannot be reached.
    """
    project = load_project(app)
    named = app.journals()
    found = [_facts(app, project, path) for _, path in named]
    if as_json:
        write_document({"stores": found} if len(named) > 1 else found[0])
    else:
        for number, facts in enumerate(found):
            if number:
                put()
            _tell(facts)
    if any(facts["stopped"] for facts in found):
        return ExitCode.FAILURE
    return ExitCode.DONE if all(facts["reached"] for facts in found) else ExitCode.STORE_NEEDED


def _facts(app: App, project: Project, path: Path | None) -> dict[str, Any]:
    with app.journal(path=path) as journal:
        store = open_project_store(app, project, journal=journal)
        try:
            report = synchronise(journal, store, budget_seconds=STATUS_SECONDS, use_breaker=False)
            catch_up(journal)
            facts = {
                "url": store.url,
                "reached": report.reached,
                "why": report.why,
                "stopped": report.stopped,
                "left": report.left,
                "follows": followed(journal),
                "staying": words_of_staying(journal.connection, report.staying),
                **overview(journal),
                **_members_of(store, report.reached),
            }
        finally:
            store.close()
    _name_members(facts)
    return facts


def _members_of(store: Store, reached: bool) -> dict[str, Any]:
    ask = getattr(store, "members", None)
    if ask is None or not reached:
        return {"members": [], "contacts": []}
    found = ask()
    return {"contacts": found.pop("machines"), **found}


def _name_members(facts: dict[str, Any]) -> None:
    """Say beside each machine who it belongs to and when it was last in contact."""
    contacts = {row["node"]: row for row in facts.pop("contacts")}
    for row in facts["machines"]:
        seen = contacts.pop(row["node"], {})
        row["member"], row["last_contact"] = seen.get("member"), seen.get("last_at")
    facts["machines"] += [
        {"machine": f"({node[:8]})", "node": node, "host": None, "events": 0,
         "member": row["member"], "last_contact": row["last_at"], "here": False}
        for node, row in contacts.items()
    ]  # fmt: skip


def _tell(facts: dict[str, Any]) -> None:
    where = facts["url"] + ("" if facts["reached"] else f": cannot be reached ({facts['why']})")
    put(harmless(f"Store: {where}"))
    if facts["generation"]:
        put(f"Generation {facts['generation']}, {counted(facts['position'], 'entry', 'entries')}")
    if facts["stopped"]:
        put(harmless(f"Numbers are stopped: {facts['stopped']}"))
        if not facts["left"]:
            put("To do: cxlocal store recover")
    if facts["follows"] is not None:
        put(harmless(f"This machine follows {', '.join(facts['follows'])} only"))
    waiting = f"{counted(facts['pending'], 'event waits', 'events wait')} here to be sent"
    put(waiting if facts["pending"] else "Nothing waits here to be sent")
    for words in facts["staying"]:
        put(harmless(words))
    if facts["machines"]:
        put()
        rows = [
            {**row, "machine": row["machine"] + (" (this one)" if row["here"] else "")}
            for row in facts["machines"]
        ]
        write_rows(rows, ("machine", "member", "last_contact", "events"))
    if facts["lines"]:
        put()
        rows = [{**row, "reserves": _reserves(row["reserves"])} for row in facts["lines"]]
        write_rows(rows, ("deliverable", "line", "online_up_to", "reserves"))
    if facts.get("wrong_codes"):
        put(f"\nWrong codes tried so far: {facts['wrong_codes']}")


def _reserves(held: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['lo']} to {one['hi']} ({one['machine']})" for one in held)
