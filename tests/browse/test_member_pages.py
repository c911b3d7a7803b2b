"""The history of a served store as pages: whole servers, members with different rights, and what each of
them must not learn of the others."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from http.cookiejar import CookieJar
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import unquote, urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

import pytest

# The kit stands beside the contract suite; test folders are no packages.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "stores"))

from cxlocal_sync.http.members import Members
from cxlocal_sync.stores.sqlite import SqliteStore
from http_kit import ProcessServer, ThreadServer

from cxlocal.clock import SystemClock, SystemIds
from cxlocal.commands.replicas import Replica, Source
from cxlocal.errors import Refused
from cxlocal.exchange.rights import Rights
from cxlocal.exchange.state import store_state
from cxlocal.exchange.sync import synchronise
from cxlocal.projection.queries import QUERIES

OURS, THEIRS = "webshop", "geheimprojekt"
"""What Bob may read, and what he must not learn of."""
WORDS = (THEIRS, "Vorstand", "geheim.example.org", "77.77")
"""Of the other deliverable: its name, a person, an address, its numbers."""


class Got(NamedTuple):
    """An answer."""

    status: int
    headers: Any
    text: str


class Stay(HTTPRedirectHandler):
    """Redirects are looked at, not followed."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Browser:
    """One person's, with cookies."""

    def __init__(self, base: str) -> None:
        self.base, self.jar = base, CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self.jar), Stay())

    def get(self, path: str, method: str = "GET", **headers: str) -> Got:
        url = path if path.startswith("http") else self.base + path
        asked = Request(url, method=method, headers=headers)
        try:
            with self._opener.open(asked, timeout=20) as answer:
                return Got(answer.status, answer.headers, answer.read().decode())
        except HTTPError as answer:
            with answer:
                return Got(answer.code, answer.headers, answer.read().decode())

    def page(self, path: str) -> Got:
        """The page, as soon as what this member may read was fetched."""
        for _ in range(30):
            got = self.get(path)
            if got.status != 503:
                return got
        raise AssertionError(got.text)


class Site:
    """A store with two products, its server, and the server of its pages."""

    def __init__(self, folder: Path, kit: Any) -> None:
        self.folder = folder
        self.api = ProcessServer(folder / "central")
        self.machine = self.api.enrol(folder / "ada", "ada")
        for name, facts, number in (
            (OURS, {}, 1),
            (THEIRS, {"actor": "Vorstand <vorstand@geheim.example.org>"}, 9),
        ):
            self.record(kit, name, facts, number)
        self.pages = ProcessServer(folder / "pages", "--pages", store=self.api.store)
        self.clients = {
            name: self.api.enrol(folder / name, name, rights)
            for name, rights in (
                ("bob", Rights(frozenset(), frozenset(), frozenset({OURS}))),
                ("eve", Rights(frozenset(), frozenset(), frozenset())),
                ("mara", Rights(frozenset(), frozenset(), None)),
            )
        }

    def record(self, kit: Any, name: str, facts: dict[str, Any], number: int) -> None:
        """A release of a product, up to where it is live, by a machine of its own; sent to the store."""
        machine = kit.Machine(self.folder / f"{name}-{number}", kit.HandClock(), f"host-{number}")
        run = kit.Story(machine, f"{name} {number}", name, dict(facts))
        run.take(number, line="1.0" if name == OURS else "77.77").stage("build").package().tests()
        run.place("production").deploy("production", id=f"{name}-{number}").promote().end()
        assert synchronise(machine.journal, self.machine, use_breaker=False).reached
        machine.journal.close()

    def browser(self, name: str) -> Browser:
        """Somebody's browser, let in."""
        told = self.clients[name].pages(False)
        made = Browser(self.pages.url)
        assert told["address"] == self.pages.url
        opened = made.get(f"/?key={told['key']}")
        assert (opened.status, opened.headers["location"]) == (303, "/")
        return made

    def close(self) -> None:
        for client in (*self.clients.values(), self.machine):
            client.close()
        self.pages.stop()
        self.api.stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, journals: ModuleType) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("site"), journals)
    yield made
    made.close()


