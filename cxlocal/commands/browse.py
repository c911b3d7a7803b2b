"""``cxlocal browse``: the history of this machine as pages, by Datasette, in this process.

Nothing Datasette-specific is imported before the command runs. The pages, their words and their
stored queries come from ``datasette-metadata.yml`` and the package named in ``PAGES_PACKAGE``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import traceback
import webbrowser
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import uvicorn
from pluggy import HookimplMarker, PluginManager

from cxlocal.clock import SystemIds
from cxlocal.commands.context import App, pass_app
from cxlocal.commands.doors import Asgi, Front, OwnHost, ReadOnly, Scope, Sealed, WithKey
from cxlocal.commands.frame import command
from cxlocal.commands.members import open_management
from cxlocal.commands.output import put
from cxlocal.commands.terminal import say, warn
from cxlocal.config.load import read
from cxlocal.config.settings import settings
from cxlocal.errors import CxError, ExitCode, Trouble, UsageError
from cxlocal.exchange.state import store_state
from cxlocal.journal.home import journal_file
from cxlocal.journal.rebuild import catch_up
from cxlocal.processes.stdout import data
from cxlocal.zones import zone_of

PAGES_PACKAGE = "datasette_cxlocal"
METADATA_NAME = "datasette-metadata.yml"
HOST = "127.0.0.1"
"""Only this machine: a journal names people and places."""
SETTINGS = {
    "sql_time_limit_ms": 1000,  # a reader keeps writers waiting
    "suggest_facets": False,  # each suggestion would be a query over the whole table
    "default_page_size": 50,  # HTML of more rows costs more than any question
    "default_cache_ttl": 0,  # what was just released must show on reload
    "truncate_cells_html": 200,  # event documents are up to 256 KiB
    "allow_download": False,  # a copy made while somebody writes would be torn
}
CLOSE_SECONDS = 2
"""How long open pages may finish after Ctrl-C."""


@command(
    examples=[
        ("cxlocal browse", "open the history of this machine in the browser"),
        ("cxlocal browse --no-open --port 8001", "print the address only"),
        ("cxlocal browse --get /journal/live-now.json", "print one page, without a server"),
        ("cxlocal browse --store", "the pages of the store, where somebody serves them"),
        (
            'datasette "$(cxlocal journal path)" -m "$(cxlocal browse --metadata-path)"',
            "the same tables and queries in a Datasette of one's own",
        ),
    ]
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port; any free one else.")
@click.option("--no-open", is_flag=True, help="Do not open the browser.")
@click.option(
    "--metadata-path", is_flag=True, help="Print where words and queries for plain Datasette lie."
)
@click.option("--get", "page", metavar="PATH", help="Print the page at PATH and stop.")
@click.option(
    "--name", "names", multiple=True, metavar="HOST", help="Answer to this name, too: of a proxy."
)
@click.option("--prefix", default="/", metavar="PATH", help="The path of the pages behind a proxy.")
@click.option(
    "--store",
    "url",
    is_flag=False,
    flag_value="",
    metavar="[URL]",
    help="The pages of the served store instead, as far as this member may read them.",
)
@click.option("--feed", is_flag=True, help="With --store: addresses for a calendar and a reader.")
@click.option(
    "--open-to-all", is_flag=True, help="Without a key: a proxy asks, or everybody may read."
)
@pass_app
def browse(
    app: App,
    port: int,
    no_open: bool,
    metadata_path: bool,
    page: str | None,
    names: tuple[str, ...],
    prefix: str,
    url: str | None,
    feed: bool,
    open_to_all: bool,
) -> int:
    """Look at the history of this machine in the browser.

    Pages are read live from the journal: reload one to see what came since. Where the home holds one
    for each of several stores, each is a database. Nothing can be changed by them. Ctrl-C ends it.

    The printed address opens the pages once, and leaves a cookie in that browser: the port is open to every
    user of this machine, and the journal is yours.
    """
    if metadata_path:
        put(str(metadata_file()))
        return ExitCode.DONE
    if url is not None or feed:
        return _of_store(app, url, feed, no_open)
    refresh = Refresher(app)
    refresh.now()
    below = f"/{prefix.strip('/')}/" if prefix.strip("/") else "/"
    datasette = make_datasette(refresh.belonging, below, app.blocked, zone_here(app))
    if page is not None:
        return _print_page(datasette, page)
    with _listen(port) as listener:
        taken = listener.getsockname()[1]
        address = f"http://{HOST}:{taken}{below}"
        board = f"{below}journal/-/board" if len(refresh.belonging) == 1 else ""
        pages: Asgi = ReadOnly(Fresh(Front(build(datasette), below, board), refresh))
        if open_to_all:
            warn("Every user of this machine can read these pages (--open-to-all).")
        else:
            base = address
            door = WithKey(pages, f"cxlocal-{taken}", below, SystemIds(), lambda key: say(
                f"Opened. For another browser: {base}?key={key}"
            ))  # fmt: skip
            pages, address = door, f"{base}?key={door.key}"
        put(address)
        say("Ctrl-C ends it.")
        data().flush()
        if not no_open and has_display(app.environ, sys.platform):
            webbrowser.open(address)
        _serve(Sealed(OwnHost(pages, names)), listener)
    return ExitCode.DONE


def _of_store(app: App, url: str | None, feed: bool, no_open: bool) -> int:
    """Print, and open, where the pages of the served store are for this member."""
    with closing(open_management(app, url)) as store:
        if not hasattr(store, "pages"):
            raise UsageError(
                "pages of a store are opened by its members",
                why="this is the file of members itself",
                hint="name the https:// address of the server, on a machine that is enrolled there",
                name="not-a-member",
            )
        told = store.pages(feed)
    base = told["address"].rstrip("/")
    if feed:
        for form in ("ics", "atom"):
            put(f"{base}/journal/-/diary.{form}?key={told['key']}")
        say("Whoever has these addresses reads what you may read; asking for new ones ends them.")
        return ExitCode.DONE
    address = f"{base}/?key={told['key']}"
    put(address)
    say("It opens once, within ten minutes; that browser is let in for twelve hours.")
    data().flush()
    if not no_open and has_display(app.environ, sys.platform):
        webbrowser.open(address)
    return ExitCode.DONE


class Refresher:
    """Repairs and brings forward the journal before it is read.

    A process killed in the middle of a commit leaves a rollback journal that a read-only reader
    cannot use; opening the file for writing once undoes the half commit. Events that came without
    being projected (from an older cxlocal, or pulled) are projected.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self.said = ""
        self.belonging: dict[Path, str] = {}
        """The store of each journal of the home, as of the last refresh."""

    def now(self) -> None:
        """Raises CxError: no journal, damaged, busy."""
        for path in self.app.journal_paths() or [journal_file(self.app.home())]:
            with self.app.journal(create=False, path=path) as journal:
                catch_up(journal)
                self.belonging[path] = store_state(journal.connection).url

    def quietly(self) -> None:
        """The same while serving: a page of old rows is better than none. Says each problem once.

        A busy journal is no problem here: the reader waits by itself.
        """
        try:
            self.now()
        except CxError as problem:
            if problem.name != "journal-busy" and problem.what != self.said:
                self.said = problem.what
                warn(str(problem))


