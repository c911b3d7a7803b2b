"""``cxlocal serve``: the store of this machine, or numbers of its reserve, for other machines, over
HTTPS.

The server is the package of the stores; it is imported by its name, since the core imports none of
the packages beside it, and only when it is needed.
"""

from __future__ import annotations

import getpass
import importlib
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from cxlocal.address import argument_address, public_address
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.frame import command
from cxlocal.commands.member_pages import make_pages_server
from cxlocal.commands.output import put
from cxlocal.commands.prepare import wanted_reserve
from cxlocal.commands.project import (
    Project,
    access_of,
    load_project,
    open_project_store,
    outlets_of,
)
from cxlocal.commands.served import how_to_join, read_authority, server_part
from cxlocal.commands.terminal import say, warn
from cxlocal.errors import CxError, ExitCode, Refused, UsageError
from cxlocal.exchange.destination import EMBEDDED
from cxlocal.exchange.messages import decode, encode
from cxlocal.exchange.open import is_own, require_agreed, reserve_size
from cxlocal.exchange.replica import look
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.store import Store
from cxlocal.exchange.sync import synchronise
from cxlocal.hooks.registered import schemes
from cxlocal.journal.file import Journal
from cxlocal.journal.rebuild import catch_up
from cxlocal.numbers.schemes import Scheme, scheme_named
from cxlocal.plan.resolve import resolve
from cxlocal.private import make_home
from cxlocal.processes.stdout import data
from cxlocal.runner.source import today
from cxlocal.sinks.delivery import Around, deliver
from cxlocal.text import quoted

DEFAULT_PORT = 8377
STORE_THREADS = {"sqlite": 1, "lend": 1}
"""Exchanges at once by engine. SQLite lets one write at a time; the others get THREADS."""
THREADS = 8
FIRST_JOB = "ci"
"""Whom the code of a lender enrols."""


@command(
    examples=[
        ("cxlocal serve --store sqlite:///srv/cx/store.db", "for this machine alone, to try it"),
        (
            "cxlocal serve --store sqlite:///srv/cx/store.db --host 0.0.0.0 --cert c.pem --key k.pem",
            "for others, with TLS",
        ),
        (
            "cxlocal serve --pages --store sqlite:///srv/cx/store.db --port 8378",
            "its history as pages, for members, beside the server before",
        ),
        (
            "cxlocal serve --lend --host 0.0.0.0 --cert c.pem --key k.pem",
            "no store: number CI jobs while the store is down",
        ),
    ]
)
@click.option("--store", "url", metavar="URL", help="The store to serve; else that of [store] url.")
@click.option(
    "--lend", is_flag=True, help="Serve no store: lend numbers of the reserve to CI jobs."
)
@click.option(
    "--pages", is_flag=True, help="Show the history of the store to its members, as pages."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True,
    help="Port to listen at; 0 takes any free one.",
)  # fmt: skip
@click.option(
    "--cert", type=click.Path(dir_okay=False), help="TLS certificate with its chain, PEM."
)
@click.option("--key", type=click.Path(dir_okay=False), help="Key of the certificate, PEM.")
@click.option(
    "--ca", type=click.Path(dir_okay=False),
    help="Authority of one's own that signed it; invitations name this file.",
)  # fmt: skip
@click.option("--members", type=click.Path(dir_okay=False), help="File of those enrolled.")
@click.option("--address", help="Where machines reach this, if it is not host and port.")
@click.option(
    "--behind-proxy",
    metavar="IP",
    default="",
    help="A proxy does TLS: its address, which alone is answered.",
)
@pass_app
def serve(
    app: App, url: str | None, lend: bool, pages: bool, host: str, port: int, cert: str | None, key: str | None,
    ca: str | None, members: str | None, address: str | None, behind_proxy: str,
) -> int:  # fmt: skip
    """Serve a store to other machines.

    The first start prints a code that enrols a machine which may invite others. Ctrl-C or SIGTERM
    ends it; machines carry on with their reserves meanwhile. With --lend this machine keeps its
    reserve fresh, and gives passing CI jobs a number of it when they cannot reach the store.
    """
    names = ("serving", "management", "members", "diary")
    serving, management, roster, diary = map(server_part, names)
    tls = _tls(serving, cert, key)
    proxy = serving.proxy_address(behind_proxy)
    serving.check_open(host, tls, bool(proxy))
    authority = read_authority(ca)[1] if ca else ""
    fresh: Any = nullcontext()
    if pages and lend:
        raise UsageError(
            "--pages and --lend exclude each other",
            why="the history of this machine is shown by 'cxlocal browse'",
            hint="cxlocal serve --pages --store URL",
            name="bad-options",
        )
    if lend:
        lending = Lending(app, url)
        chosen, open_one, fresh = LENDING, lending.open, lending.kept_fresh()
    else:
        chosen, open_one = _store_to_serve(app, url)
        relocation = importlib.import_module("cxlocal_sync.relocation")
        relocation.require_open(chosen, app.home(), "cxlocal serve --store", coming=False)
    make_home(app.home())
    path = management.members_path(chosen, app.home())
    roll = app.directory / members if members else path
    if pages:
        _serve_pages(app, (chosen, open_one, roll), (host, port, address), tls, proxy)
        return ExitCode.DONE
    if not lend and not roll.exists() and not is_own(chosen):
        _warn_of_history(open_one, roll)
    with fresh, serving.listen(host, port) as listener:
        # After all that may be wrong with what was typed: a start that fails leaves nothing behind.
        if not lend and not roll.exists():
            _begin(chosen, open_one)
        enrolled = roster.Members(roll)
        own = f"{'http' if tls is None else 'https'}://{_shown(host)}:{listener.getsockname()[1]}"
        reached = (address or own).rstrip("/")
        _warn_of_certificate(serving, tls, reached, authority)
        enrolled.set_value(management.ADDRESS, reached)
        enrolled.set_value(management.AUTHORITY, authority)
        enrolled.set_value(management.LENDS, "1" if lend else "")
        what = "Lending numbers" if lend else f"Serving {public_address(chosen)}"
        say(f"{what}; Ctrl-C ends it.")
        (_invite_job if lend else _invite_first)(enrolled, reached, authority)
        diary.log_to_stderr()
        # Last, so that whoever waits for the address finds everything said.
        put(own)
        data().flush()
        threads = STORE_THREADS.get(chosen.partition(":")[0], THREADS)
        try:
            server = serving.make_server(open_one, enrolled, tls, threads=threads, proxy=proxy)
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            say("Ended.")  # how one leaves this command: not an error
    return ExitCode.DONE


