"""docs/operations.md, done as it says: every block, in its order, on a server and two machines."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import yaml
from http_kit import listen
from postgresql_kit import Databases
from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
UNITS = "/etc/systemd/system"
NAMED = re.compile(rf"`{UNITS}/([\w-]+)\.service`")
CX_TOML = """cx = 1
[deliverable]
name = "shop"
[version]
line = "1.0"
scheme = "semver"
[store]
url = "{url}"
[stages.build]
command = "echo built"
"""
# What only a real server has: a user of its own, systemd, an environment that is upgraded.
SYSTEMCTL = """#!{python}
import os, shlex, signal, subprocess, sys, time
from pathlib import Path
place = Path("{place}")
verb, *names = [word for word in sys.argv[1:] if word != "--now"]
for name in names:
    pid = place / f"{{name}}.pid"
    if verb == "stop":
        os.kill(int(pid.read_text()), signal.SIGTERM)
        while Path(f"/proc/{{pid.read_text()}}").exists() and "Z" not in Path(
            f"/proc/{{pid.read_text()}}/stat").read_text().rpartition(")")[2][:3]:
            time.sleep(0.02)
    elif verb in ("start", "enable"):
        unit = (place / f"{{name}}.service").read_text().replace("\\\\\\n", " ")
        words = shlex.split(unit.partition("ExecStart=")[2].partition("\\n")[0])
        home = unit.partition("CXLOCAL_HOME=")[2].partition("\\n")[0]
        log = open(place / "log", "ab")
        said = subprocess.Popen([{program!r}, *words[1:]], stderr=log, stdout=subprocess.PIPE,
                                env={{**os.environ, "CXLOCAL_HOME": home}}, start_new_session=True)
        assert said.stdout.readline(), (place / "log").read_text()
        pid.write_text(str(said.pid))
