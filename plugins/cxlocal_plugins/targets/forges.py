"""The forges that ``forge-release`` speaks to: what each calls things, and in which order a release comes to be.

GitHub: https://docs.github.com/en/rest/releases and .../git/refs. GitLab: https://docs.gitlab.com/api/releases/ and
https://docs.gitlab.com/user/packages/generic_packages/. Gitea and Forgejo: https://docs.gitea.com/api/ (releases).
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from cxlocal.hooks.tool import ArtifactRef, Context, ToolFailure
from cxlocal.values import NamedTuple
from cxlocal_plugins.targets.web import Answer, Trouble, secret_of, send

API = {"github": "https://api.github.com", "gitlab": "https://gitlab.com/api/v4"}
PAGES = 20
"""Of a list, at most: 2000 releases."""
FILE_BYTES = 2 * 1024 * 1024 * 1024
"""GitHub takes no larger one."""


class Unsaid(Exception):
    """A forge said no, or something nobody understands."""

    def __init__(self, what: str, trouble: Trouble) -> None:
        super().__init__(what)
        self.trouble: Trouble = trouble


class Asset(NamedTuple):
    """A file of a release."""

    id: str
    address: str
    digest: str
    """``sha256:`` and digits; empty where the forge does not say."""
    whole: bool
    """An upload that was cut off leaves half a file."""


class Release(NamedTuple):
    """A release, or a draft of one."""

    id: str
    address: str
    body: str
    assets: dict[str, Asset]
    """By the name of the file."""


class Forge(ABC):
    """What all forges have in common."""

    def __init__(self, ctx: Context) -> None:
        options = ctx.options
        self.ctx = ctx
        self.url: str = (options.url or API.get(options.forge, "")).rstrip("/")
        if not self.url:
            raise ToolFailure(f"url is not set: where the API of this {options.forge} is")
        self.tag: str = options.tag.replace("{version}", ctx.version)
        self.title: str = options.title.replace("{version}", ctx.version)
        self.token = secret_of(ctx, options.token)
        self.host = urlsplit(self.url).netloc
        self.mark = f"<!-- cxlocal {ctx.run} -->"
        self.body = f"{options.notes}\n\n{self.mark}".strip()
        self.page = f"{self.url}, release {self.tag} of {options.project}"

    def login(self) -> dict[str, str]:
        """The header with the token."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def call(
        self, method: str, path: str, said: Any = None, *, absent: bool = False, **rest: Any
    ) -> Answer:
        """One request to the API. ``absent``: 404 is an answer. Raises Unreached, Unsaid."""
        headers = {**self.login(), "Accept": "application/json", **rest.pop("headers", {})}
        if said is not None:
            rest["body"] = json.dumps(said).encode()
            headers["Content-Type"] = "application/json"
        url = path if path.startswith("http") else f"{self.url}{path}"
        answer = send(method, url, headers=headers, **rest)
        if answer.status < 300 or (absent and answer.status == 404):
            return answer
        raise Unsaid(f"{self.host}: {answer.words}", answer.trouble)

    def digest_of(self, asset: Asset) -> str:
        """The digest of a file as people get it."""
        same = urlsplit(asset.address).netloc == self.host
        headers = self.login() if same else {}
        answer = send(
            "GET", asset.address, headers={**headers, "Accept": "application/octet-stream"},
            limit=FILE_BYTES, seconds=300.0,
        )  # fmt: skip
        if answer.status != 200:
            raise Unsaid(f"{self.host}: {answer.words}", answer.trouble)
        return f"sha256:{hashlib.sha256(answer.body).hexdigest()}"

    @abstractmethod
    def commit_of_tag(self) -> str:
        """The commit that the tag leads to; empty where there is none."""

    @abstractmethod
    def published(self, tag: str) -> Release | None:
        """The release that people see."""

    @abstractmethod
    def bring(self, files: Sequence[ArtifactRef], put: Collection[str]) -> None:
        """Make the release, or what it lacks."""


