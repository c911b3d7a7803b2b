"""The tool ``python-index``: wheels and source distributions at PyPI, or an index that speaks as it does.

The simple repository says which files there are, with their digests
(https://packaging.python.org/specifications/simple-repository-api/); one without a digest is fetched and hashed.
Files are sent as PyPI takes them (https://docs.pypi.org/api/upload/).
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from email.parser import BytesParser
from email.policy import compat32
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)

from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import (
    ArtifactRef,
    Context,
    Done,
    Held,
    Holdings,
    Produced,
    Published,
    Tool,
    ToolFailure,
    Withdrawn,
)
from cxlocal.values import NamedTuple
from cxlocal_plugins.targets.web import (
    Answer,
    Unreached,
    basic,
    refused,
    secret_of,
    send,
    slowest,
    unknown,
)

JSON = "application/vnd.pypi.simple.v1+json"
ACCEPT = f"{JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
HTML = (
    "text/html",
    "application/vnd.pypi.simple.v1+html",
    "application/vnd.pypi.simple.latest+html",
)
TITLE = re.compile(r"\b(?:links for|index of|directory listing for)\s+(\S[^\n]*)", re.IGNORECASE)
SIMPLE = {
    "upload.pypi.org": "https://pypi.org/simple/",
    "test.pypi.org": "https://test.pypi.org/simple/",
}
"""Where the files are listed that are sent to these hosts. They never replace one."""
GONE = (404, 410)
METADATA_BYTES = 1024 * 1024
DOWNLOAD_BYTES = 1024 * 1024 * 1024
NAMES = {"classifier": "classifiers", "project_url": "project_urls"}
"""Fields of the form whose names differ from those of the metadata."""


class Listed(NamedTuple):
    """A file as the index lists it."""

    address: str
    sha256: str
    """Empty where the index does not say."""
    yanked: str | None
    """Why it is not to be used; None where it is."""


class PythonIndex(Tool):
    """PyPI and what is like it."""

    name = "python-index"
    api = 2
    title = "Python package index"

    class Options(Tool.Options, frozen=True):
        """``token`` names a secret. ``simple``: where files are listed, if not beside PyPI's upload."""

        url: str = "https://upload.pypi.org/legacy/"
        simple: str = ""
        user: str = "__token__"
        token: str = ""

    def ask(self, ctx: Context) -> Holdings:
        """What the index lists of the project."""
        names = {name: _parse(one.path.name) for name, one in ctx.artifacts.items()}
        refuses = urlsplit(ctx.options.url).netloc in SIMPLE
        files: dict[str, Held] = {}
        listed: dict[str, dict[str, Listed] | Held] = {}
        for name, one in ctx.artifacts.items():
            project = names[name]
            if project not in listed:
                listed[project] = _list(ctx, project)
            found = listed[project]
            files[name] = (
                found if isinstance(found, Held) else _held(ctx, one, found.get(one.path.name))
            )
        return Holdings(files=files, refuses=refuses)

    def publish(self, ctx: Context) -> Published:
        """Send what is missing."""
        for name in ctx.put:
            _send(ctx, ctx.artifacts[name])
        return Published()

    def fetch(self, ctx: Context) -> Done:
        """Bring files from there."""
        made = []
        for name in ctx.put or ctx.artifacts:
            file = ctx.artifacts[name].path.name
            listed = _list(ctx, _parse(file))
            found = None if isinstance(listed, Held) else listed.get(file)
            if found is not None:
                answer = _download(ctx, found.address)
                (ctx.scratch / file).write_bytes(answer.body)
                made.append(Produced(name=name, path=ctx.scratch / file))
        return Done(artifacts=tuple(made))

    def withdraw(self, ctx: Context) -> Withdrawn:
        """An index has no way to yank by program."""
        projects = {_parse(one.path.name) for one in ctx.artifacts.values()}
        host = urlsplit(_simple(ctx)).netloc
        pages = [
            f"https://{host}/manage/project/{one}/release/{ctx.version}/"
            for one in sorted(projects)
        ]
        known = host in ("pypi.org", "test.pypi.org")
        return Withdrawn(address=" ".join(pages) if known else _simple(ctx))


def _parse(file: str) -> str:
    """The project of a file, normalized. Raises ToolFailure for what no index takes."""
    try:
        if file.endswith(".whl"):
            return str(parse_wheel_filename(file)[0])
        return str(parse_sdist_filename(file)[0])
    except (InvalidWheelFilename, InvalidSdistFilename) as problem:
        raise ToolFailure(
            f"{file} is neither a wheel nor a source distribution: name the artifacts of the target"
        ) from problem