class Fresh:
    """The pages, with the journal refreshed before each of them."""

    def __init__(self, pages: Asgi, refresh: Refresher) -> None:
        self.pages = pages
        self.refresh = refresh

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "http" and not scope["path"].startswith("/-/static"):
            await asyncio.to_thread(self.refresh.quietly)
        await self.pages(scope, receive, send)


def metadata_file() -> Path:
    """``datasette-metadata.yml``: beside the pages in an installed wheel, at the top of the
    repository in a checkout. Raises Trouble."""
    spec = find_spec(PAGES_PACKAGE)
    package = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    for folder in (package, package.parents[1] if len(package.parents) > 1 else package):
        if spec is not None and (folder / METADATA_NAME).is_file():
            return folder / METADATA_NAME
    raise Trouble(
        f"{METADATA_NAME} is missing",
        why=f"it should lie in {package}",
        hint="install cxlocal again: pip install --force-reinstall cxlocal",
        name="no-metadata",
    )


def describe_each(metadata: dict[str, Any], stores: Iterable[str]) -> dict[str, Any]:
    """The words for several journals: those for one, for each by the name that Datasette gives it, with
    the address of its store. Pure."""
    named = {f"journal_{n}" if n > 1 else "journal": url for n, url in enumerate(stores, 1)}
    if len(named) == 1:
        return metadata
    words = json.dumps(metadata["databases"]["journal"])
    databases = {
        name: {
            **json.loads(words.replace('\\"journal/', f'\\"{name}/')),
            "title": f"Releases: {url or 'no store yet'}",
        }
        for name, url in named.items()
    }
    return {**metadata, "databases": databases}