class _Drafts(Forge):
    """Forges where a release can be filled before anybody sees it."""

    repository = ""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.repository = f"/repos/{quote(ctx.options.project)}"

    def published(self, tag: str) -> Release | None:
        answer = self.call(
            "GET", f"{self.repository}/releases/tags/{quote(tag, safe='')}", absent=True
        )
        if answer.status == 404 or answer.json().get("draft"):
            return None
        return self.read(answer.json())

    def bring(self, files: Sequence[ArtifactRef], put: Collection[str]) -> None:
        seen = self.published(self.tag)
        release = seen or self.draft()
        for one in files:
            there = release.assets.get(one.path.name)
            if there is not None and there.whole:
                if (there.digest or self.digest_of(there)) == f"sha256:{one.sha256}":
                    continue
                if seen is not None:
                    raise ToolFailure(
                        f"{one.path.name} of {self.tag} has other bytes at {self.host}"
                    )
            if there is not None:
                self.call("DELETE", self.asset_path(release, there))
            self.upload(release, one)
        if seen is not None:
            return
        filled = self.read(self.call("GET", f"{self.repository}/releases/{release.id}").json())
        for one in files:
            there = filled.assets.get(one.path.name)
            digest = "" if there is None else there.digest or self.digest_of(there)
            if digest != f"sha256:{one.sha256}":
                raise ToolFailure(
                    f"{one.path.name} is not as it was sent: {digest or 'absent'}",
                    trouble="unreached",
                )
        self.call("PATCH", f"{self.repository}/releases/{release.id}", {"draft": False})

    def draft(self) -> Release:
        """Our draft for the tag; one that somebody else began is named, and left alone."""
        for row in self.rows(f"{self.repository}/releases"):
            if row.get("draft") and row.get("tag_name") == self.tag:
                if self.mark not in (row.get("body") or ""):
                    raise ToolFailure(
                        f"somebody began a draft for {self.tag} at {self.host}: publish or delete it there"
                        f" ({row.get('html_url') or row.get('id')})"
                    )
                return self.read(row)
        said = {
            "tag_name": self.tag, "name": self.title, "body": self.body, "draft": True,
            "prerelease": self.ctx.options.prerelease, "target_commitish": self.ctx.revision,
        }  # fmt: skip
        return self.read(self.call("POST", f"{self.repository}/releases", said).json())

    def rows(self, path: str) -> list[dict[str, Any]]:
        """All of a list."""
        found: list[dict[str, Any]] = []
        for page in range(1, PAGES + 1):
            rows = self.call("GET", f"{path}?per_page=100&limit=50&page={page}").json()
            if not rows:
                break
            found += rows
        return found

    def read(self, said: Any) -> Release:
        """A release as the API says it."""
        assets = {
            str(one["name"]): Asset(
                str(one["id"]), str(one.get("browser_download_url", "")), str(one.get("digest") or ""),
                one.get("state", "uploaded") == "uploaded",
            )
            for one in said.get("assets") or []
        }  # fmt: skip
        return Release(
            str(said["id"]), str(said.get("html_url", "")), str(said.get("body") or ""), assets
        )

    @abstractmethod
    def asset_path(self, release: Release, asset: Asset) -> str:
        """Where one file is deleted."""

    @abstractmethod
    def upload(self, release: Release, one: ArtifactRef) -> None:
        """Send one file."""


class GitHub(_Drafts):
    """github.com, and GitHub Enterprise Server with ``url = "https://HOST/api/v3"``."""

    def commit_of_tag(self) -> str:
        path = f"{self.repository}/git/ref/tags/{quote(self.tag)}"
        answer = self.call("GET", path, absent=True)
        if answer.status == 404:
            return ""
        found = answer.json()["object"]
        if found["type"] == "tag":
            found = self.call("GET", f"{self.repository}/git/tags/{found['sha']}").json()["object"]
        return str(found["sha"])

    def asset_path(self, release: Release, asset: Asset) -> str:
        return f"{self.repository}/releases/assets/{asset.id}"

    def digest_of(self, asset: Asset) -> str:
        # Files of drafts and of private projects are had through the API alone.
        return super().digest_of(
            asset._replace(address=f"{self.url}{self.repository}/releases/assets/{asset.id}")
        )

    def upload(self, release: Release, one: ArtifactRef) -> None:
        said = self.call("GET", f"{self.repository}/releases/{release.id}").json()
        where = str(said["upload_url"]).partition("{")[0]
        if urlsplit(where).netloc not in (self.host, f"uploads.{self.host.removeprefix('api.')}"):
            raise Unsaid(
                f"{self.host} sends files to {urlsplit(where).netloc}: no token goes there", ""
            )
        with one.path.open("rb") as file:
            self.call(
                "POST", f"{where}?name={quote(one.path.name)}", body=file, size=one.size, seconds=300.0,
                headers={"Content-Type": "application/octet-stream"},
            )  # fmt: skip


