"""Three projects that nobody wrote for this test, released with nothing but a cx.toml."""

from __future__ import annotations

import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

PYTHON = """
cx = 1
[deliverable]
name = "colorama"
[version]
scheme = "pep440"
line = "0.4"
from = 7
stamp = [
  { file = "colorama/__init__.py", pattern = "__version__ = '([^']+)'" },
  { file = "PKG-INFO", pattern = "^Version: (.+)$" }, # hatchling believes a source archive's own
]
[stages]
build = { tool = "wheel", produces = ["wheel"] }
unit = { tool = "pytest", needs = ["build"], with = { paths = ["colorama/tests"], args = ["-o", "python_files=*_test.py"] } }
"""
NODE = """
cx = 1
[deliverable]
name = "concat-map"
[version]
line = "0.0"
from = 2
stamp = [{ file = "package.json", key = "version" }]
[stages]
deps = { command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"], pass_env = ["NPM_CONFIG_*", "npm_config_*"] }
unit = { kind = "test", command = ["npm", "test"], needs = ["deps"], pass_env = ["NPM_CONFIG_*"] }
pack = { kind = "build", command = ["npm", "pack", "--silent"], needs = ["unit"], produces = { tarball = "concat-map-*.tgz" }, pass_env = ["NPM_CONFIG_*"] }
"""
C = r"""
cx = 1
[deliverable]
name = "figlet"
[version]
line = "2.3"
stamp = [{ file = "figlet.c", pattern = '#define VERSION "([^"]+)"' }]
[stages]
build = { kind = "build", command = "make -s figlet", produces = { program = "figlet" } }
check = { kind = "test", command = "make -s all && make -s check", needs = ["build"] }
"""


def released(cx: Any, folder: Path, version: str) -> dict[str, Any]:
    """Release and read back the run. Its artifact's bytes are in the journal's folder."""
    cx.ok("run", cwd=folder, timeout=150)
    (run,) = json.loads(cx.ok("log", "--json", cwd=folder).out)
    assert (run["version"], run["outcome"]) == (version, "success")
    return dict(json.loads(cx.ok("show", "--json", version, cwd=folder).out))


def bytes_of(cx: Any, folder: Path, shown: dict[str, Any]) -> Path:
    (artifact,) = shown["artifacts"]
    home = Path(cx.ok("journal", "path", cwd=folder).out.strip()).parent
    return home / "blobs" / artifact["sha256"][:2] / artifact["sha256"]


def test_a_python_package(repository: Callable[[str, str], Path], cx: Any) -> None:
    folder = repository("pypi", PYTHON)
    shown = released(cx, folder, "0.4.7")
    with zipfile.ZipFile(bytes_of(cx, folder, shown)) as wheel:
        assert "0.4.7" in wheel.read("colorama/__init__.py").decode()
        assert any(name.startswith("colorama-0.4.7.dist-info/") for name in wheel.namelist())
    (report,) = shown["reports"]
    assert report["total"] > 10 and report["failed"] == report["errors"] == 0


@pytest.mark.needs("npm")
def test_a_node_package(repository: Callable[[str, str], Path], cx: Any) -> None:
    folder = repository("npm", NODE)
    shown = released(cx, folder, "0.0.2")
    with tarfile.open(bytes_of(cx, folder, shown)) as archive:
        member = archive.extractfile("package/package.json")
        assert member is not None and json.load(member)["version"] == "0.0.2"


@pytest.mark.needs("make", "gcc", "apt-get")
def test_a_c_program(repository: Callable[[str, str], Path], cx: Any, tmp_path: Path) -> None:
    folder = repository("debian", C)
    shown = released(cx, folder, "2.3.0")
    program = tmp_path / "figlet"
    program.write_bytes(bytes_of(cx, folder, shown).read_bytes())
    program.chmod(0o755)
    said = subprocess.run([str(program), "-v"], capture_output=True, text=True, check=False).stdout
    assert "Version: 2.3.0" in said
