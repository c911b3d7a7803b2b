"""Writes the pictures of ``docs/pages/``: our pages on journals of the tests, in Chromium.

``python tests/browse/screenshots.py`` writes all of them anew; all together stay
below a megabyte.
"""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "browse")]

import journals
import pictured
import test_figures

from cxlocal.commands.browse import make_datasette

FOLDER = ROOT / "docs" / "pages"
SHOTS = {
    "board": ("board", 1100, 700), "run": ("run/2.7.4", 1250, 1250), "diary": ("diary", 1100, 850),
    "product": ("product?deliverable=webshop", 1250, 700), "way": ("way/2.7.100", 1200, 620),
    "evidence": ("evidence/2.7.100", 1250, 1000), "figures": ("figures", 1250, 900),
    "phone": ("run/2.7.100", 400, 1150),
}  # fmt: skip
"""Page, width and height in pixels; of a week, but for figures, which need months."""


def _week(folder: Path) -> Path:
    """The small journal of the tests."""
    pictured.build_small(journals, folder).close()
    return folder / "journal.db"


def _months(folder: Path) -> Path:
    """Two months of one product, of which the tests of the figures know every value."""
    (folder / "two").mkdir()
    told = test_figures.Teller(journals, folder / "two", pictured.plan())
    test_figures.tell_two_months(told)
    told.machine.journal.close()
    return (folder / "two" / "journal.db").rename(folder / "months.db")


def main() -> int:
    """The exit code is 1 where a picture is missing."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, socket.socket() as listener:
        files = [build(Path(folder)) for build in (_week, _months)]
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        pages = make_datasette(dict.fromkeys(files, "")).app()
        server = uvicorn.Server(uvicorn.Config(pages, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        base = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with sync_playwright() as play:
            browser = play.chromium.launch(
                executable_path="/usr/bin/chromium", args=["--no-sandbox"]
            )
            for name, (address, width, height) in SHOTS.items():
                page = browser.new_page(viewport={"width": width, "height": height})
                page.goto(f"{base}{'months' if name == 'figures' else 'journal'}/-/{address}")
                page.screenshot(path=FOLDER / f"{name}.png")
            browser.close()
        server.should_exit = True
        thread.join()
    return int(any(not (FOLDER / f"{name}.png").is_file() for name in SHOTS))


if __name__ == "__main__":
    sys.exit(main())