class Gitea(_Drafts):
    """Gitea and Forgejo, with ``url = "https://HOST/api/v1"``."""

    def login(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"} if self.token else {}

    def commit_of_tag(self) -> str:
        answer = self.call("GET", f"{self.repository}/tags/{quote(self.tag, safe='')}", absent=True)
        return "" if answer.status == 404 else str(answer.json()["commit"]["sha"])

    def asset_path(self, release: Release, asset: Asset) -> str:
        return f"{self.repository}/releases/{release.id}/assets/{asset.id}"

    def upload(self, release: Release, one: ArtifactRef) -> None:
        boundary = f"cxlocal-{one.sha256[:32]}"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="attachment"; filename="{one.path.name}"'
            "\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        body = head.encode() + one.path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        self.call(
            "POST", f"{self.repository}/releases/{release.id}/assets?name={quote(one.path.name)}",
            body=body, headers={"Content-Type": f"multipart/form-data; boundary={boundary}"}, seconds=300.0,
        )  # fmt: skip


class GitLab(Forge):
    """gitlab.com, and others with ``url = "https://HOST/api/v4"``. It has no drafts."""

    def __init__(self, ctx: Context) -> None:
        super().__init__(ctx)
        self.project = f"/projects/{quote(ctx.options.project, safe='')}"

    def login(self) -> dict[str, str]:
        return {"PRIVATE-TOKEN": self.token} if self.token else {}

    def commit_of_tag(self) -> str:
        path = f"{self.project}/repository/tags/{quote(self.tag, safe='')}"
        answer = self.call("GET", path, absent=True)
        return "" if answer.status == 404 else str(answer.json()["commit"]["id"])

    def published(self, tag: str) -> Release | None:
        answer = self.call("GET", f"{self.project}/releases/{quote(tag, safe='')}", absent=True)
        if answer.status == 404:
            return None
        said = answer.json()
        assets = {
            str(one["name"]): Asset(str(one["id"]), str(one["url"]), "", True)
            for one in (said.get("assets") or {}).get("links") or []
        }
        page = str((said.get("_links") or {}).get("self", ""))
        return Release(tag, page, str(said.get("description") or ""), assets)

    def bring(self, files: Sequence[ArtifactRef], put: Collection[str]) -> None:
        seen = self.published(self.tag)
        links = []
        for one in files:
            there = None if seen is None else seen.assets.get(one.path.name)
            if there is not None:
                if self.digest_of(there) != f"sha256:{one.sha256}":
                    raise ToolFailure(
                        f"{one.path.name} of {self.tag} has other bytes at {self.host}"
                    )
                continue
            links.append({"name": one.path.name, "url": self._package(one), "link_type": "package"})
        if seen is not None:
            for link in links:
                self.call(
                    "POST", f"{self.project}/releases/{quote(self.tag, safe='')}/assets/links", link
                )
            return
        said = {
            "tag_name": self.tag, "name": self.title, "description": self.body,
            "assets": {"links": links},
        }  # fmt: skip
        self.call("POST", f"{self.project}/releases", said)

    def _package(self, one: ArtifactRef) -> str:
        """Have a file in the package registry, and see that it is as it should be; its address."""
        names = (self.ctx.deliverable, self.ctx.version, one.path.name)
        path = f"{self.project}/packages/generic/{'/'.join(quote(name, safe='') for name in names)}"
        asset = Asset("", f"{self.url}{path}", "", True)
        there = self.call("GET", path, absent=True, limit=FILE_BYTES, seconds=300.0)
        if there.status == 404:
            with one.path.open("rb") as file:
                self.call("PUT", path, body=file, size=one.size, seconds=300.0)
        if self.digest_of(asset) != f"sha256:{one.sha256}":
            raise ToolFailure(
                f"the package registry of {self.host} has other bytes of {one.path.name}"
            )
        return asset.address


KINDS: dict[str, type[Forge]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "gitea": Gitea,
    "forgejo": Gitea,
}


def forge_of(ctx: Context) -> Forge:
    """The forge that the options name. Raises ToolFailure."""
    kind = KINDS.get(ctx.options.forge)
    if kind is None:
        raise ToolFailure(f"forge {ctx.options.forge!r} is none of {', '.join(KINDS)}")
    return kind(ctx)
