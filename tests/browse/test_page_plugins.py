"""Pages behind a proxy, and Datasette plugins of others that raise."""

from __future__ import annotations

import http.client
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOOK = "from datasette import hookimpl\n@hookimpl\n"
RAISING = {
    "import": "import no_such_module_anywhere\n",
    "broken": "def (:\n",
    "startup": HOOK + "def startup(datasette):\n    raise KeyError('odd')\n",
    "template": HOOK + "def extra_template_vars():\n    raise ValueError('odd')\n",
    "rendering": HOOK + "def render_cell(value):\n    raise TypeError('odd')\n",
    "wrapper": HOOK + "def asgi_wrapper(datasette):\n    raise RuntimeError('odd')\n",
    "inside": HOOK + "def asgi_wrapper(datasette):\n    def wrap(app):\n"
    "        async def odd(scope, receive, send):\n"
    "            raise RuntimeError('odd')\n        return odd\n    return wrap\n",
}


def install(folder: Path, text: str) -> dict[str, str]:
    """A distribution that brings a plugin; what makes it importable."""
    (folder / "odd_pages.py").write_text(text)
    about = folder / "odd_pages-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-pages\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[datasette]\nodd = odd_pages\n")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("kind", RAISING)
def test_a_plugin_that_raises_is_named_with_the_way_to_leave_it_out(
    cx: Any, full_copy: Path, tmp_path: Path, kind: str
) -> None:
    env = {"CXLOCAL_HOME": str(full_copy.parent), **install(tmp_path, RAISING[kind])}
    done = cx("browse", "--get", "/journal/run", env=env)
    assert done.code == 9, done.err[-800:]
    assert "the Datasette plugin odd-pages raises" in done.err, done.err[-800:]
    told = next(line for line in done.err.splitlines() if line.startswith("To do:"))
    words = told.split()[3:5]
    assert words == ["-p", "no:odd-pages"]
    without = cx(*words, "browse", "--get", "/journal/run", env=env)
    assert without.code == 0, without.err[-800:]
    assert "1.0.6" in without.out


@pytest.fixture
def served(cx: Any, full_copy: Path) -> Iterator[int]:
    """Pages below a prefix, for a name of a proxy; the port."""
    process = subprocess.Popen(
        [cx.program, "browse", "--no-open", "--open-to-all", "--name", "Releases.example", "--prefix", "history/cx"],
        env={**os.environ, "CXLOCAL_HOME": str(full_copy.parent)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.endswith("/history/cx/"), address
    yield int(address.split(":")[2].partition("/")[0])
    process.terminate()
    process.wait(20)
    process.stdout.close()


def _ask(port: int, method: str, path: str, host: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_behind_a_proxy_with_a_name_and_a_prefix(served: int) -> None:
    # A proxy may keep the prefix, or take it away.
    for path in ("/history/cx/journal/run", "/journal/run"):
        for host in (
            "releases.example",
            "RELEASES.example:443",
            f"127.0.0.1:{served}",
            "localhost",
        ):
            status, text = _ask(served, "GET", path, host)
            assert status == 200, (path, host)
            assert 'href="/history/cx/journal' in text and 'href="/journal' not in text
    for host in ("evil.example", "releases.example.evil.example", ""):
        status, text = _ask(served, "GET", "/history/cx/", host)
        assert status == 421 and "--name" in text, host
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert _ask(served, method, "/history/cx/journal/run", "releases.example")[0] == 405, method