def make_datasette(
    stores: Mapping[Path, str],
    prefix: str = "/",
    without: Sequence[str] = (),
    zone: str = "",
    limit_ms: int = SETTINGS["sql_time_limit_ms"],
    store: str = "",
) -> Any:
    """A Datasette over journals, each with the address of its store, with what the installed line
    understands, its pages below ``prefix``; ``without`` these plugins of others;
    their times are of ``zone``; a question is ended after ``limit_ms``. ``store``: whose history they
    show, where that is not this machine's. Raises Trouble."""
    with left_out(without):
        try:
            from datasette.app import Datasette
            from datasette.utils import parse_metadata
        except Exception as problem:  # any plugin of any distribution may raise here
            raise blame(problem, "Datasette could not be loaded", "no-datasette") from problem
    watch_plugins()
    text = metadata_file().read_text(encoding="utf-8")
    ours = {"plugins": {"cxlocal": {"zone": zone, "store": store}}}
    words = {**describe_each(parse_metadata(text), stores.values()), **ours}
    arguments: dict[str, Any] = {
        "metadata": words,
        "settings": {**SETTINGS, "base_url": prefix, "sql_time_limit_ms": limit_ms},
    }
    if not hasattr(Datasette, "get_canned_query"):
        # 1.0 takes words from metadata, and queries and page sizes from config only.
        arguments["config"] = {**describe_each(parse_metadata(text), stores.values()), **ours}
        # The file's own are for who starts Datasette by hand; given twice they are an error.
        arguments["config"].pop("settings", None)
    try:
        return Datasette([str(path) for path in stores], **arguments)
    except Exception as problem:  # a plugin may wrap the application already here
        raise blame(problem, "the pages cannot be made") from problem


def zone_here(app: App) -> str:
    """The zone of the times on pages, as the settings have it; empty for that of the machine. Raises
    UsageError for one that is not known here."""
    config = None
    with contextlib.suppress(CxError):  # what is wrong with a project keeps nobody from looking
        config = None if app.find_project() is None else read(str(app.project() / "cx.toml"))
    zone = settings(config, local=app.local(), environ=app.environ).zone
    if zone and zone_of(zone) is None:
        raise UsageError(
            f"[pages] zone: this machine knows no zone {zone[:80]!r}",
            why="zones are named as in Europe/Berlin, UTC or +05:45",
            hint="write one of these; 'cxlocal config show --origin' says where it stands",
            name="no-zone",
        )
    return zone


