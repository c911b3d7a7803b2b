"""Releases of forges that have drafts: GitHub, and Gitea with Forgejo.

https://docs.github.com/en/rest/releases/releases, https://docs.github.com/en/rest/releases/assets,
https://docs.gitea.com/api/ (repository), https://codeberg.org/api/swagger.
"""

from __future__ import annotations

import mimetypes
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from cxlocal.hooks.tool import ArtifactRef, Context, Held, ToolFailure, Withdrawn
from cxlocal_plugins.targets.forge_api import (
    Api,
    Forge,
    compare,
    downloaded,
    release_held,
    segment,
    wrong_tag,
)
from cxlocal_plugins.targets.web import Unreached, refused, send

Release = dict[str, Any]
UPLOAD_SECONDS = 300.0
"""Without a byte, while a file is taken in."""


class Drafts(ABC):
    """A draft is found by the run it is marked with, filled, compared and published."""

    size = "per_page"

    def __init__(self, forge: Forge, ctx: Context) -> None:
        self.forge, self.ctx = forge, ctx
        self.name = f"release {forge.tag}"
        self.api = self.connect()
        self.path = f"/repos/{quote(forge.project, safe='/')}"
        self.mark = f"<!-- cxlocal-run: {ctx.run} -->"

    # what differs from forge to forge

    @abstractmethod
    def connect(self) -> Api:
        """The API with its headers."""

    @abstractmethod
    def tag_commit(self) -> str:
        """The commit that the tag leads to; empty where there is no such tag."""

    @abstractmethod
    def send_file(self, release: Release, one: ArtifactRef) -> None:
        """Upload a file. Raises ToolFailure, Unreached."""

    @abstractmethod
    def delete_file(self, release: Release, asset: Release) -> None:
        """Take a file of a draft away."""

    @abstractmethod
    def read(self, asset: Release, one: ArtifactRef) -> str:
        """The digest of a file that is there, of which the forge says none."""

    # what they share

    def held(self) -> dict[str, Held]:
        """What is published; nothing while it is a draft."""
        release = self._published()
        if release is None:
            commit, wanted = self.tag_commit(), self.ctx.revision
            files = {
                each: Held(state="absent", wanted=f"sha256:{one.sha256}")
                for each, one in self.ctx.artifacts.items()
            }
            if commit and commit != wanted:
                return {**files, self.name: release_held(commit, wanted, "")}
            return {**files, self.name: Held(state="absent", wanted=wanted)}
        assets = self.assets(release)
        found = {each: self._compared(assets, one) for each, one in self.ctx.artifacts.items()}
        address = str(release.get("html_url") or "")
        return {**found, self.name: release_held(self.tag_commit(), self.ctx.revision, address)}

    def publish(self) -> dict[str, str]:
        """Make or adopt a draft, fill it, compare it, publish it, and see that it is what it should be."""
        commit = self.tag_commit()
        if commit != self.ctx.revision:
            raise wrong_tag(self.forge.tag, commit, self.ctx.revision)
        release = self._published()
        if release is None:
            if self.name not in self.ctx.put:
                raise ToolFailure(f"the release {self.forge.tag} was taken back")
            drafts = self._releases()
            release = self._own(drafts) or self._made(drafts)
        self._fill(release)
        if release.get("draft"):
            release = self.api.object(
                "PATCH", f"{self.path}/releases/{release['id']}", {"draft": False}
            )
        commit = self.tag_commit()
        if commit != self.ctx.revision or release.get("draft"):
            raise wrong_tag(self.forge.tag, commit, self.ctx.revision)
        # Two machines at once may each have made one.
        for left in self._releases():
            if left["id"] != release["id"] and self._own([left]):
                self.api.call("DELETE", f"{self.path}/releases/{left['id']}", expect=(204, 404))
        assets = self.assets(release)
        return {
            name: str(asset.get("browser_download_url") or "")
            for name, one in self.ctx.artifacts.items() for asset in self._of(assets, one)[:1]
        }  # fmt: skip

    def withdraw(self) -> Withdrawn:
        """Turn it into a draft again; a forge that keeps releases for good has an address."""
        release = self._published()
        if release is None:
            return Withdrawn(how="it is not published")
        address = str(release.get("html_url") or "")
        try:
            found = self.api.object(
                "PATCH", f"{self.path}/releases/{release['id']}", {"draft": True}
            )
        except ToolFailure:
            return Withdrawn(address=address)
        return Withdrawn(how="made a draft") if found.get("draft") else Withdrawn(address=address)

    def _releases(self) -> list[Release]:
        """Those of the tag, drafts included, the oldest first."""
        found = [
            one for one in self.api.listed(f"{self.path}/releases", self.size)
            if one.get("tag_name") == self.forge.tag and isinstance(one.get("id"), int)
        ]  # fmt: skip
        return sorted(found, key=lambda one: int(one["id"]))

    def _published(self) -> Release | None:
        return next((one for one in self._releases() if not one.get("draft")), None)

    def _own(self, drafts: list[Release]) -> Release | None:
        marked = (one for one in drafts if self.mark in str(one.get("body") or ""))
        return next((one for one in marked if one.get("draft")), None)

    def _made(self, drafts: list[Release]) -> Release:
        """A new draft. Of two machines that make one at once both go on with the older."""
        body = {
            "tag_name": self.forge.tag, "target_commitish": self.ctx.revision,
            "name": self.forge.title, "body": f"{self.forge.notes}\n\n{self.mark}\n", "draft": True,
            "prerelease": self.forge.early,
        }  # fmt: skip
        try:
            made: Release = self.api.object("POST", f"{self.path}/releases", body, expect=(201,))
        except ToolFailure as problem:
            if not drafts:
                raise
            named = ", ".join(str(one.get("html_url") or one["id"]) for one in drafts)
            raise ToolFailure(
                f"somebody else's draft of {self.forge.tag} is there, which is left as it is: {named} ({problem})"
            ) from problem
        # Meanwhile another machine may have come to its end.
        return self._published() or self._own(self._releases()) or made

    def _fill(self, release: Release) -> None:
        """Bring the files that are to be put; of a draft take what is half or other away before. Raises
        ToolFailure unless it then holds each of them, and nothing else under its name."""
        draft = bool(release.get("draft"))
        put = [one for name, one in self.ctx.artifacts.items() if name in self.ctx.put]
        for one in put:
            found = self._of(self.assets(release), one)
            same = [asset for asset in found if self._is_same(asset, one)]
            for asset in found if draft else ():
                if asset is not (same[0] if same else None):
                    self.delete_file(release, asset)
            if not same and (draft or not found):
                self._sent(release, one)
        assets = self.assets(release)
        wrong = [one.path.name for one in put if self._compared(assets, one).state != "same"]
        if wrong:
            raise ToolFailure(f"the release does not hold {', '.join(wrong)} as it was built")

    def _sent(self, release: Release, one: ArtifactRef) -> None:
        try:
            self.send_file(release, one)
        except (ToolFailure, Unreached):
            # Taken and the answer lost, or brought by another machine at this moment: ask.
            found = self._of(self.assets(release), one)
            if not any(self._is_same(asset, one) for asset in found):
                raise

    def assets(self, release: Release) -> list[Release]:
        """The files that are there."""
        return list(self.api.listed(f"{self.path}/releases/{release['id']}/assets", self.size))

    def _of(self, assets: list[Release], one: ArtifactRef) -> list[Release]:
        """The assets of a file: a forge may have renamed it, and keeps its name as the label then."""
        return [each for each in assets if one.path.name in (each.get("name"), each.get("label"))]

    def _is_same(self, asset: Release, one: ArtifactRef) -> bool:
        return self._held(asset, one).state == "same"

    def _held(self, asset: Release, one: ArtifactRef) -> Held:
        size, location = asset.get("size"), str(asset.get("browser_download_url") or "")
        whole = asset.get("state", "uploaded") == "uploaded"
        told = str(asset.get("digest") or "")
        digest = told if whole and told.startswith("sha256:") else ""
        if not digest and whole and size == one.size:
            digest = self.read(asset, one)
        return compare(one, size if whole else "half of it", digest, location)

    def _compared(self, assets: list[Release], one: ArtifactRef) -> Held:
        found = [self._held(asset, one) for asset in self._of(assets, one)]
        if not found:
            return Held(state="absent", wanted=f"sha256:{one.sha256}")
        return next((held for held in found if held.state != "same"), found[0])