def test_a_member_opens_the_pages_once_and_stays_in(site: Site) -> None:
    key = site.clients["mara"].pages(False)["key"]
    first, second = Browser(site.pages.url), Browser(site.pages.url)
    got = first.get(f"/journal/-/board?key={key}&search=web")
    assert (got.status, got.headers["location"]) == (303, "/journal/-/board?search=web")
    cookie = got.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Max-Age=43200" in cookie
    assert second.get(f"/journal/-/board?key={key}").status == 403
    board = first.page("/journal/-/board")
    assert board.status == 200
    assert "Web shop" in board.text and THEIRS in board.text
    assert "As the store knows it" in board.text
    assert first.get("/").headers["location"] == "/journal/-/board"


def leaks(got: Got) -> list[str]:
    """The words of the other product in an answer."""
    said = f"{got.headers} {unquote(got.text)}"
    return [word for word in WORDS if word in said]


def _tables(bob: Browser) -> list[str]:
    told = json.loads(bob.page("/journal.json?_extra=tables,views").text)
    names = [
        one["name"] if isinstance(one, dict) else one for one in (*told["tables"], *told["views"])
    ]
    assert {"event", "run", "release_board", "deliverable"} <= set(names)
    return names


FORMS = (
    ".json?_size=max&_shape=array", ".csv?_stream=on&_size=max", "?_size=max", "?_facet=deliverable",
    "?_where=1=1", "?_where=deliverable+is+not+null", "?_nofacet=0&_facet_size=max", "?_sort=rowid",
)  # fmt: skip


def test_no_table_in_any_form_names_what_a_member_may_not_read(site: Site) -> None:
    bob = site.browser("bob")
    found = {}
    for table in _tables(bob):
        # Every form of those that name products; of each other one all its rows.
        forms = FORMS if table in ("event", "run", "deliverable", "number_ledger") else FORMS[:1]
        for form in forms:
            found[table + form] = bob.get(f"/journal/{table}{form}")
    assert {what: leaks(got) for what, got in found.items() if leaks(got)} == {}
    assert {found[table + FORMS[0]].status for table in ("event", "run", "release_board")} == {200}
    mara = site.browser("mara")
    assert leaks(mara.page(f"/journal/event{FORMS[0]}")) == list(WORDS)


STATEMENTS = (
    "select document from event", "select * from deliverable", "select group_concat(name) from node_lookup",
    "select * from grant_entry", "select * from version", "select * from local_value",
    "select * from sqlite_master", "select * from pragma_database_list", "select * from store_state",
    "attach database 'x.db' as other", "with a as (select 1) select * from a; select document from event",
    "select load_extension('x')", "select readfile('../store.db.members')", "vacuum into '/tmp/x'",
    "select * from contact", "select fts3_tokenizer('x')", "select writefile('x', 'y')",
)  # fmt: skip


@pytest.mark.parametrize("sql", STATEMENTS)
def test_no_statement_reaches_what_a_member_may_not_read(sql: str, site: Site) -> None:
    bob = site.browser("bob")
    bob.page("/journal/-/board")
    for path in (
        "/journal",
        "/journal.json",
        "/journal.csv",
        "/journal/-/query",
        "/journal/-/query.json",
    ):
        assert leaks(bob.get(f"{path}?{urlencode({'sql': sql})}")) == []


