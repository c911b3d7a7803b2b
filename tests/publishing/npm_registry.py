"""An npm registry as small as the real client takes it; what it keeps, it keeps as the client sent it."""

from __future__ import annotations

import base64
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class NpmRegistry(ThreadingHTTPServer):
    """Documents by package, files by path. A version is taken once."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.packages: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: NpmRegistry

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0]).strip("/")
        if path in self.server.files:
            return self._say(200, self.server.files[path])
        found = self.server.packages.get(path)
        self._say(
            404 if found is None else 200, json.dumps(found or {"error": "not found"}).encode()
        )

    def do_PUT(self) -> None:
        if self.headers.get("Authorization") != "Bearer npm-secret-token":
            return self._say(401, b'{"error": "who are you"}')
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.server.packages.setdefault(
            said["name"], {**said, "versions": {}, "_attachments": {}}
        )
        for version, manifest in said["versions"].items():
            if version in known["versions"] and said.get("_attachments"):
                return self._say(409, b'{"error": "this version is there"}')
            known["versions"][version] = manifest
            known.setdefault("dist-tags", {}).update(said.get("dist-tags") or {})
        for name, one in (said.get("_attachments") or {}).items():
            self.server.files[f"{said['name']}/-/{name}"] = base64.b64decode(one["data"])
        self._say(201, b"{}")

    def _say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