def _simple(ctx: Context) -> str:
    found: str = ctx.options.simple or SIMPLE.get(urlsplit(ctx.options.url).netloc, "")
    if not found:
        raise ToolFailure("simple is not set: it says where the index lists its files")
    return found if found.endswith("/") else f"{found}/"


def _login(ctx: Context, address: str) -> dict[str, str]:
    """The credential, for the hosts it was given for."""
    token = secret_of(ctx, ctx.options.token)
    hosts = (urlsplit(ctx.options.url).netloc, urlsplit(_simple(ctx)).netloc)
    return basic(ctx.options.user, token) if token and urlsplit(address).netloc in hosts else {}


def _list(ctx: Context, project: str) -> dict[str, Listed] | Held:
    """The files of a project by name; why they are not known."""
    address = urljoin(_simple(ctx), f"{project}/")
    headers = {"Accept": ACCEPT, "Cache-Control": "no-cache"}
    public = urlsplit(address).netloc in ("pypi.org", "test.pypi.org")
    try:
        answer = send(
            "GET", address, headers={**headers, **({} if public else _login(ctx, address))}
        )
        if answer.status in GONE and not public:
            # How an index says that it lacks a project is written nowhere: that it is one has to be seen.
            root = _root(ctx, headers)
            if root.status in GONE or root.trouble:
                return unknown(
                    f"it answers {answer.status}, and {root.status} for the whole index: is simple right?",
                    root.trouble or "unreached",
                )
    except Unreached as problem:
        return unknown(str(problem))
    return read_list(answer, project)


def _root(ctx: Context, headers: dict[str, str]) -> Answer:
    """What the index answers for the list of all projects, which some have without the last slash alone."""
    told = {**headers, **_login(ctx, _simple(ctx))}
    found = send("HEAD", _simple(ctx), headers=told)
    return send("HEAD", _simple(ctx).rstrip("/"), headers=told) if found.status in GONE else found


def read_list(answer: Answer, project: str) -> dict[str, Listed] | Held:
    """The files of a project by name; why they are not known. That a file is not there says a list of this very
    project alone, or that the index has none: no page of somebody before it. Pure."""
    if not 200 <= answer.status < 300 and answer.status not in GONE:
        return unknown(answer.words, answer.trouble or "unreached")
    last = unquote(urlsplit(answer.address).path.rstrip("/").rpartition("/")[2])
    if canonicalize_name(last) != project:
        return unknown(f"it sends to {answer.address[:200]}, which is no list of {project}")
    if answer.status in GONE:
        return {}
    kind = answer.header("Content-Type").partition(";")[0].strip().lower()
    if answer.status == 200 and kind.endswith(("+json", "/json")):
        return _read_json(answer, project)
    if answer.status == 200 and kind in HTML:
        return _read_html(answer, project)
    return unknown(f"it answers {answer.status} with {kind or 'nothing'} in place of its list")


def _read_json(answer: Answer, project: str) -> dict[str, Listed] | Held:
    said = answer.json()
    rows = said.get("files") if isinstance(said, dict) else None
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("filename"), str)
        and isinstance(row.get("hashes") or {}, dict) for row in rows
    ):  # fmt: skip
        return unknown("its list of files cannot be read")
    if canonicalize_name(str(said.get("name", ""))) != project:
        return unknown(f"it answers with the list of {str(said.get('name'))[:80]!r}")
    return {
        row["filename"]: Listed(
            urljoin(answer.address, str(row.get("url", ""))),
            str((row.get("hashes") or {}).get("sha256", "")),
            _why_yanked(row.get("yanked")),
        )
        for row in rows
    }


def _read_html(answer: Answer, project: str) -> dict[str, Listed] | Held:
    page = _Page()
    page.feed(answer.body.decode("utf-8", "replace"))
    page.close()
    if not answer.sized and not page.ended:
        return unknown("its list ends in the middle")
    found = {}
    for href, yanked in page.links:
        address, fragment = urldefrag(urljoin(answer.address, href))
        name = unquote(urlsplit(address).path.rpartition("/")[2])
        digest = fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else ""
        found[name] = Listed(address, digest, yanked)
    if page.is_list_of(project) or any(_is_file_of(name, project) for name in found):
        return found
    return unknown(f"it answers with a page that is no list of {project}")


def _is_file_of(name: str, project: str) -> bool:
    try:
        return _parse(name) == project
    except ToolFailure:
        return False


def _why_yanked(said: object) -> str | None:
    """``false``, ``true``, or the reason."""
    return said if isinstance(said, str) else "" if said else None


