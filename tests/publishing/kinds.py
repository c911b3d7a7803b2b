"""Targets that are reached by HTTP, each with a server behind one that has moods, and a file that it takes."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from forges import TOKEN, Double, GiteaDouble, GitHubDouble, GitLabDouble
from forges import serving as serving_double
from indexes import devpi, pypiserver
from npm_registry import NpmRegistry
from weather import Weather, serving

MAKE = """
import hashlib, io, json, os, tarfile, zipfile
version, who = os.environ["CXLOCAL_VERSION"], os.environ.get("WHO", "us")
text = f"{version} of {who}".encode()
def tar(file, mode, entries):
    with tarfile.open(file, mode) as packed:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
"""
"""What the scripts begin with that make a file in a build; WHO tells the bytes of one maker from another's."""


class Kind(NamedTuple):
    """A tool, with a server for it and a file."""

    make: str
    """A script that makes the file."""
    file: str
    """How it is called; {} stands for the version."""
    table: str
    """What stands below the target in cx.toml; @URL@ and @HOST@ are the server's."""
    server: Callable[[Path], AbstractContextManager[Weather]]
    single: bool = False
    """One request puts it, and another one of the same bytes is refused, so that they can be counted (devpi
    takes the same bytes again)."""
    secrets: dict[str, str] = {}  # noqa: RUF012  (never changed)
    needs: tuple[str, ...] = ()
    last: bool = False
    """It announces a version, and the tag goes before it."""

    def files(self) -> dict[str, str]:
        """What a project needs to make it."""
        ignored = "*.whl\n*.tgz\n*.tar\n*.bin\n"
        return {"make.py": MAKE + self.make, ".gitignore": ignored}

    def config(self, weather: Weather) -> str:
        """The lines of cx.toml: the build, and the target ``place``."""
        at = weather.url
        table = self.table.replace("@URL@", at).replace("@HOST@", at.removeprefix("http://"))
        named = "".join(f'{name} = {{ env = "{name}" }}\n' for name in self.secrets)
        return f"""
[stages.build]
kind = "build"
command = "python3 make.py"
pass_env = ["WHO"]
produces = {{ file = "{self.file.replace("{}", "*")}" }}
{"[secrets]" if named else ""}
{named}
[targets.place]
secrets = {sorted(self.secrets)}
{table}
"""


WHEEL = """
info = f"webshop-{version}.dist-info/"
about = f"Metadata-Version: 2.1\\nName: webshop\\nVersion: {version}\\n"
files = {"webshop.py": text, info + "METADATA": about, info + "RECORD": "",
         info + "WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
with zipfile.ZipFile(f"webshop-{version}-py3-none-any.whl", "w") as archive:
    for name, content in files.items():
        archive.writestr(zipfile.ZipInfo(name), content)
"""
PACKAGE = """
manifest = json.dumps({"name": "webshop", "version": version}).encode()
tar(f"webshop-{version}.tgz", "w:gz", {"package/package.json": manifest, "package/index.js": text})
"""
IMAGE = """
blobs = {}
def blob(content, kind):
    digest = hashlib.sha256(content).hexdigest()
    blobs[f"blobs/sha256/{digest}"] = content
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}
tar("layer", "w", {"webshop.txt": text})
layer = open("layer", "rb").read()
os.unlink("layer")
about = {"architecture": "amd64", "os": "linux", "config": {},
         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}}
manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": blob(json.dumps(about).encode(), "config.v1+json"), "layers": [blob(layer, "layer.v1.tar")]}
index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
tar(f"webshop-{version}.tar", "w", {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
    "index.json": json.dumps(index).encode(), **blobs})
"""
PLAIN = 'open(f"webshop-{version}.bin", "wb").write(text)\n'


def _kit(name: str) -> Any:
    """A module of another folder of tests, which are no packages."""
    folder, _, module = name.partition("/")
    path = Path(__file__).resolve().parents[1] / folder / f"{module}.py"
    spec = importlib.util.spec_from_file_location(f"cxlocal_test_publishing_{module}", path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


@contextmanager
def _index(folder: Path) -> Iterator[Weather]:
    with pypiserver(folder) as found:
        yield found.weather


@contextmanager
def _devpi(folder: Path) -> Iterator[Weather]:
    with devpi(folder) as found:
        yield found.weather


@contextmanager
def _npm(_: Path) -> Iterator[Weather]:
    with serving(NpmRegistry()) as npm, serving(Weather(npm.url)) as weather:
        yield weather


@contextmanager
def _registry(folder: Path) -> Iterator[Weather]:
    found = _kit("tools/engine_kit").Registry(folder)
    try:
        with serving(Weather(f"http://{found.host}")) as weather:
            yield weather
    finally:
        found.close()


@contextmanager
def _bucket(folder: Path) -> Iterator[Weather]:
    found = _kit("stores/bucket_kit").start_seaweedfs(folder / "weed")
    try:
        with serving(Weather(f"http://127.0.0.1:{found.port}")) as weather:
            yield weather
    finally:
        found.stop()


def _forge(made: Callable[[], Double]) -> Callable[[Path], AbstractContextManager[Weather]]:
    @contextmanager
    def start(_: Path) -> Iterator[Weather]:
        with serving_double(made()) as double, serving(Weather(double.url)) as weather:
            weather.double, double.url = double, weather.url
            yield weather
        assert double.violations == []

    return start


def _release(forge: str, made: Callable[[], Double]) -> Kind:
    table = (
        f'tool = "forge-release"\nwith = {{ forge = "{forge}", url = "@URL@", project = "acme/shop",'
        ' token = "FORGE_TOKEN" }'
    )
    return Kind(
        PLAIN, "webshop-{}.bin", table, _forge(made), secrets={"FORGE_TOKEN": TOKEN}, last=True
    )


KINDS = {
    "pypiserver": Kind(
        WHEEL, "webshop-{}-py3-none-any.whl",
        'tool = "python-index"\nwith = { url = "@URL@/", simple = "@URL@/simple/", token = "INDEX_TOKEN" }',
        _index, single=True, secrets={"INDEX_TOKEN": "pypi-very-secret"},
    ),
    "devpi": Kind(
        WHEEL, "webshop-{}-py3-none-any.whl",
        'tool = "python-index"\nwith = { url = "@URL@/shop/release/", simple = "@URL@/shop/release/+simple/",'
        ' user = "shop", token = "INDEX_TOKEN" }',
        _devpi, secrets={"INDEX_TOKEN": "index-secret-password"},
    ),
    "npm": Kind(
        PACKAGE, "webshop-{}.tgz", 'tool = "npm"\nwith = { registry = "@URL@", token = "NPM_TOKEN" }', _npm,
        single=True, secrets={"NPM_TOKEN": "npm-secret-token"}, needs=("npm",),
    ),
    "oci": Kind(
        IMAGE, "webshop-{}.tar", 'tool = "oci"\nwith = { to = "@HOST@/shop/web", artifact = "file", tls = false }',
        _registry, needs=("skopeo", "docker-registry"),
    ),
    "object-store": Kind(
        PLAIN, "webshop-{}.bin",
        'tool = "object-store"\nwith = { bucket = "builds", endpoint = "@URL@", region = "us-east-1",'
        ' key = "S3_KEY", secret = "S3_SECRET" }',
        _bucket, single=True, secrets={"S3_KEY": "cxkey", "S3_SECRET": "cxsecret"},
    ),
    "github": _release("github", GitHubDouble), "gitea": _release("gitea", GiteaDouble),
    "gitlab": _release("gitlab", GitLabDouble),
}  # fmt: skip