class GitHub(Drafts):
    """https://docs.github.com/en/rest/releases"""

    def connect(self) -> Api:
        """https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api"""
        headers = {
            "Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28",
            "User-Agent": "cxlocal",
        }  # fmt: skip
        if self.forge.token:
            headers["Authorization"] = f"Bearer {self.forge.token}"
        return Api(self.forge.url, headers)

    def tag_commit(self) -> str:
        """https://docs.github.com/en/rest/commits/commits#get-a-commit: 422 for a ref that is none."""
        path = f"{self.path}/commits/tags/{quote(self.forge.tag, safe='/')}"
        found = self.api.named(path, "sha", absent=(404, 422))
        return str(found["sha"]) if found else ""

    def send_file(self, release: Release, one: ArtifactRef) -> None:
        """To the address that the release names; a credential goes to no other host."""
        address = str(release.get("upload_url") or "").partition("{")[0]
        host, own = urlsplit(address).netloc, urlsplit(self.forge.url).netloc
        if urlsplit(address).scheme != urlsplit(self.forge.url).scheme or host not in (
            own, f"uploads.{own}", f"uploads.{own.removeprefix('api.')}",
        ):  # fmt: skip
            raise ToolFailure(
                f"the forge names {address[:100]!r} for uploads, which is no address of it"
            )
        name = quote(one.path.name, safe="")
        headers = {**self.api.headers, "Content-Type": _media_type(one.path)}
        with one.path.open("rb") as file:
            answer = send(
                "POST", f"{address}?name={name}&label={name}", headers=headers, body=file,
                size=one.size, seconds=UPLOAD_SECONDS,
            )  # fmt: skip
        if answer.status != 201:
            raise refused(f"upload of {one.path.name}", answer)

    def delete_file(self, release: Release, asset: Release) -> None:
        """https://docs.github.com/en/rest/releases/assets#delete-a-release-asset"""
        self.api.call("DELETE", f"{self.path}/releases/assets/{asset['id']}", expect=(204, 404))

    def read(self, asset: Release, one: ArtifactRef) -> str:
        """https://docs.github.com/en/rest/releases/assets#get-a-release-asset: older ones have no digest."""
        headers = {**self.api.headers, "Accept": "application/octet-stream"}
        return downloaded(f"{self.api.base}{self.path}/releases/assets/{asset['id']}", one, headers)