def test_what_may_not_be_read_looks_like_what_is_not_there(
    site: Site, journals: ModuleType
) -> None:
    """Ids and names that somebody knows from elsewhere are answered as any that nobody has."""
    bob = site.browser("bob")
    theirs, nobodys = (journals.run_id(name) for name in (f"{THEIRS} 9", "never"))
    pairs = [(f"deliverable={THEIRS}", "deliverable=never-was")]
    paths = [
        f"/journal/-/{page}"
        for page in ("board", "product", "figures", "difference", "run/latest", "diary")
    ]
    paths += [
        f"/journal/{query}" for query, told in QUERIES.items() if "deliverable" in told.parameters
    ]
    asked = [(f"{path}?{one}", f"{path}?{other}") for path in paths for one, other in pairs]
    asked += [
        (path.format(theirs), path.format(nobodys))
        for path in (
            "/journal/-/run/{}",
            "/journal/-/way/{}",
            "/journal/-/evidence/{}",
            "/journal/run/{}.json",
        )
    ]
    hidden = "x" * len(nobodys)
    for one, other in asked:
        mine, nobody = bob.page(one), bob.page(other)
        assert mine.status == nobody.status, one
        words = [
            re.sub(r"[0-9.]+ ?ms|datetime=\S+", "", got.text)
            .replace(theirs, hidden).replace(nobodys, hidden)
            .replace(THEIRS, "it").replace("never-was", "it")
            for got in (mine, nobody)
        ]  # fmt: skip
        assert words[0] == words[1], one


ABOUT_THE_SERVER = (
    "/-/databases.json", "/-/threads.json", "/-/versions.json", "/-/plugins.json", "/-/settings.json",
    "/-/metadata.json", "/-/config.json", "/-/actor.json", "/-/permissions", "/-/messages", "/-/allow-debug",
    "//-/databases.json", "/%2D/databases.json", "/-/../-/threads.json",
)  # fmt: skip


@pytest.mark.parametrize("path", ABOUT_THE_SERVER)
def test_pages_about_the_server_are_not_there(path: str, site: Site) -> None:
    got = site.browser("mara").get(path)
    assert got.status == 404
    assert str(site.folder) not in got.text


def test_the_file_itself_cannot_be_fetched_and_holds_nothing_else(site: Site) -> None:
    bob, mara = site.browser("bob"), site.browser("mara")
    for one in (bob, mara):
        one.page("/journal/-/board")
        assert one.get("/journal.db").status in (403, 404)
    files = list(Path(f"{site.api.members_path}.pages").glob("*/journal.db"))
    holding = [sum(word.encode() in path.read_bytes() for word in WORDS) for path in files]
    assert sorted(holding) == [0, len(WORDS)]
    assert {path.parent.stat().st_mode & 0o077 for path in files} == {0}


@pytest.mark.parametrize(
    "cookie", ["", "cxlocal-pages=", "cxlocal-pages=0", "cxlocal-pages=" + "0" * 64, "other=1"]
)
@pytest.mark.parametrize(
    "path", ["/", "/journal/-/board", "/journal.json", "/-/static/app.css", "/journal/-/diary.ics",
             "/journal/-/diary.ics?key=", "/journal/-/diary.atom?key=" + "0" * 64, "/?key=" + "0" * 64]
)  # fmt: skip
def test_strangers_see_nothing(cookie: str, path: str, site: Site) -> None:
    got = Browser(site.pages.url).get(path, cookie=cookie)
    assert got.status == 403
    assert "for members of the store" in got.text
    assert not leaks(got) and OURS not in got.text


def test_nothing_can_be_written(site: Site) -> None:
    mara = site.browser("mara")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert mara.get("/journal/run", method).status == 405


def test_who_may_read_nothing_gets_no_address(site: Site) -> None:
    with pytest.raises(Refused, match="eve may read nothing"):
        site.clients["eve"].pages(False)


def test_a_feed_has_a_key_of_its_own_that_the_next_one_ends(site: Site) -> None:
    bob = site.clients["bob"]
    first = bob.pages(True)["key"]
    reader = Browser(site.pages.url)
    for form, begins in (("ics", "BEGIN:VCALENDAR"), ("atom", "<?xml")):
        got = reader.page(f"/journal/-/diary.{form}?key={first}")
        assert got.status == 200 and got.text.startswith(begins) and "1.0.1" in got.text
        assert not leaks(got) and first not in got.text
    assert reader.get(f"/journal/-/board?key={first}").status == 403
    assert reader.get("/journal/-/board").status == 403  # it leaves no cookie
    cookie = site.browser("bob").jar
    assert first not in str(cookie)
    second = bob.pages(True)["key"]
    assert reader.get(f"/journal/-/diary.ics?key={first}").status == 403
    assert reader.get(f"/journal/-/diary.ics?key={second}").status == 200


