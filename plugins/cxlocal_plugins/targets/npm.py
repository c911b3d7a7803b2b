"""The tool ``npm``: packages at an npm registry.

What is published is the very file that was built, never a folder that npm would pack anew. The registry lists a
digest of each version's file (``dist.integrity``), and refuses a version that it has or ever had.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tarfile
from urllib.parse import quote, urlsplit

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    ArtifactRef,
    Completed,
    Context,
    Held,
    Holdings,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal_plugins.targets.web import Answer, Unreached, secret_of, send, unknown

MANIFEST_BYTES = 1024 * 1024
TOKEN = "CXLOCAL_NPM_TOKEN"
"""How npm's own file names the token: the value is in the environment alone."""
NO_RIGHT = ("E401", "E403", "ENEEDAUTH", "EOTP", "EAUTHUNKNOWN")
REFUSED = ("EPUBLISHCONFLICT", "E400", "E409", "E422", "EPRIVATE")
"""Codes of npm: its first line names one."""
SAYS_NO = frozenset(("error", "errors", "message", "reason"))
"""One of these a registry has in what it says of a package that it lacks; a page of somebody before it has none."""


class Npm(Tool):
    """npmjs.com, or a registry that speaks as it does."""

    name = "npm"
    api = 2
    title = "npm registry"
    executables = ("npm",)

    class Options(Tool.Options, frozen=True):
        """``tag``: what the version is called there, beside its number. ``token`` names a secret."""

        registry: str = "https://registry.npmjs.org/"
        tag: str = "latest"
        access: str = ""
        token: str = ""

    def ask(self, ctx: Context) -> Holdings:
        """The digest of the file that each version has there."""
        files = {name: _held(ctx, one) for name, one in ctx.artifacts.items()}
        return Holdings(files=files, refuses=True)

    def publish(self, ctx: Context) -> Published:
        """Send what is missing."""
        for name in ctx.put:
            words = [
                "publish",
                str(ctx.artifacts[name].path),
                "--ignore-scripts",
                "--tag",
                ctx.options.tag,
            ]
            if ctx.options.access:
                words += ["--access", ctx.options.access]
            done = _npm(ctx, *words)
            if done.code:
                raise ToolFailure(f"npm publish: {_words(done)}", trouble=_trouble(done))
        return Published()

    def withdraw(self, ctx: Context) -> Withdrawn:
        """Deprecate it: whoever installs it is told; what others built on goes on working."""
        for one in ctx.artifacts.values():
            package, version = _named(one)
            done = _npm(
                ctx, "deprecate", f"{package}@{version}", "taken back by those who published it"
            )
            if done.code:
                raise ToolFailure(f"npm deprecate: {_words(done)}", trouble=_trouble(done))
        return Withdrawn(how="deprecated")


def _held(ctx: Context, one: ArtifactRef) -> Held:
    if not one.path.is_file():
        return unknown("its bytes are not here to be compared", "")
    package, version = _named(one)
    wanted = f"sha512-{base64.b64encode(_digest(one)).decode()}"
    address = f"{_registry(ctx)}{quote(package, safe='@')}"
    token = secret_of(ctx, ctx.options.token)
    login = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = send(
            "GET",
            address,
            headers={**login, "Accept": "application/json", "Cache-Control": "no-cache"},
        )
    except Unreached as problem:
        return unknown(str(problem), wanted=wanted)
    return read_package(answer, package, version, wanted)


def read_package(answer: Answer, package: str, version: str, wanted: str) -> Held:
    """What a registry's answer says of a version; nothing, where it does not speak of this package. Pure."""
    said = answer.json()
    if answer.status in (404, 410) and isinstance(said, dict) and not SAYS_NO.isdisjoint(said):
        return Held(state="absent", wanted=wanted)
    if answer.status != 200:
        return unknown(answer.words, answer.trouble or "unreached", wanted)
    times = said.get("time") if isinstance(said, dict) else None
    gone = isinstance(times, dict) and isinstance(times.get("unpublished"), dict)
    versions = said.get("versions", {} if gone else None) if isinstance(said, dict) else None
    if not isinstance(versions, dict) or said.get("name") != package:
        return unknown(f"it answers with something that is not about {package}", wanted=wanted)
    found = versions.get(version)
    if found is None:
        return Held(state="absent", wanted=wanted, why="it was unpublished" if gone else "")
    dist = found.get("dist") if isinstance(found, dict) else None
    held = str(dist.get("integrity", "")) if isinstance(dist, dict) else ""
    if not isinstance(dist, dict) or not held:
        return unknown("the registry does not say the digest of the file", "", wanted)
    return Held.compared(
        wanted, held, location=str(dist.get("tarball", "")), yanked=bool(found.get("deprecated"))
    )


def _digest(one: ArtifactRef) -> bytes:
    with one.path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").digest()


def _named(one: ArtifactRef) -> tuple[str, str]:
    """Name and version that the package itself says. Raises ToolFailure."""
    try:
        with tarfile.open(one.path) as packed:
            for member in packed:
                if (
                    member.isfile()
                    and member.name.count("/") == 1
                    and member.name.endswith("/package.json")
                ):
                    found = packed.extractfile(member)
                    assert found is not None
                    said = json.loads(found.read(MANIFEST_BYTES))
                    return str(said["name"]), str(said["version"])
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as problem:
        raise ToolFailure(f"{one.path.name} is no npm package: {problem}") from problem
    raise ToolFailure(f"{one.path.name} has no package.json: name the artifacts of the target")


def _registry(ctx: Context) -> str:
    found: str = ctx.options.registry
    return found if found.endswith("/") else f"{found}/"


def _npm(ctx: Context, *words: str) -> Completed:
    """npm with a configuration of its own: the token goes to the registry it was given for."""
    parts = urlsplit(_registry(ctx))
    config = ctx.scratch / "npmrc"
    token = secret_of(ctx, ctx.options.token)
    line = f"//{parts.netloc}{parts.path}:_authToken=${{{TOKEN}}}\n" if token else ""
    config.write_text(line)
    return ctx.exec(
        [
            "npm",
            *words,
            "--registry",
            _registry(ctx),
            "--userconfig",
            str(config),
            "--fetch-retries",
            "0",
        ],
        cwd=ctx.scratch,
        env={TOKEN: token, "NO_UPDATE_NOTIFIER": "1", "CI": "1"},
        check=False,
    )


def _words(done: Completed) -> str:
    lines = [line for line in done.output.splitlines() if "npm error" in line or "npm ERR!" in line]
    told = [line.replace("npm error ", "").replace("npm ERR! ", "").strip() for line in lines]
    told = [line for line in told if not line.startswith("A complete log")]
    return ": ".join(told[:2])[:300] or f"exit code {done.code}"


def _trouble(done: Completed) -> str:
    named = re.search(r"^npm (?:error|ERR!) code (\w+)$", done.output, re.MULTILINE)
    code = named[1] if named else ""
    if code in REFUSED or "previously published version" in done.output:
        return ""
    return "credential" if code in NO_RIGHT else "unreached"


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Npm]