def has_display(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a browser could be shown to somebody."""
    if environ.get("CI") or environ.get("SSH_CONNECTION"):
        return False
    return platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def _listen(port: int) -> socket.socket:
    """A socket that listens already, so that no other program takes the port in between."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except OSError as problem:
        listener.close()
        raise Trouble(
            f"Port {port} cannot be used",
            why=problem.strerror or str(problem),
            hint="leave out --port to get a free one",
            name="port",
        ) from problem
    return listener


def build(datasette: Any) -> Asgi:
    """The pages as an ASGI application; whoever raises while they are made is named, once. Raises
    Trouble."""
    said: set[str] = set()

    def tell(problem: BaseException) -> None:
        words = str(blame(problem, "a page cannot be made"))
        if words not in said:
            said.add(words)
            warn(words)

    try:
        pages: Asgi = datasette.app()
    except Exception as problem:  # a plugin wraps the application, and may raise
        raise blame(problem, "the pages cannot be made") from problem
    WATCHERS.append(tell)

    async def guarded(scope: Scope, receive: Any, send: Any) -> None:
        try:
            await pages(scope, receive, send)
        except Exception as problem:
            tell(problem)
            raise

    return guarded


def _serve(pages: Asgi, listener: socket.socket) -> None:
    config = uvicorn.Config(
        pages, log_level="warning", lifespan="on", timeout_graceful_shutdown=CLOSE_SECONDS
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        say("Ended.")  # how one leaves this command: not an error


def _print_page(datasette: Any, page: str) -> int:
    async def fetch() -> tuple[int, str]:
        await datasette.invoke_startup()
        response = await datasette.client.get(page if page.startswith("/") else f"/{page}")
        return int(response.status_code), str(response.text)

    raised: list[BaseException] = []
    WATCHERS.append(raised.append)
    try:
        status, text = asyncio.run(fetch())
    except Exception as problem:  # a plugin may raise outside of what Datasette catches
        raise blame(problem, "a page cannot be made") from problem
    finally:
        WATCHERS.remove(raised.append)
    if status == 500 and raised:
        raise blame(raised[-1], "a page cannot be made") from raised[-1]
    put(text.replace("\r\n", "\n"), nl=not text.endswith("\n"))
    return ExitCode.DONE if status == 200 else ExitCode.FAILURE


OURS = "cxlocal"
"""The distribution of our own pages."""
_WATCHER = "cxlocal-watcher"
WATCHERS: list[Callable[[BaseException], None]] = []
"""Called with what is raised while a page is made, which Datasette turns into a page of status 500."""


@contextlib.contextmanager
def left_out(names: Collection[str]) -> Iterator[None]:
    """While Datasette is imported, and loads all plugins there are: leave those of the distributions
    ``names`` out, which may raise when they are imported. It has no setting for that in 0.65."""
    entries = {entry for _, name, entry in _entries() if name in names or entry in names}
    original = PluginManager.load_setuptools_entrypoints

    def load(self: PluginManager, group: str, name: str | None = None) -> int:
        for entry in entries if group == "datasette" else ():
            self.set_blocked(entry)
        return original(self, group, name)

    PluginManager.load_setuptools_entrypoints = load  # type: ignore[method-assign]
    try:
        yield
    finally:
        PluginManager.load_setuptools_entrypoints = original  # type: ignore[method-assign]


def watch_plugins() -> None:
    """Let Datasette tell ``WATCHERS``. Once for a process: its plugins belong to the process, too.

    Where the library rich is installed, 0.65 writes the local variables of each error out, and cookies are
    among them: it is kept from that.
    """
    if handling := sys.modules.get("datasette.handle_exception"):
        vars(handling)["rich"] = None

    interrupted = sys.modules["datasette.database"].QueryInterrupted

    def handle_exception(exception: BaseException) -> None:
        """Whatever a page raises; Datasette's own answers, such as 404, have a status, and a question that
        took too long is answered."""
        if not hasattr(exception, "status") and not isinstance(exception, interrupted):
            for tell in WATCHERS:
                tell(exception)

    pm: PluginManager = sys.modules["datasette.plugins"].pm
    if not pm.has_plugin(_WATCHER):
        watcher = ModuleType(_WATCHER)  # Datasette asks its plugins for the name of a module
        setattr(watcher, handle_exception.__name__, HookimplMarker("datasette")(handle_exception))
        pm.register(watcher, _WATCHER)


def blame(problem: BaseException, what: str, name: str = "page-plugin") -> Trouble:
    """The error that names the plugin, where it is one of another distribution."""
    others = {package: distribution for package, distribution, _ in _entries()}
    culprit = next((others[package] for package in _raised_in(problem) if package in others), "")
    why = f"{type(problem).__name__}: {problem}"
    out = [culprit] if culprit else sorted(set(others.values()))
    flags = "".join(f" -p no:{one}" for one in out)
    return Trouble(
        f"the Datasette plugin {culprit} raises" if culprit else what,
        why=f"{what}: {why}" if culprit else why,
        hint=f"cxlocal{flags} browse   leaves {'it' if culprit else 'the plugins of others'} out"
        if out
        else "install Datasette again: pip install --force-reinstall datasette",
        name=name,
    )


def _raised_in(problem: BaseException | None) -> Iterator[str]:
    """The packages in which it was raised, innermost first."""
    for _ in range(10):
        if problem is None:
            return
        if isinstance(problem, ImportError) and problem.name:
            yield problem.name.partition(".")[0]
        if isinstance(problem, SyntaxError) and problem.filename:
            yield Path(problem.filename).stem
        for frame, _ in reversed(list(traceback.walk_tb(problem.__traceback__))):
            yield str(frame.f_globals.get("__name__", "")).partition(".")[0]
        problem = problem.__cause__ or problem.__context__


def _entries() -> Iterator[tuple[str, str, str]]:
    """(package, distribution, entry) of each installed plugin of Datasette that is not ours."""
    for found in distributions(path=sys.path):
        for entry in found.entry_points:
            if entry.group == "datasette":
                name = str(found.metadata["Name"])
                if name != OURS:
                    package = entry.value.partition(":")[0].partition(".")[0].strip()
                    yield package, name, entry.name
