"""A forge as small as the tool and the clients of others take it: what GitHub, Gitea and GitLab do with releases.

Each behaviour is one that their pages describe: drafts are seen by those who may write and not by their tag
(https://docs.github.com/en/rest/releases/releases), a published release of GitHub can be immutable
(https://docs.github.com/en/code-security/supply-chain-security/understanding-your-software-supply-chain/immutable-releases),
GitLab has no drafts and takes links in the call that makes a release (https://docs.gitlab.com/api/releases/).
"""

from __future__ import annotations

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

TOKEN = "forge-secret-token"


class ForgeDouble(ThreadingHTTPServer):
    """One project, ``shop/web``, in three dialects."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.immutable = False
        self.forget()

    def forget(self) -> None:
        self.tags: dict[str, str] = {}
        self.releases: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.ids = 0
        self.wrong: list[str] = []
        """Requests that no vendor's page describes."""

    def number(self) -> int:
        self.ids += 1
        return self.ids


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ForgeDouble

    def _any(self) -> None:
        parts = urlsplit(self.path)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        told = " ".join(self.headers.get(one, "") for one in ("Authorization", "PRIVATE-TOKEN"))
        self.may = TOKEN in told
        for method, pattern, act in ROUTES:
            match = re.fullmatch(pattern, parts.path)
            if method == self.command and match:
                if method != "GET" and not self.may:
                    return self.say(401, {"message": "Bad credentials"})
                return getattr(self, act)(*map(unquote, match.groups()))
        self.server.wrong.append(f"{self.command} {self.path}")
        self.say(404, {"message": "Not Found"})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

    def say(self, status: int, said: Any = None) -> None:
        content = (
            said if isinstance(said, bytes) else b"" if said is None else json.dumps(said).encode()
        )
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(said, bytes) else "application/json"
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    # GitHub and Gitea

    def repo(self) -> None:
        address = f"{self.server.url}/gh/repos/shop/web"
        self.say(200, {"id": 1, "name": "web", "full_name": "shop/web", "url": address})

    def by_tag(self, tag: str) -> None:
        found = [one for one in self.server.releases if one["tag_name"] == tag and not one["draft"]]
        self.say(200, found[0]) if found else self.say(404, {"message": "Not Found"})

    def all(self) -> None:
        rows = [one for one in self.server.releases if self.may or not one["draft"]]
        self.say(200, rows if self.query.get("page", "1") == "1" else [])

    def make(self) -> None:
        said, number = self.json, self.server.number()
        root = f"http://{self.headers['Host']}{self.path.partition('?')[0]}/{number}"
        self.server.releases.append({
            "id": number, "url": root, "html_url": f"{self.server.url}/shop/web/releases/{said['tag_name']}",
            "upload_url": f"{root}/assets{{?name,label}}", "assets": [], "draft": False, "prerelease": False,
            **said,
        })  # fmt: skip
        self.say(201, self.server.releases[-1])

    def one(self, number: str) -> None:
        self.say(200, self._release(number))

    def change(self, number: str) -> None:
        release = self._release(number)
        release.update(self.json)
        self.say(200, release)

    def upload(self, number: str) -> None:
        release, name = self._release(number), self.query["name"]
        if self.server.immutable and not release["draft"]:
            return self.say(422, {"message": "Cannot upload assets to an immutable release."})
        if any(one["name"] == name for one in release["assets"]):
            return self.say(422, {"message": "already_exists"})
        content, github = self.body, self.path.startswith("/gh/")
        if not github:
            content = content.partition(b"\r\n\r\n")[2].rpartition(b"\r\n--cxlocal")[0]
        key = str(self.server.number())
        self.server.files[key] = content
        asset = {
            "id": int(key), "name": name, "size": len(content), "state": "uploaded",
            "url": f"{self.server.url}/gh/repos/shop/web/releases/assets/{key}",
            "browser_download_url": f"{self.server.url}/files/{key}",
        }  # fmt: skip
        if github:
            asset["digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        release["assets"].append(asset)
        self.say(201, asset)

    def file(self, key: str) -> None:
        self.say(200, self.server.files[key])

    def drop(self, *key: str) -> None:
        for release in self.server.releases:
            release["assets"] = [one for one in release["assets"] if str(one["id"]) != key[-1]]
        self.say(204)

    def ref(self, tag: str) -> None:
        if tag not in self.server.tags:
            return self.say(404, {"message": "Not Found"})
        self.say(200, {"ref": f"refs/tags/{tag}", "object": {"type": "tag", "sha": f"tag-{tag}"}})

    def tag_object(self, tag: str) -> None:
        self.say(200, {"object": {"type": "commit", "sha": self.server.tags[tag]}})

    def tag(self, tag: str) -> None:
        found = self.server.tags.get(tag)
        self.say(200, {"commit": {"sha": found, "id": found}}) if found else self.say(404, {})

    def _release(self, number: str) -> dict[str, Any]:
        return next(one for one in self.server.releases if one["id"] == int(number))

    # GitLab

    def project(self) -> None:
        self.say(200, {"id": 7, "path_with_namespace": "shop/web"})

    def lab_release(self, tag: str) -> None:
        found = [one for one in self.server.releases if one["tag_name"] == tag]
        self.say(200, found[0]) if found else self.say(404, {"message": "404 Not Found"})

    def lab_make(self) -> None:
        said = self.json
        if said["tag_name"] not in self.server.tags:
            return self.say(422, {"message": "Ref is not specified"})
        if any(one["tag_name"] == said["tag_name"] for one in self.server.releases):
            return self.say(409, {"message": "Release already exists"})
        links = [{"id": self.server.number(), **link} for link in said["assets"]["links"]]
        self.server.releases.append(
            {**said, "assets": {"links": links, "sources": []}, "_links": {"self": self.server.url}}
        )
        self.say(201, self.server.releases[-1])

    def put_package(self, path: str) -> None:
        self.server.files[path] = self.body
        self.say(201, {"message": "201 Created"})

    def package(self, path: str) -> None:
        found = self.server.files.get(path)
        self.say(404, {"message": "404 Not Found"}) if found is None else self.say(200, found)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


HUB, LAB = r"/(?:gh|api/v1)/repos/shop/web", r"/api/v4/projects/(?:shop%2Fweb|7)"
ROUTES = (
    ("GET", HUB, "repo"), ("GET", f"{HUB}/releases", "all"), ("POST", f"{HUB}/releases", "make"),
    ("GET", f"{HUB}/releases/tags/([^/]+)", "by_tag"), ("GET", f"{HUB}/releases/assets/(.+)", "file"),
    ("DELETE", f"{HUB}/releases/assets/(.+)", "drop"), ("GET", r"/files/(.+)", "file"),
    ("GET", f"{HUB}/releases/(\\d+)", "one"), ("PATCH", f"{HUB}/releases/(\\d+)", "change"),
    ("POST", f"{HUB}/releases/(\\d+)/assets", "upload"),
    ("DELETE", f"{HUB}/releases/(\\d+)/assets/(.+)", "drop"),
    ("GET", f"{HUB}/git/ref/tags/(.+)", "ref"), ("GET", f"{HUB}/git/tags/tag-(.+)", "tag_object"),
    ("GET", f"{HUB}/tags/(.+)", "tag"),
    ("GET", LAB, "project"), ("GET", f"{LAB}/releases/([^/]+)", "lab_release"),
    ("POST", f"{LAB}/releases", "lab_make"), ("GET", f"{LAB}/repository/tags/(.+)", "tag"),
    ("PUT", f"{LAB}/packages/generic/(.+)", "put_package"),
    ("GET", f"{LAB}/packages/generic/(.+)", "package"),
)  # fmt: skip
