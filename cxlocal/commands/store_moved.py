"""``cxlocal store moved``: the store of this journal has another address now."""

from __future__ import annotations

import click

from cxlocal.address import argument_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.output import json_option, write_document
from cxlocal.commands.project import agreed, load_project, open_project_store
from cxlocal.commands.sync import describe
from cxlocal.commands.terminal import say
from cxlocal.exchange.contact import bind_address
from cxlocal.exchange.store import StoreUnreachable
from cxlocal.exchange.sync import synchronise


@command(
    examples=[
        ("cxlocal store moved https://store2.example.org:8377", "the same store, elsewhere"),
    ]
)
@click.argument("url")
@json_option
@pass_app
def moved(app: App, url: str, as_json: bool) -> None:
    """Say that the store this journal belongs to has moved to URL.

    It is asked there at once: where another store answers, or none, everything stays as it was. A
    journal is shown to its own store alone, so a new address wants a person's word.
    """
    argument_address(url)
    store = open_project_store(app, load_project(app), url)
    try:
        with app.journal() as journal:
            before = bind_address(journal, store.url)
            try:
                report = synchronise(journal, store, use_breaker=False)
                if not report.reached:
                    raise StoreUnreachable(
                        f"no store answers at {store.url} as this journal's own",
                        why=f"{report.why}; it stays bound to {before or 'none'}",
                        hint="see that the store is there, then again",
                        url=store.url,
                    )
            except BaseException:
                bind_address(journal, before)
                raise
    finally:
        store.close()
    agreed(app, url, "store moved")
    if as_json:
        write_document({"from": before, "to": store.url, "sync": report._asdict()})
    else:
        say(f"The store is at {store.url} now. {describe(report)}")
