"""The steps of the demo: plain commands in a folder, each of which a reader could type.

Nothing in cxlocal knows the demo. It writes a small repository with a home and a store of its own, and then calls ``git`` and the installed ``cxlocal``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cxlocal.values import NamedTuple

SOURCE = Path(__file__).with_name("webshop")
STORE, AWAY = "store", "store.away"

FIX_FILE = Path("src/webshop/__init__.py")
FIX = ('"cake": 320', '"cake": 290')
SMOKE_FIX = (Path("smoke/test_service.py"), '"pence": 570', '"pence": 540')
TEST_FIX = (Path("tests/test_prices.py"), "== 820", "== 790")


class Act(NamedTuple):
    """A heading for people, and the commands that follow it."""

    title: str
    commands: tuple[tuple[str, ...], ...]


class DemoFolders(NamedTuple):
    """The folders of a demo."""

    root: Path

    @property
    def shop(self) -> Path:
        """The working tree."""
        return self.root / "webshop"

    @property
    def home(self) -> Path:
        """The folder of its journal."""
        return self.root / "home"


def write_project(place: DemoFolders) -> None:
    """The working tree and a store beside it. ``cx.local.toml`` puts the journal there too, so
    that the demo leaves no trace elsewhere."""
    for source in sorted(SOURCE.rglob("*")):
        target = place.shop / source.relative_to(SOURCE)
        if source.is_file() and "__pycache__" not in source.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (place.root / STORE).mkdir()
    (place.shop / "cx.local.toml").write_text(
        "# What is about this machine only; git ignores it.\n"
        'home = "../home"\n\n'
        f'[store]\nurl = "sqlite://{place.root / STORE / "store.db"}"\n'
    )
    (place.shop / ".gitignore").write_text("cx.local.toml\n.cx/run\n__pycache__/\n")


def write_fix(place: DemoFolders) -> None:
    """Cake gets cheaper; the tests follow."""
    for file, old, new in ((FIX_FILE, *FIX), SMOKE_FIX, TEST_FIX):
        path = place.shop / file
        path.write_text(path.read_text().replace(old, new))


BEGINNING = Act(
    "A small web service in a git repository, and a remote it is pushed to",
    (
        ("git", "init", "-q", "-b", "main", "."),
        ("git", "init", "-q", "--bare", "-b", "main", "../webshop.git"),
        ("git", "config", "user.name", "cxlocal demo"),
        ("git", "config", "user.email", "demo@example.com"),
        ("git", "remote", "add", "origin", "../webshop.git"),
        ("git", "add", "."),
        ("git", "commit", "-q", "-m", "A web shop with two prices"),
        ("git", "push", "-q", "-u", "origin", "main"),
        ("cxlocal", "store", "create"),
    ),
)
FIRST = Act(
    "The whole process, with the store up",
    (("cxlocal", "run", "--to", "production"),),
)
OUTAGE = Act(
    "The store goes away, and a fix has to go out",
    (
        ("mv", f"../{STORE}", f"../{AWAY}"),
        ("git", "commit", "-q", "-a", "-m", "Cake costs less"),
        ("git", "push", "-q"),
        ("cxlocal", "run", "--to", "production"),
        ("cxlocal", "version", "list"),
    ),
)
RETURN = Act(
    "The store is back",
    (
        ("mv", f"../{AWAY}", f"../{STORE}"),
        ("cxlocal", "sync"),
        ("cxlocal", "version", "list"),
        ("cxlocal", "status"),
    ),
)
ACTS = (BEGINNING, FIRST, OUTAGE, RETURN)

Call = Callable[[tuple[str, ...], Path], None]


def play(
    place: DemoFolders, announce: Callable[[Act], None], call: Call, agree: Callable[[Path], None]
) -> None:
    """Carry out the acts in order. ``call`` runs one command and raises when it fails; ``agree``
    notes that the ``cx.local.toml`` in a folder is ours."""
    for act in ACTS:
        announce(act)
        if act is BEGINNING:
            write_project(place)
            agree(place.shop)
        if act is OUTAGE:
            write_fix(place)
        for command in act.commands:
            call(command, place.shop)