"""


class Company:
    """A server, a laptop and a machine, with the names of the page led to folders of the test."""

    def __init__(self, folder: Path, cx: Any, database: str) -> None:
        self.folder, self.cx = folder, cx
        self.ports = [self._free(), self._free(), self._free()]
        self.code = ""
        self.unit = ""  # the last one that the page named
        self.pages: list[str] = []
        self.work = folder / "work"
        shims = folder / "bin"
        for each in ("srv", "etc", "backup", "bin", "units"):
            (folder / each).mkdir()
        program = str(Path(sys.executable).with_name("cxlocal"))
        text = SYSTEMCTL.format(python=sys.executable, place=folder / "units", program=program)
        for name, content in (
            ("systemctl", text), ("journalctl", f"#!/bin/sh\ncat {folder}/units/log\n"),
            ("useradd", "#!/bin/sh\n"), ("pip", "#!/bin/sh\n"),
        ):  # fmt: skip
            (shims / name).write_text(content)
            (shims / name).chmod(0o755)
        self.names = [
            ("postgresql://cx@db.example.org/cx", database), (UNITS, f"{folder}/units"),
            ("store.example.org", "localhost"), ("/opt/cxlocal/bin/pip", "pip"),
            ("/srv/cx", f"{folder}/srv"), ("/etc/cx", f"{folder}/etc"),
            ("/backup/", f"{folder}/backup/"), ("0.0.0.0", "127.0.0.1"),
            ("-o cxlocal", f"-o {getpass.getuser()}"), ("chown cxlocal", f"chown {getpass.getuser()}"),
            ("8377", str(self.ports[0])), ("8443", str(self.ports[1])), ("8378", str(self.ports[2])),
        ]  # fmt: skip

    @staticmethod
    def _free() -> int:
        with listen("127.0.0.1", 0) as free:
            return int(free.getsockname()[1])

    def here(self, text: str) -> str:
        """A text of the page with the names of this test in it."""
        for written, found in self.names:
            text = text.replace(written, found)
        return text.replace("CODE", self.code)

    def block(self, kind: str, text: str) -> None:
        """Do what a block says."""
        if kind == "ini":
            (self.folder / "units" / f"{self.unit}.service").write_text(self.here(text))
        elif kind == "yaml":
            self.scrape(yaml.safe_load(self.here(text)))
        else:
            where = text.partition("\n")[0]
            assert where in ("# server", "# laptop", "# machine"), where
            self.shell(where.removeprefix("# "), self.here(text))

    def shell(self, where: str, text: str) -> None:
        home = self.folder / ("srv/home" if where == "server" else where)
        environ = {
            **os.environ, "CXLOCAL_HOME": str(home),
            "PATH": f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        }  # fmt: skip
        cwd = self.folder if where == "server" else self.work
        done = subprocess.run(
            ["sh", "-ex", "-c", text], env=environ, cwd=cwd, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}\n{self.log()}"
        found = re.findall(r"--code ([0-9A-Z-]{19})", done.stderr + done.stdout)
        self.code = found[-1] if found else self.code
        for line in re.findall(rf"https://localhost:{self.ports[2]}/\S+", done.stdout):
            self.open(line)

    def open(self, address: str) -> None:
        """As a browser does with an address that opens once."""
        context = ssl.create_default_context(cafile=str(self.folder / "etc" / "ca.pem"))
        browser = urllib.request.build_opener(
            urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor()
        )
        board = browser.open(address, timeout=20).read().decode()
        (newest,) = re.findall(r'<a href="([^"]+)"[^>]*>Newest run</a>', board)
        self.pages.append(browser.open(urljoin(address, newest), timeout=20).read().decode())

    def log(self) -> str:
        path = self.folder / "units" / "log"
        return path.read_text() if path.exists() else ""

    def scrape(self, config: Any) -> None:
        """As Prometheus does with this configuration."""
        (job,) = config["scrape_configs"]
        context = ssl.create_default_context(cafile=job["tls_config"]["ca_file"])
        for target in job["static_configs"][0]["targets"]:
            url = f"{job['scheme']}://{target}{job['metrics_path']}"
            with urllib.request.urlopen(url, context=context, timeout=10) as answer:
                text = answer.read().decode()
        names = {
            sample.name for each in text_string_to_metric_families(text) for sample in each.samples
        }
        alarms = set(re.findall(r"cxlocal_\w+", PAGE.read_text(encoding="utf-8")))
        assert alarms - names == {
            "cxlocal_last_backup_timestamp_seconds"
        }  # comes with the first one

    def stop(self) -> None:
        for pid in (self.folder / "units").glob("*.pid"):
            subprocess.run(["kill", pid.read_text()], check=False, capture_output=True)

    def numbers(self) -> list[str]:
        env = {"CXLOCAL_HOME": str(self.folder / "machine")}
        rows = self.cx("sql", "SELECT text FROM version ORDER BY number", "--json", env=env,
                       cwd=self.work).json()  # fmt: skip
        return [row["text"] for row in rows]


@pytest.fixture
def company(tmp_path: Path, cx: Any) -> Iterator[Company]:
    databases = Databases()
    made = Company(tmp_path, cx, databases.fresh())
    url = f"https://localhost:{made.ports[0]}"
    for line in (f"git init -q --bare {tmp_path / 'remote.git'}",
                 f"git clone -q {tmp_path / 'remote.git'} {made.work}"):  # fmt: skip
        subprocess.run(shlex.split(line), check=True, capture_output=True)
    (made.work / "cx.toml").write_text(CX_TOML.format(url=url))
    for line in ("git add .", "git commit -qm first", "git push -q origin HEAD"):
        subprocess.run(shlex.split(line), check=True, capture_output=True, cwd=made.work)
    yield made
    made.stop()
    databases.close()


@pytest.mark.needs("git")
@pytest.mark.needs("openssl")
@pytest.mark.needs("pg_ctlcluster")
@pytest.mark.timeout(240)
def test_the_page_as_an_operator(company: Company) -> None:
    text = PAGE.read_text(encoding="utf-8")
    blocks = [(found.start(), found[1], found[2]) for found in BLOCK.finditer(text)]
    assert len(blocks) > 15
    before, restored, end = text.index("## Moving"), text.index("## A database: backup"), 0
    numbers: list[str] = []
    after: list[str] = []
    for start, kind, content in blocks:
        if start > before and not numbers:
            # The restored store skipped what may have been in use.
            numbers = company.numbers()
            assert numbers[:2] == ["1.0.0", "1.0.1"] and len(numbers) == 3
        after = after or (company.numbers() if start > restored else [])
        company.unit = next(iter(NAMED.findall(text[end:start])), company.unit)
        company.block(kind, content)
        end = start + len(content)
        if "store backup /backup/cx " in content or "pg_dump" in content:
            company.shell("machine", "cxlocal run")  # what the backup lacks
        if "cxlocal store moved" in content:  # "on each machine", and committed once
            company.shell("laptop", company.here(content.partition("\n")[2].partition("\n")[0]))
            company.shell("machine", "git commit -qam moved && git push -q")
        if "pg_dump" in content:  # the machine that everything was on is lost, with its members
            for each in (company.folder / "srv" / "home").glob("*.members"):
                each.unlink()
    # The move into the database skipped nothing.
    assert after[: len(numbers)] == numbers and len(after) == len(numbers) + 1
    assert int(after[-1].rpartition(".")[2]) == int(numbers[-1].rpartition(".")[2]) + 1
    # Nothing was given twice by the database that was restored, nor to somebody unknown.
    last = company.numbers()
    assert last[: len(after)] == after and len(set(last)) == len(last) == len(after) + 2
    # The pages moved along.
    company.shell("machine", f"cxlocal browse --store https://localhost:{company.ports[1]}")
    assert [
        number in page for number, page in zip((numbers[0], last[-1]), company.pages, strict=True)
    ] == [True, True]
    log = company.log()
    for line in (
        "joined member=ada",
        "joined member=builder",
        "stopped cause=",
        "recovered by=ada",
    ):
        assert line in log
    backup = company.folder / "backup" / "cx"
    assert {each.name for each in backup.iterdir()} >= {"store.db", "store.db.members"}
