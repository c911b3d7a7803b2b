"""Releases of GitLab, which has no drafts: files first, the release last.

https://docs.gitlab.com/api/releases/, https://docs.gitlab.com/user/packages/generic_packages/,
https://docs.gitlab.com/api/packages/, https://docs.gitlab.com/api/tags/.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from cxlocal.hooks.tool import ArtifactRef, Context, Held, ToolFailure, Withdrawn
from cxlocal_plugins.targets.forge_api import (
    NAMES,
    Api,
    Forge,
    compare,
    release_held,
    segment,
    wrong_tag,
)
from cxlocal_plugins.targets.forge_drafts import UPLOAD_SECONDS
from cxlocal_plugins.targets.web import Unreached, refused, send

CREATED = (200, 201)


class GitLab:
    """A package of the version in the registry of the project, and a release whose links lead there."""

    def __init__(self, forge: Forge, ctx: Context) -> None:
        self.forge, self.ctx = forge, ctx
        self.name = f"release {forge.tag}"
        base = forge.url if forge.url.endswith("/api/v4") else f"{forge.url}/api/v4"
        headers = {"Accept": "application/json", "User-Agent": "cxlocal"}
        if forge.token:
            headers["PRIVATE-TOKEN"] = forge.token
        self.api = Api(base, headers)
        self.path = f"/projects/{segment(forge.project)}"
        self.package = re.sub(r"[^A-Za-z0-9._-]", "-", ctx.deliverable)
        """A package may be called by these characters alone."""

    def held(self) -> dict[str, Held]:
        """The files that the release links to, by what the registry holds."""
        release = self._release()
        commit, wanted = self._tag_commit(), self.ctx.revision
        files = self._files()
        found = {
            each: self._linked(release, files, one) for each, one in self.ctx.artifacts.items()
        }
        if release is not None:
            links = release.get("_links")
            address = str(links.get("self") or "") if isinstance(links, dict) else ""
            return {**found, self.name: release_held(commit, wanted, address)}
        if commit and commit != wanted:
            return {**found, self.name: release_held(commit, wanted, "")}
        return {**found, self.name: Held(state="absent", wanted=wanted)}

    def publish(self) -> dict[str, str]:
        """Files into the registry, compared there; then the release with all its links in one call."""
        commit = self._tag_commit()
        if commit != self.ctx.revision:
            raise wrong_tag(self.forge.tag, commit, self.ctx.revision)
        release = self._release()
        if release is None and self.name not in self.ctx.put:
            raise ToolFailure(f"the release {self.forge.tag} was taken back")
        put = [one for name, one in self.ctx.artifacts.items() if name in self.ctx.put]
        for one in put:
            self._put(one)
        files = self._files()
        wrong = [one.path.name for one in put if self._compared(files, one).state != "same"]
        if wrong:
            raise ToolFailure(
                f"the package registry does not hold {', '.join(wrong)} as it was built"
            )
        if release is None:
            self._create(put)
        else:
            self._link(release, put)
        commit = self._tag_commit()
        if commit != self.ctx.revision:
            raise wrong_tag(self.forge.tag, commit, self.ctx.revision)
        return {name: self._address(one) for name, one in self.ctx.artifacts.items()}

    def withdraw(self) -> Withdrawn:
        """A release without drafts can only be deleted: that is a person's decision."""
        page = self.api.base.removesuffix("/api/v4")
        return Withdrawn(
            address=f"{page}/{self.forge.project}/-/releases/{segment(self.forge.tag)}"
        )

    def _tag_commit(self) -> str:
        path = f"{self.path}/repository/tags/{segment(self.forge.tag)}"
        found = self.api.named(path, "commit", "id")
        return str(found["commit"]["id"]) if found else ""

    def _release(self) -> dict[str, Any] | None:
        path = f"{self.path}/releases/{segment(self.forge.tag)}"
        found: dict[str, Any] | None = self.api.named(path, "tag_name")
        if found is not None and found["tag_name"] != self.forge.tag:
            raise ToolFailure(f"{path}: {NAMES}", trouble="unreached")
        return found

    def _create(self, put: Sequence[ArtifactRef]) -> None:
        links = [
            {"name": one.path.name, "url": self._address(one), "link_type": "package"}
            for one in put
        ]
        body = {
            "tag_name": self.forge.tag, "name": self.forge.title, "description": self.forge.notes,
            "assets": {"links": links},
        }  # fmt: skip
        answer = self.api.call("POST", f"{self.path}/releases", body, expect=(201, 409))
        if answer.status == 409:  # another machine was faster
            release = self._release()
            if release is None:
                raise refused(f"release {self.forge.tag}", answer)
            self._link(release, put)

    def _link(self, release: dict[str, Any], put: Sequence[ArtifactRef]) -> None:
        """Add the links that a release lacks; those it has are not touched."""
        known = {str(one.get("name")) for one in _links(release)}
        for one in put:
            if one.path.name not in known:
                body = {"name": one.path.name, "url": self._address(one), "link_type": "package"}
                path = f"{self.path}/releases/{segment(self.forge.tag)}/assets/links"
                self.api.call("POST", path, body, expect=(201,))

    def _address(self, one: ArtifactRef) -> str:
        version, file = segment(self.ctx.version), segment(one.path.name)
        return f"{self.api.base}{self.path}/packages/generic/{self.package}/{version}/{file}"

    def _files(self) -> dict[str, list[dict[str, Any]]]:
        """The files of the package of this version, by name: one name may have several."""
        asked = (
            f"?package_type=generic&package_name={segment(self.package)}"
            f"&package_version={segment(self.ctx.version)}"
        )
        found: dict[str, list[dict[str, Any]]] = {}
        for package in self.api.listed(f"{self.path}/packages{asked}"):
            if (package.get("name"), package.get("version")) != (self.package, self.ctx.version):
                continue
            for file in self.api.listed(f"{self.path}/packages/{package['id']}/package_files"):
                found.setdefault(str(file.get("file_name")), []).append(file)
        return found

    def _put(self, one: ArtifactRef) -> None:
        """Upload what is missing; what is there with other bytes stays."""
        if self._compared(self._files(), one).state != "absent":
            return
        try:
            with one.path.open("rb") as file:
                answer = send(
                    "PUT", f"{self._address(one)}?select=package_file", headers=self.api.headers,
                    body=file, size=one.size, seconds=UPLOAD_SECONDS,
                )  # fmt: skip
            if answer.status not in CREATED:
                raise refused(f"upload of {one.path.name}", answer)
        except (ToolFailure, Unreached):
            if self._compared(self._files(), one).state != "same":
                raise

    def _compared(self, files: dict[str, list[dict[str, Any]]], one: ArtifactRef) -> Held:
        found = []
        for file in files.get(one.path.name, ()):
            digest = str(file.get("file_sha256") or "")
            told = f"sha256:{digest}" if digest else ""
            found.append(compare(one, file.get("size"), told, self._address(one)))
        if not found:
            return Held(state="absent", wanted=f"sha256:{one.sha256}")
        return next((held for held in found if held.state != "same"), found[0])

    def _linked(
        self,
        release: dict[str, Any] | None,
        files: dict[str, list[dict[str, Any]]],
        one: ArtifactRef,
    ) -> Held:
        """A file counts where the release leads to it, and to nothing else under its name."""
        wanted = f"sha256:{one.sha256}"
        links = [each for each in _links(release or {}) if each.get("name") == one.path.name]
        if not links:
            there = self._compared(files, one)
            return there if there.state == "other" else Held(state="absent", wanted=wanted)
        elsewhere = [
            str(each.get("url")) for each in links if each.get("url") != self._address(one)
        ]
        if elsewhere:
            return Held(state="other", wanted=wanted, held=elsewhere[0], location=elsewhere[0])
        return self._compared(files, one)


def _links(release: dict[str, Any]) -> list[dict[str, Any]]:
    assets = release.get("assets")
    links = assets.get("links") if isinstance(assets, dict) else None
    return [one for one in links if isinstance(one, dict)] if isinstance(links, list) else []