def test_a_question_that_takes_too_long_is_ended(site: Site) -> None:
    mara = site.browser("mara")
    mara.page("/journal/-/board")
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    for path in ("/journal", "/journal/-/query"):
        got = mara.get(f"{path}?{urlencode({'sql': endless})}")
        if got.status in (301, 302):
            got = mara.get(got.headers["location"])
        assert got.status in (400, 404)


def test_rights_are_those_of_this_moment(site: Site, journals: ModuleType) -> None:
    """Given, taken and ended while a browser is open; what nobody may read any more is thrown away."""
    members = Members(site.api.members_path)
    site.clients["nina"] = site.api.enrol(
        site.folder / "nina", "nina", Rights(frozenset(), frozenset(), frozenset({THEIRS, "other"}))
    )
    nina = site.browser("nina")
    feed = site.clients["nina"].pages(True)["key"]
    assert THEIRS in nina.page("/journal/-/board").text
    assert "Web shop" not in nina.page("/journal/-/board").text
    before = set(Path(f"{site.api.members_path}.pages").iterdir())
    members.grant("nina", Rights(frozenset(), frozenset(), frozenset({OURS, "other"})))
    got = nina.page("/journal/-/board")
    assert "Web shop" in got.text and not leaks(got)
    assert len(before - set(Path(f"{site.api.members_path}.pages").iterdir())) == 1
    members.grant("nina", Rights(frozenset(), frozenset(), frozenset()))
    assert nina.get("/journal/-/board").status == 403
    members.grant("nina", Rights())
    assert nina.page("/journal/-/board").status == 200
    members.revoke("nina")
    for path in ("/journal/-/board", f"/journal/-/diary.ics?key={feed}"):
        assert nina.get(path).status == 403
    again = site.api.enrol(site.folder / "nina2", "nina", Rights())
    assert nina.get("/journal/-/board").status == 403  # the one who was let in was revoked
    again.close()
    members.close()


def test_what_is_new_at_the_store_is_on_the_next_pages(site: Site, journals: ModuleType) -> None:
    bob = site.browser("bob")
    assert "1.0.2" not in bob.page("/journal/-/board").text
    site.record(journals, OURS, {}, 2)
    until = time.monotonic() + 20
    while "1.0.2" not in bob.get("/journal/-/board").text:
        assert time.monotonic() < until


def test_machines_are_answered_whatever_happens_to_the_pages(
    site: Site, journals: ModuleType
) -> None:
    """The process of the pages hangs in the middle of everything, and is then killed."""
    assert site.pages.process is not None
    site.browser("bob").page("/journal/-/board")
    site.pages.process.send_signal(signal.SIGSTOP)
    try:
        site.record(journals, OURS, {}, 3)
    finally:
        site.pages.process.send_signal(signal.SIGCONT)
    site.pages.kill()
    site.record(journals, OURS, {}, 4)
    site.pages.start()
    assert "1.0.4" in site.browser("bob").page("/journal/-/diary?day=2026-11-23").text


def test_pages_stay_while_the_store_is_away(site: Site) -> None:
    bob = site.browser("bob")
    assert bob.page("/journal/-/board").status == 200
    store = site.api.home / "store.db"
    away = store.rename(store.with_name("away.db"))
    try:
        for _ in range(3):
            got = bob.get("/journal/-/board")
            assert got.status == 200 and "Web shop" in got.text
    finally:
        away.rename(store)


