"""``cxlocal publish`` and ``cxlocal withdraw``: what the targets of a version hold, and what they should."""

from __future__ import annotations

import click

from cxlocal.commands.choose_run import choose_run
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.deploy import deploy_options
from cxlocal.commands.frame import command
from cxlocal.commands.joined import piece_journal
from cxlocal.commands.output import after_work, put, write_document, write_rows
from cxlocal.commands.project import how_to_send, leave, make_machine, send_copies
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import NotSynced, UsageError
from cxlocal.runner import publishing
from cxlocal.runner.publishing import Order
from cxlocal.runner.standing import CHECK, PUBLISH, WITHDRAW, Published, as_error
from cxlocal.text import counted

COLUMNS = ("target", "state", "files", "since", "why")


@command(
    examples=[
        ("cxlocal publish 2.7.14", "all of its targets: what is missing is put there"),
        ("cxlocal publish 2.7.14 --to pypi", "one of them"),
        ("cxlocal publish 2.7.14 --check", "ask what they hold; nothing is put"),
        ("cxlocal publish 2.7.14 --again pypi -m 'yanked by mistake'", "what was taken back"),
    ]
)
@click.argument("which", metavar="[VERSION|RUN]", default="")
@click.option("--to", "to", multiple=True, metavar="TARGET", help="This target; all, if left out.")
@click.option(
    "--check", "only_check", is_flag=True, help="Ask what is there, and record it; put nothing."
)
@click.option(
    "--again", "again", default="", metavar="TARGET", help="Put back what was taken back there."
)
@click.option("--allow-older", is_flag=True, help="Publish also where something newer is.")
@deploy_options
@pass_app
def publish(
    app: App, which: str, to: tuple[str, ...], only_check: bool, again: str, allow_older: bool,
    reason: str, offline: bool, require_sync: bool, as_json: bool,
) -> None:  # fmt: skip
    """Bring a version to its targets, and finish what was half done.

    Each target is asked first, file by file: what is there is left alone, what is missing is put, and other
    bytes are never replaced. Run again it changes nothing. The bytes come from this machine or the store.
    """
    if again and (to or only_check):
        raise UsageError(
            "--again names its target itself",
            why="what was taken back is put back at one target",
            hint="leave --to and --check out",
            name="bad-options",
        )
    if again and not reason.strip():
        raise UsageError(
            "--again needs a reason",
            why="what a person decides is kept with the reason for it",
            hint="-m WHY",
            name="no-reason",
        )
    order = Order(
        "", CHECK if only_check else PUBLISH, (again,) if again else to, reason, bool(again),
        allow_older, offline=offline,
    )  # fmt: skip
    _carry_out(app, which, order, as_json=as_json, require_sync=require_sync)


@command(
    examples=[
        ("cxlocal withdraw 2.7.14 -m 'loses data'", "from every target it was published to"),
        ("cxlocal withdraw 2.7.14 --from pypi -m 'wrong README'", "from one of them"),
    ]
)
@click.argument("which", metavar="VERSION|RUN")
@click.option(
    "--from", "targets", multiple=True, metavar="TARGET", help="This target; all, if left out."
)
@deploy_options
@pass_app
def withdraw(
    app: App, which: str, targets: tuple[str, ...], reason: str, offline: bool, require_sync: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Take a version back from its targets, as far as they let us.

    Where a person has to do it, the address is printed. Afterwards 'publish' leaves it alone and 'deploy' asks for --anyway.
    """
    if not reason.strip():
        raise UsageError(
            "taking a version back needs a reason",
            why="it is shown to everybody who meets the version",
            hint="-m WHY",
            name="no-reason",
        )
    order = Order("", WITHDRAW, targets, reason, offline=offline)
    _carry_out(app, which, order, as_json=as_json, require_sync=require_sync)


def _carry_out(app: App, which: str, order: Order, *, as_json: bool, require_sync: bool) -> None:
    """Do it, show how the version stands, send what was recorded, and end in the exit code."""
    with piece_journal(app, which) as journal:
        chosen = choose_run(app, journal, which, None, offline=order.offline)
        order = order._replace(run=chosen.run, run_named=chosen.named)
        machine = make_machine(app, fresh=False)
        if not order.offline:
            # What others published meanwhile is known, and what they built can be published.
            send_copies(app, journal, patient=False, run=order.run)
        done = publishing.carry_out(machine, journal, order)
        pending = send_copies(app, journal, offline=order.offline)
        bundle = leave(journal, machine.root)
    with after_work():
        if as_json:
            rows = [one._asdict() for one in done.targets]
            write_document({
                "run": done.run, "deliverable": done.deliverable, "version": done.version,
                "targets": rows, "not_sent_events": pending, "bundle": bundle,
            })  # fmt: skip
        else:
            _show(done, order)
            if bundle:
                put(bundle)
    if pending:
        warn(
            f"{counted(pending, 'event is', 'events are')} not with the store yet; 'cxlocal sync' sends them"
        )
    error = None if order.act == WITHDRAW and not done.problems else as_error(done, order.act)
    if error is not None:
        raise error
    if bundle or (pending and require_sync):
        raise NotSynced(
            f"{done.version} is published, and {counted(pending, 'event is', 'events are')} not at the store yet",
            why="the store could not be reached",
            hint=how_to_send(bundle),
            pending=pending,
            bundle=bundle,
        )


def _show(done: Published, order: Order) -> None:
    write_rows(
        [
            {
                "target": one.target,
                "state": one.state,
                "files": f"{one.files_there} of {one.files_total}" if one.files_total else "",
                "since": one.since,
                "why": one.why,
            }
            for one in done.targets
        ],
        COLUMNS,
    )
    for one in done.targets if order.act == WITHDRAW else ():
        if one.how:
            say(f"{one.target}: {one.how}")
    if order.act != WITHDRAW and not done.problems and as_error(done) is None:
        say(
            f"{done.version} is at {done.words} {'target' if len(done.targets) == 1 else 'targets'}"
        )