class _Page(HTMLParser):
    """The links of a page of the simple repository."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[tuple[str, str | None]] = []
        self.ended = False
        self._marked, self._title, self._within = False, "", ""

    def is_list_of(self, project: str) -> bool:
        """Whether it says so, where it need not have a file: by the mark that each page of an index has, or
        by a title as indexes and listed folders have it (``Links for NAME``)."""
        named = TITLE.search(self._title)
        words = re.split(r"[\s/]+", named[1].strip().rstrip("/")) if named else [""]
        return self._marked or canonicalize_name(words[-1]) == project

    def handle_endtag(self, tag: str) -> None:
        self.ended = self.ended or tag == "html"
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within:
            self._title += f"{data}\n"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._within = tag if tag in ("title", "h1") else self._within
        self._marked |= tag == "meta" and given.get("name") == "pypi:repository-version"
        if tag == "a" and given.get("href"):
            yanked = (given["data-yanked"] or "") if "data-yanked" in given else None
            self.links.append((str(given["href"]), yanked))


def _held(ctx: Context, one: ArtifactRef, listed: Listed | None) -> Held:
    wanted = f"sha256:{one.sha256}"
    if listed is None:
        return Held(state="absent", wanted=wanted)
    digest = listed.sha256
    if not digest:
        try:
            answer = _download(ctx, listed.address)
        except Unreached as problem:
            return unknown(str(problem), wanted=wanted)
        if answer.status != 200:
            return unknown(answer.words, answer.trouble or "unreached", wanted)
        digest = hashlib.sha256(answer.body).hexdigest()
    return Held.compared(
        wanted, f"sha256:{digest}", location=listed.address, yanked=listed.yanked is not None,
        why=listed.yanked or "",
    )  # fmt: skip


def _download(ctx: Context, address: str) -> Answer:
    longest = min(slowest(DOWNLOAD_BYTES), max(1.0, ctx.timeout))
    return send("GET", address, headers=_login(ctx, address), limit=DOWNLOAD_BYTES, whole=longest)


def _send(ctx: Context, one: ArtifactRef) -> None:
    """Send one file. That it is there already is no trouble: what is there is asked for anyway."""
    fields = [*_fields(one), ("sha256_digest", one.sha256)]
    boundary = f"cxlocal-{one.sha256[:32]}"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields
    ]
    head = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{one.path.name}"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    body = b"".join(
        [*parts, head.encode(), one.path.read_bytes(), f"\r\n--{boundary}--\r\n".encode()]
    )
    headers = {
        "Content-Type": f"multipart/form-data; boundary={boundary}",
        **_login(ctx, ctx.options.url),
    }
    try:
        answer = send(
            "POST", ctx.options.url, headers=headers, body=body, seconds=min(300.0, ctx.timeout)
        )
    except Unreached as problem:
        raise ToolFailure(f"{one.path.name}: {problem}", trouble="unreached") from problem
    if answer.status >= 300:
        raise refused(one.path.name, answer)


def _fields(one: ArtifactRef) -> list[tuple[str, str]]:
    """The form of an upload: the metadata within the file."""
    wheel = one.path.name.endswith(".whl")
    message = BytesParser(policy=compat32).parsebytes(_metadata(one.path))
    python = "source"
    if wheel:
        python = ".".join(
            sorted({tag.interpreter for tag in parse_wheel_filename(one.path.name)[3]})
        )
    fields = [
        (":action", "file_upload"), ("protocol_version", "1"),
        ("filetype", "bdist_wheel" if wheel else "sdist"), ("pyversion", python),
    ]  # fmt: skip
    for header, value in message.items():
        name = header.lower().replace("-", "_")
        fields.append((NAMES.get(name, name), str(value)))
    described = message.get_payload()
    if isinstance(described, str) and described.strip() and "Description" not in message:
        fields.append(("description", described))
    return fields


def _metadata(path: Path) -> bytes:
    """METADATA of a wheel, PKG-INFO of a source distribution."""
    try:
        if path.name.endswith(".whl"):
            with zipfile.ZipFile(path) as archive:
                [name] = [one for one in archive.namelist() if one.endswith(".dist-info/METADATA")]
                return archive.open(name).read(METADATA_BYTES)
        with tarfile.open(path) as packed:
            for member in packed:
                if (
                    member.isfile()
                    and member.name.count("/") == 1
                    and member.name.endswith("/PKG-INFO")
                ):
                    found = packed.extractfile(member)
                    assert found is not None
                    return found.read(METADATA_BYTES)
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError) as problem:
        raise ToolFailure(f"{path.name} cannot be read: {problem}") from problem
    raise ToolFailure(f"{path.name} has no PKG-INFO")


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [PythonIndex]