def test_one_member_does_not_take_the_whole_server(site: Site) -> None:
    """While one asks again and again for what takes a second, a colleague with the same rights reads."""
    site.clients["kim"] = site.api.enrol(
        site.folder / "kim", "kim", Rights(frozenset(), frozenset(), None)
    )
    greedy, kim = site.browser("mara"), site.browser("kim")
    endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select max(i) from n"
    path = f"/journal.json?{urlencode({'sql': endless})}"
    if greedy.page(path).status == 302:
        path = f"/journal/-/query.json?{urlencode({'sql': endless})}"
    with ThreadPoolExecutor(15) as threads:
        asked = [threads.submit(greedy.get, path) for _ in range(15)]
        wait(asked, return_when=FIRST_COMPLETED)
        assert kim.get("/journal/-/board").status == 200
        waiting = sum(not one.done() for one in asked)
        statuses = [one.result().status for one in asked]
    assert waiting
    assert set(statuses) == {400, 429}


def test_the_command_opens_them(site: Site, cx: Any, tmp_path: Path) -> None:
    env = {"CXLOCAL_HOME": str(site.folder / "bob")}
    done = cx("browse", "--store", site.api.url, "--no-open", cwd=tmp_path, env=env)
    assert done.code == 0, done.err
    assert "opens once" in done.err
    assert Browser(site.pages.url).get(done.out.strip()).status == 303
    done = cx("browse", "--store", site.api.url, "--feed", cwd=tmp_path, env=env)
    assert [Browser("").page(line).status for line in done.out.split()] == [200, 200]


@pytest.mark.parametrize(
    ("options", "words"),
    [(("serve", "--pages", "--lend"), "exclude each other"),
     (("serve", "--pages", "--store", "sqlite:///x.db"), "nobody serves that store"),
     (("browse", "--store", "sqlite:///x.db"), "does not serve that store")],
)  # fmt: skip
def test_what_cannot_be_shown_is_said(
    options: tuple[str, ...], words: str, cx: Any, tmp_path: Path
) -> None:
    given = [one.replace("sqlite:///", f"sqlite://{tmp_path}/") for one in options]
    done = cx(*given, cwd=tmp_path, env={"CXLOCAL_HOME": str(tmp_path / "home")})
    assert done.code == 2
    assert words in done.err


def test_a_store_without_pages_says_how_they_are_served(tmp_path: Path) -> None:
    server = ThreadServer(tmp_path / "central")
    client = server.enrol(tmp_path / "client")
    with pytest.raises(Refused) as refused:
        client.pages(False)
    assert refused.value.name == "no-pages" and "serve --pages" in refused.value.hint
    client.close()
    server.close()


def test_a_replica_of_a_store_that_was_put_back_is_made_anew(
    tmp_path: Path, journals: ModuleType
) -> None:
    """What it read and the store has no more must not stay on pages."""
    store = SqliteStore("sqlite:", tmp_path)
    machine = journals.Machine(tmp_path / "one", journals.HandClock(), "host")
    assert synchronise(machine.journal, store, use_breaker=False).reached
    shutil.copy(tmp_path / "store.db", tmp_path / "backup.db")
    lineage = store_state(machine.journal.connection).lineage
    journals.Story(machine, "later", OURS, {}).take(1).end()
    assert synchronise(machine.journal, store, use_breaker=False).reached
    said: list[str] = []
    source = Source(lambda: store, lambda: lineage, SystemClock(), SystemIds(), said.append)
    one = Replica(tmp_path / "replica", None, source)
    assert one.read() and not said
    store.close()
    shutil.copy(tmp_path / "backup.db", tmp_path / "store.db")
    store = SqliteStore("sqlite:", tmp_path)
    assert not one.read()
    assert not one.path.exists()
    assert said == ["the store has another history than what was read of it: "]
    assert one.read()
    with sqlite3.connect(one.path) as connection:
        assert connection.execute("SELECT count(*) FROM run").fetchone() == (0,)
    machine.journal.close()