def _serve_pages(
    app: App, store: tuple[str, Callable[[], Store], Path], place: tuple[str, int, str | None],
    tls: Any, proxy: str,
) -> None:  # fmt: skip
    """Show what the members of a store may read: ``store`` with its file of members, at ``place``."""
    chosen, open_one, roll = store
    host, port, address = place
    serving = server_part("serving")
    if not roll.exists():
        raise UsageError(
            "nobody serves that store on this machine",
            why=f"who may look is in the file of members, and there is no {roll}",
            hint=f"cxlocal serve --store {quoted(public_address(chosen))}   begins to; beside it this"
            " command shows the pages",
            name="not-served",
        )
    with serving.listen(host, port) as listener:
        own = f"{'http' if tls is None else 'https'}://{_shown(host)}:{listener.getsockname()[1]}"
        reached = (address or own).rstrip("/")
        _warn_of_certificate(serving, tls, reached, "")
        shown = public_address(chosen)
        server = make_pages_server(app, shown, open_one, roll, reached, tls, proxy)
        server_part("diary").log_to_stderr()
        say(f"The pages of {shown}, for its members: cxlocal browse --store; Ctrl-C ends it.")
        put(own)
        data().flush()
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        say("Ended.")


def _invite_first(enrolled: Any, reached: str, authority: str) -> None:
    """Somebody has to invite the others, and says its name when it joins."""
    if enrolled.anybody(manage=True):
        return
    code = enrolled.invite("", Rights(manage=True))
    say("Nobody who may invite others is enrolled. On the machine that shall, within a day:")
    say(f"  {how_to_join(reached, code, authority)}")


def _invite_job(enrolled: Any, reached: str, authority: str) -> None:
    """The token goes to a CI server: it may borrow, and nothing else. Members of a lender are looked
    after on the lender."""
    if enrolled.anybody(manage=True):
        say(
            "A member here may invite others, and whoever holds its token: 'cxlocal store revoke NAME"
            " --store lend:' ends it (an earlier release printed such a code; NAME was admin)."
        )
    if enrolled.anybody():
        return
    code = enrolled.invite(FIRST_JOB, Rights(push=frozenset(), read=frozenset()))
    say("Nobody is enrolled who may borrow. For the secrets of the CI server, within a day:")
    say(f"  {how_to_join(reached, code, authority)} --print-token")


def _store_to_serve(app: App, url: str | None) -> tuple[str, Callable[[], Store]]:
    project = load_project(app)
    chosen = argument_address(url) or project.settings.store_url or EMBEDDED
    if chosen.startswith(("http:", "https:")):
        raise UsageError(
            f"{public_address(chosen)} is served already",
            why="a server stands before a store, not before another server",
            hint="name the store behind it: cxlocal serve --store sqlite:///srv/cx/store.db",
            name="served-already",
        )
    open_project_store(app, project, url).close()  # a wrong address is said at once
    return chosen, lambda: open_project_store(app, project, url)


def _begin(chosen: str, open_one: Callable[[], Any]) -> None:
    """Make the file of a store at the first start of its server: where nobody was ever enrolled, nobody
    can have been given a number by it. Later an empty place is no new store."""
    if chosen.startswith(EMBEDDED) and not is_own(chosen):
        with closing(open_one()) as store, suppress(Refused):
            store.create()


