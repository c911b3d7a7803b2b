"""What is imported is declared, and what is declared is used."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from cxlocal.clock import SystemIds
from cxlocal.extras import how_to_install
from cxlocal.journal.home import home_folder

OURS = ("cxlocal", "cxlocal_sync", "cxlocal_plugins", "datasette_cxlocal")
# Which modules may need what an extra brings: the rest works without it.
EXTRAS = {
    "python": ("cxlocal_plugins.wheel", "cxlocal_plugins.wheel_file", "cxlocal_plugins.build_wheel",
               "cxlocal_plugins.local_service"),
    "https": ("cxlocal_sync.http",),
    "server": ("cxlocal_sync.http",),
    "s3": ("cxlocal_sync.keys.objects", "cxlocal_plugins.targets.object_store"),
    "postgresql": ("cxlocal_sync.postgresql", "cxlocal_plugins.postgresql_database",
                   "cxlocal_plugins.sinks.postgresql_form"),
    "otlp": ("cxlocal_plugins.sinks.otlp_form",),
}  # fmt: skip
IMPORTED_AS = {"opentelemetry_proto": "opentelemetry"}
# Run as programs, not imported: pip by the tools, hatchling by the build of the demo's web shop.
RUN = {"pip": '"-m", "pip"', "hatchling": 'build-backend = "hatchling.build"'}


def _names(requirements: list[str]) -> set[str]:
    """Import names of the distributions."""
    found = (re.split(r"[\[<>=!~; ]", text)[0] for text in requirements)
    names = {name.replace("-", "_").lower() for name in found}
    return {IMPORTED_AS.get(name, name) for name in names}


@pytest.fixture(scope="module")
def project(root: Path) -> Any:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _imports(sources: list[Any]) -> list[tuple[str, str]]:
    """(module of ours, package of somebody else's) for every import."""
    return [
        (source.name, package)
        for source in sources
        for target, _ in source.imported()
        if (package := target.partition(".")[0]) not in (*sys.stdlib_module_names, *OURS)
    ]


def test_what_is_imported_is_declared(sources: list[Any], project: Any) -> None:
    core = _names(project["dependencies"])
    wrong = []
    for module, package in _imports(sources):
        allowed = set(core)
        for extra, modules in EXTRAS.items():
            if any(module == name or module.startswith(name + ".") for name in modules):
                allowed |= _names(project["optional-dependencies"][extra])
        if package not in allowed:
            wrong.append(f"{module} imports {package}")
    assert not wrong, "\n".join(wrong)


def test_what_is_declared_is_used(root: Path, sources: list[Any], project: Any) -> None:
    used = {package for _, package in _imports(sources)}
    folders = ("cxlocal", "plugins/cxlocal_plugins")
    texts = [
        path.read_text(encoding="utf-8")
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.suffix in (".py", ".toml")
    ]
    used |= {name for name, sign in RUN.items() if any(sign in text for text in texts)}
    extras = project["optional-dependencies"].values()
    declared = _names([*project["dependencies"], *(one for extra in extras for one in extra)])
    assert declared - used == set()


# As if nothing of the extra "python" were installed.
WITHOUT = """
import sys
ABSENT = {"build", "installer", "hatchling"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
for name in [name for name in sys.modules if name.partition(".")[0] in ABSENT]:
    del sys.modules[name]
sys.meta_path.insert(0, Absent())
sys.argv[0] = "cxlocal"
from cxlocal.commands.main import main
sys.exit(main())
"""


def _without(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_core_works_without_the_python_tools(tmp_path: Path) -> None:
    (tmp_path / "cx.toml").write_text(
        'cx = 1\n[deliverable]\nname = "shop"\n[version]\nline = "1.0"\n'
        '[stages]\nbuild = { tool = "wheel", produces = ["wheel"] }\n'
    )
    for words in (
        ["init", "-q", "."], ["add", "-A"], ["commit", "-q", "-m", "first"],
        ["init", "-q", "--bare", ".cx-remote.git"], ["remote", "add", "origin", ".cx-remote.git"],
        ["push", "-q", "-u", "origin", "HEAD"],
    ):  # fmt: skip
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    listed = _without("plugins", "--json", cwd=tmp_path)
    assert '"not installed"' in listed.stdout and "Warning" not in listed.stderr, listed.stderr
    asked = _without("run", "--dry-run", cwd=tmp_path)
    assert asked.returncode == 2
    assert "pip install 'cxlocal[python]" in asked.stderr


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("", "'cxlocal[s3]'"),
        ('{"url": "file:///srv/cx local", "dir_info": {}}', "'cxlocal[s3] @ file:///srv/cx local'"),
        ('{"url": "https://x.example/cx.git", "vcs_info": {"vcs": "git"}}',
         "'cxlocal[s3] @ git+https://x.example/cx.git'"),
        ("broken", "'cxlocal[s3]'"),
    ],
)  # fmt: skip
def test_libraries_come_from_where_cxlocal_came(
    monkeypatch: pytest.MonkeyPatch, origin: str, words: str
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return origin or None

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Installed())
    assert how_to_install("s3") == f"pip install {words}"


@pytest.mark.parametrize("data", [None, "", "/elsewhere/data"])
def test_the_home_folder_is_where_the_platform_keeps_data(
    data: str | None, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"HOME": str(home)} | ({} if data is None else {"XDG_DATA_HOME": data})
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    wanted = platformdirs.user_data_path("cxlocal", appauthor=False)
    assert home_folder(environ, SystemIds()).parent == wanted