class Gitea(Drafts):
    """https://docs.gitea.com/api/ and Forgejo, which kept it."""

    size = "limit"

    def connect(self) -> Api:
        """https://docs.gitea.com/development/api-usage: the token in a header of its own scheme."""
        base = self.forge.url if self.forge.url.endswith("/api/v1") else f"{self.forge.url}/api/v1"
        headers = {"Accept": "application/json", "User-Agent": "cxlocal"}
        if self.forge.token:
            headers["Authorization"] = f"token {self.forge.token}"
        return Api(base, headers)

    def tag_commit(self) -> str:
        """``GET /repos/{owner}/{repo}/tags/{tag}``."""
        found = self.api.named(f"{self.path}/tags/{segment(self.forge.tag)}", "commit", "sha")
        return str(found["commit"]["sha"]) if found else ""

    def send_file(self, release: Release, one: ArtifactRef) -> None:
        """As the form that Gitea asks for. Two files of one name would stand side by side."""
        boundary = f"cxlocal-{one.sha256}"
        name = one.path.name.replace("\\", "\\\\").replace('"', '\\"')
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="attachment"; filename="{name}"\r\n'
            f"Content-Type: {_media_type(one.path)}\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {**self.api.headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        path = f"{self.path}/releases/{release['id']}/assets?name={quote(one.path.name, safe='')}"
        answer = send(
            "POST", f"{self.api.base}{path}", headers=headers,
            body=head + one.path.read_bytes() + tail, seconds=UPLOAD_SECONDS,
        )  # fmt: skip
        if answer.status != 201:
            raise refused(f"upload of {one.path.name}", answer)

    def assets(self, release: Release) -> list[Release]:
        """``GET /repos/{owner}/{repo}/releases/{id}/assets``, which has no pages."""
        return self.api.rows(f"{self.path}/releases/{release['id']}/assets")

    def delete_file(self, release: Release, asset: Release) -> None:
        """``DELETE /repos/{owner}/{repo}/releases/{id}/assets/{attachment_id}``."""
        path = f"{self.path}/releases/{release['id']}/assets/{asset['id']}"
        self.api.call("DELETE", path, expect=(204, 404))

    def read(self, asset: Release, one: ArtifactRef) -> str:
        """Gitea computes none: what it gives out is read. The credential stays with the forge."""
        address = str(asset.get("browser_download_url") or "")
        own = urlsplit(address).netloc == urlsplit(self.api.base).netloc
        return downloaded(address, one, self.api.headers if own else {"User-Agent": "cxlocal"})


def _media_type(path: Path) -> str:
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