def _warn_of_history(open_one: Callable[[], Any], roll: Path) -> None:
    """Say that a store that was used begins without anybody who was enrolled."""
    with closing(open_one()) as store, suppress(CxError):
        told = decode(store.exchange(encode(look("")), timeout=LOOK_SECONDS))
        if told.get("look", {}).get("position"):
            warn(
                f"a list of members is begun at {roll}, and this store has a history: nobody who was enrolled"
                " before is let in. Probably CXLOCAL_HOME is another one than that of the server before"
                " or of 'store move', or the backup of the members was not put back: stop, and put the"
                " file there. Where nobody was enrolled yet this is as it should be"
            )


def _tls(serving: Any, cert: str | None, key: str | None) -> Any:
    if not cert and not key:
        return None
    if not cert or not key:
        raise UsageError(
            "TLS needs a certificate and its key",
            why="only one of the two is given",
            hint="give both --cert and --key",
            name="half-tls",
        )
    for option, name in (("--cert", cert), ("--key", key)):
        try:
            open(name, "rb").close()  # said by name here, not somewhere inside the server
        except OSError as error:
            raise UsageError(
                f"the file of {option} cannot be read",
                why=f"{name}: {error.strerror or error}",
                hint=f"see that {name} is there, and that {getpass.getuser()} may read it",
                name="no-tls-file",
            ) from error
    tls = serving.Tls(Path(cert), Path(key))
    serving.certificate_end(tls)
    return tls


def _warn_of_certificate(serving: Any, tls: Any, reached: str, authority: str) -> None:
    """Say before anybody is invited that nobody will be able to come."""
    if tls is not None and (why := serving.why_unfit(tls, reached, authority)):
        warn(
            f"machines that are told {reached} will refuse this server's certificate: {why}"
            " (--address names where they reach it, --ca who signed the certificate)"
        )


def _shown(host: str) -> str:
    """A host as other machines may name it."""
    if host in ("0.0.0.0", "::"):
        return socket.getfqdn()
    return f"[{host}]" if ":" in host else host


LENDING = "lend:"
"""What ``--store`` names where members of the lender are looked after on the lender itself."""
EVERY_SECONDS = 30.0
"""Between two exchanges with the store."""
LOOK_SECONDS = 5.0
"""For the first look into the store."""
ROUND_SECONDS = 5.0
"""For one exchange, and for ending."""


class Lending:
    """The journal of this machine, as something that lends. Raises UsageError and Refused where it
    has nothing anybody could borrow."""

    def __init__(self, app: App, url: str | None) -> None:
        if url:
            raise UsageError(
                "--lend and --store exclude each other",
                why="what is lent are numbers of this machine's reserve, which [store] url gave",
                hint="cxlocal serve --lend, beside cx.toml",
                name="bad-options",
            )
        self.app = app
        self.project: Project = load_project(app)
        require_agreed(access_of(app, self.project))
        if is_own(self.project.settings.store_url):
            raise Refused(
                "there is nothing to lend",
                why="this machine counts by itself: no other counts on with its numbers",
                hint="set [store] url to the store of the CI jobs",
                name="own-store",
            )
        self._why = ""

    def open(self) -> Any:
        """What the server asks."""

        return server_part("lending").LendingStore(self.app.journal, self._scheme)

    @contextmanager
    def kept_fresh(self) -> Iterator[None]:
        """Exchange with the store now, and again and again until the end of the block."""
        ended = threading.Event()

        def go_on() -> None:
            while not ended.wait(EVERY_SECONDS):
                self.exchange()

        self.exchange()
        thread = threading.Thread(target=go_on, name="cxlocal-fresh", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(2 * ROUND_SECONDS)

    def exchange(self) -> None:
        """One exchange, with the reserve of the project's line of today. What goes wrong is said
        once and ends nothing: lending is for the time when the store is away."""
        try:
            why = self._exchange()
        except CxError as problem:
            why = str(problem)
        if why and why != self._why:
            warn(f"the reserve is not refreshed: {why}")
        elif self._why and not why:
            say("The reserve is kept fresh again.")
        self._why = why

    def _exchange(self) -> str:
        store = open_project_store(self.app, self.project)
        try:
            with self.app.journal() as journal:
                report = synchronise(
                    journal, store, budget_seconds=ROUND_SECONDS, use_breaker=False
                )
                if report.reached and self.project.config is not None:
                    plan = resolve(self.project.config, today=today(self.app.clock))
                    count = reserve_size(self.project.config, self.project.settings)
                    wanted = wanted_reserve(plan, journal, count)
                    report = synchronise(
                        journal, store, budget_seconds=ROUND_SECONDS, use_breaker=False,
                        wanted=wanted,
                    )  # fmt: skip
                catch_up(journal)
                self._deliver(journal, store)
        finally:
            store.close()
        return report.why or report.stopped

    def _deliver(self, journal: Journal, store: Store) -> None:
        """Bring the sinks what they lack; how far each is, 'cxlocal sinks' says."""
        if self.project.settings.sinks:
            around = Around(*outlets_of(self.app, self.project))
            deliver(journal, around, ROUND_SECONDS, use_breaker=True, store=store)

    def _scheme(self, name: str) -> Scheme:
        return scheme_named(name, schemes(self.project.manager).values())
