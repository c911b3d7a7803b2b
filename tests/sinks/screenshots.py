"""Writes ``docs/pages/together-*.png``: one run in its three repositories, each a server at work.

``python tests/sinks/screenshots.py`` releases a small project, whose logs go to systemd-journal-remote and
whose figures to a Pushgateway that Prometheus reads; opens the run's page in Chromium, and follows its
links. What ``cxlocal show`` says of the same run goes to the standard output, for docs/sinks.md.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import servers
import uvicorn
from playwright.sync_api import sync_playwright

from cxlocal.commands.browse import make_datasette

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pages"
GIT = ["git", "-c", "user.name=Mara", "-c", "user.email=mara@example.org"]
PROJECT = """\
cx = 1
[deliverable]
name = "shop"
[stages]
build = {{ kind = "build", command = "echo compiling; sleep 1; echo 214 files; date > app", produces = {{ app = "app" }} }}
unit = {{ needs = ["build"], command = "for n in 1 2 3 4; do echo test_$n passed; sleep 0.3; done" }}
live = {{ kind = "deploy", needs = ["unit"], environment = "live", command = "echo shop $CXLOCAL_VERSION is up" }}
[environments]
live = {{ protected = false }}
[sinks]
logs = {{ to = "journald+http://127.0.0.1:{journal}", ask = "journald+http://127.0.0.1:{gateway}" }}
metrics = {{ to = "pushgateway+http://127.0.0.1:{pushed}" }}
[links]
log = "http://127.0.0.1:{gateway}/entries?CX_RUN={{run}}&CX_STAGE={{stage}}"
metric = "http://127.0.0.1:{figures}/graph?g0.expr=cxlocal_stage_duration_seconds%7Bstage%3D%22{{stage}}%22%7D&g0.tab=0&g0.range_input=5m"
"""
SHOTS = {"run": (1250, 900), "log": (600, 90), "figures": (1100, 560)}
"""Width and height in pixels."""


def release(folder: Path, ports: dict[str, int]) -> str:
    """A run of the project, delivered; what ``show`` tells of it."""
    tree, remote = folder / "tree", str(folder / "remote.git")
    tree.mkdir()
    (tree / "cx.toml").write_text(PROJECT.format(**ports))
    (tree / ".gitignore").write_text("app\n")
    for words in (
        ["init", "-q", "--bare", remote], ["init", "-q", "."], ["add", "-A"],
        ["commit", "-q", "-m", "Refunds within a day"], ["remote", "add", "origin", remote],
        ["push", "-q", "-u", "origin", "HEAD:main"],
    ):  # fmt: skip
        subprocess.run([*GIT, *words], cwd=tree, check=True, capture_output=True)
    environ = {
        **os.environ, "CXLOCAL_HOME": str(folder / "home"), "CXLOCAL_ACTOR": "Mara <mara@example.org>",
    }  # fmt: skip
    program = str(Path(sys.executable).with_name("cxlocal"))
    for words in (["trust", "--yes"], ["run", "--no-input"], ["show"]):
        done = subprocess.run(
            [program, *words], cwd=tree, env=environ, check=True, capture_output=True, text=True
        )
    return done.stdout


@contextmanager
def pages_of(journal: Path) -> Iterator[str]:
    """The address of our pages on a journal."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        app = make_datasette({journal: ""}).app()
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/journal/-/"
        finally:
            server.should_exit = True
            thread.join()


def take(page: Any, name: str) -> None:
    """One picture, of the size that is named for it."""
    width, height = SHOTS[name]
    page.set_viewport_size({"width": width, "height": height})
    page.screenshot(path=FOLDER / f"together-{name}.png")


def main() -> int:
    """The exit code is 1 where a server does not have what its link promises."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = {name: folder / name for name in ("journal", "pushed", "figures")}
        for place in places.values():
            place.mkdir()
        ports = {"journal": stack.enter_context(servers.journal_remote(places["journal"]))}
        ports["gateway"] = stack.enter_context(servers.journal_gateway(places["journal"]))
        ports["pushed"] = stack.enter_context(servers.pushgateway(places["pushed"]))
        ports["figures"] = stack.enter_context(
            servers.prometheus(places["figures"], ports["pushed"])
        )
        print(release(folder, ports))
        base = stack.enter_context(pages_of(folder / "home" / "journal.db"))
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(base + "run/0.1.0")
        take(page, "run")
        log = page.locator("a[href*='CX_STAGE=unit']").first.get_attribute("href")
        figures = page.locator("a[href*='stage%3D%22unit']").first.get_attribute("href")
        page.goto(log or "")
        take(page, "log")
        told = page.content()
        asked = "/api/v1/query?query=cxlocal_stage_duration_seconds"
        servers.until(lambda: '"unit"' in servers.web_text(ports["figures"], asked))
        page.wait_for_timeout(4000)  # so that its curve has a few points
        page.goto(figures or "")
        page.wait_for_load_state("networkidle")
        take(page, "figures")
        browser.close()
    return int("test_4 passed" not in told or "compiling" in told)


if __name__ == "__main__":
    sys.exit(main())
