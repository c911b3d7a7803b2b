"""Our pages in a real browser: what people see on a desk, a phone and paper, by keyboard and by ear.

In the suite one journey through each page; ``--all`` looks at every page of every journal in every form.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from cxlocal.commands.browse import make_datasette

pytestmark = [pytest.mark.needs("chromium"), pytest.mark.timeout(300)]

PAGES = (
    "board", "run/latest", "run/2.7.100", "run/2.7.4", "diary", "product?deliverable=webshop",
    "way/2.7.100", "difference?older=2.7.1&newer=2.7.3", "then?at=2026-11-27T05:30&known=2026-11-27T05:10",
    "unusual", "figures", "machines", "evidence/2.7.100", "board?wall=1", "run/4.1.100", "run/nothing", "../nothing",
    "../?sql=with+recursive+c(x)+as+(select+1+union+all+select+x%2B1+from+c)+select+max(x)+from+c",
)  # fmt: skip
FORMS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 400, "height": 800}, "has_touch": True},
    "dark": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"},
    # At 200 % a desk of 1280 has room for 640.
    "double": {"viewport": {"width": 640, "height": 400}, "device_scale_factor": 2},
    "narrowest": {"viewport": {"width": 320, "height": 640}},
    "plain": {"viewport": {"width": 1280, "height": 800}, "java_script_enabled": False},
    "paper": {"viewport": {"width": 720, "height": 1000}},
}
JOURNALS = ("small", "hostile", "empty", "full", "open", "outage")
USUAL = [
    ("small", "desk"),
    ("hostile", "phone"),
    ("outage", "dark"),
    ("empty", "phone"),
    ("open", "paper"),
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which journals are looked at in which form."""
    if "form" in metafunc.fixturenames:
        everything = list(itertools.product(JOURNALS, FORMS))
        wanted = everything if metafunc.config.getoption("--all") else USUAL
        metafunc.parametrize(("journal", "form"), wanted)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system, in the sandbox where it is not started as root.

    Of this module only: while Playwright is here its loop runs in this thread, and no other can.
    """
    import os
    import shutil

    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        yield found
        found.close()


@pytest.fixture(scope="session")
def served(
    full_file: Path,
    empty_file: Path,
    small_file: Path,
    hostile_file: Path,
    open_file: Path,
    outage_file: Path,
) -> Iterator[dict[str, str]]:
    """The address of each journal's pages."""
    files = {"full": full_file, "empty": empty_file, "small": small_file, "hostile": hostile_file,
             "open": open_file, "outage": outage_file}  # fmt: skip
    servers, found = [], {}
    for name, path in files.items():
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = uvicorn.Server(uvicorn.Config(make_datasette({path: ""}).app(), log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        servers.append((server, thread, listener))
        found[name] = f"http://127.0.0.1:{listener.getsockname()[1]}/journal/-/"
    until = time.monotonic() + 30
    while not all(server.started for server, _, _ in servers) and time.monotonic() < until:
        threading.Event().wait(0.05)
    yield found
    for server, thread, listener in servers:
        server.should_exit = True
        thread.join(20)
        listener.close()


COVERED = """[...document.querySelectorAll('.cards td')].filter(one => one.offsetHeight
    && one.scrollHeight > one.clientHeight + 1).map(one => one.dataset.label)"""
"""Cells whose words or label are higher than they are."""


CUT = """[...document.querySelectorAll('main table, main svg')].filter(one =>
    getComputedStyle(one.parentElement).display !== 'none' && one.scrollWidth > one.parentElement.clientWidth + 1).length"""
"""Tables and pictures that go beyond what they stand in."""


def goes_beyond(page: Page) -> float:
    """By how many pixels the page is wider than the screen."""
    return float(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_a_page_fits_its_screen_and_can_be_heard(
    browser: Browser, served: dict[str, str], journal: str, form: str
) -> None:
    """Nothing is cut off or runs beyond; axe finds nothing; nothing acts, nothing is asked of others."""
    context = browser.new_context(**FORMS[form], bypass_csp=True)  # axe is put into the page
    page = context.new_page()
    noticed: list[str] = []
    page.on("dialog", lambda dialog: noticed.append(dialog.message))
    page.on("pageerror", lambda error: noticed.append(str(error)))
    page.on("request", lambda request: noticed.append(request.url)
            if not request.url.startswith("http://127.0.0.1:") else None)  # fmt: skip
    if form == "paper":
        page.emulate_media(media="print")
    for name in PAGES:
        page.goto(served[journal] + name + ("&" if "?" in name else "?") + "hold=1")
        assert goes_beyond(page) <= 0, name
        assert page.evaluate(COVERED) == [], f"{name}: a label lies over the next"
        if form == "paper":
            assert page.evaluate(CUT) == 0, f"{name}: a table or picture is wider than the paper"
        if form == "plain":
            assert page.locator("script, noscript").count() == 0, (
                "nothing is missed without scripting"
            )
            continue  # axe is a script
        found = Axe().run(page).response["violations"]
        told = [(one["id"], one["nodes"][0]["html"][:200]) for one in found]
        assert told == [], name
    assert noticed == []
    context.close()


def test_the_pages_can_be_walked_without_scripting_by_keyboard(
    browser: Browser, served: dict[str, str]
) -> None:
    """From the board to why a release failed, to its product, to the day."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(served["small"] + "board")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "To the content"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")
    page.get_by_role("link", name="Billing").first.click()
    assert page.get_by_role("heading", level=1).inner_text() == "Billing"
    page.get_by_role("link", name="4.1.1").last.click()
    assert "port 8080 is in use" in page.locator(".answer").inner_text()
    assert "bind: address already in use" in page.locator("pre.log").inner_text()
    box = page.locator("svg.cx-picture a").first  # what is drawn can be reached and followed
    box.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**#stage-*")
    assert page.locator("tr:target").count() == 1
    page.get_by_role("link", name="Diary").click()
    page.get_by_role("link", name="27 (Fri 27 Nov)").click()
    assert "1 in an emergency" in page.locator(".answer").inner_text()
    context.close()


OF_DATASETTE = {"html-has-lang", "heading-order", "label", "select-name"}
"""What no block of its templates and no style reaches."""


@pytest.mark.parametrize(
    "address", ["/", "/journal", "/journal/flag", "/journal/live-now", "/journal?sql=select+1"]
)
def test_pages_of_datasette_are_mended_where_templates_can(
    browser: Browser, served: dict[str, str], address: str
) -> None:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.route("**/*.js*", lambda one: one.abort())  # axe stumbles over some scripts of 1.0
    page.goto(served["small"].partition("/journal")[0] + address)
    found = Axe().run(page).response["violations"]
    told = {one["id"]: one["nodes"][0]["html"][:200] for one in found}
    assert {id: html for id, html in told.items() if id not in OF_DATASETTE} == {}
    context.close()


def test_our_pages_hold_to_their_own_policy(browser: Browser, served: dict[str, str]) -> None:
    """What our header forbids would be missed: a style that is not applied, a picture without colour."""
    context = browser.new_context()
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    for name in PAGES:
        page.goto(served["hostile"] + name)
        page.goto(served["small"] + name)
    assert [text for text in said if "Content Security Policy" in text] == []
    assert page.locator("body").evaluate("one => getComputedStyle(one).maxWidth") == "1216px"
    context.close()
