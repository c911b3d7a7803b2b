"""A tag pushed over HTTP: a host that answers, one that wants a credential, one that is away."""

from __future__ import annotations

import os
import subprocess
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from weather import serving


class GitHost(ThreadingHTTPServer):
    """``git http-backend`` for the repositories in a folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.wants_login, self.down = folder, False, False


class Handler(BaseHTTPRequestHandler):
    """One request, as CGI (RFC 3875)."""

    server: GitHost

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.down:
            return self._say(503, [("Content-Type", "text/plain")], b"maintenance")
        if self.server.wants_login and "Authorization" not in self.headers:
            return self._say(401, [("WWW-Authenticate", 'Basic realm="git"')], b"")
        parts = urlsplit(self.path)
        told = {
            "GIT_PROJECT_ROOT": str(self.server.folder), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query, "REQUEST_METHOD": self.command, "REMOTE_USER": "ann",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "PATH": os.environ["PATH"],
        }  # fmt: skip
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=told, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.decode().partition(": ")[::2] for line in head.split(b"\r\n")]
        status = next((int(value[:3]) for name, value in fields if name == "Status"), 200)
        self._say(status, [one for one in fields if one[0] != "Status"], content)

    do_GET = do_POST = _serve

    def _say(self, status: int, fields: list[tuple[str, str]], content: bytes) -> None:
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def test_a_tag_over_http_on_good_and_on_bad_days(shop: Any, publish: Any) -> None:
    with serving(GitHost(shop.root)) as host:
        shop.git(
            "remote", "set-url", "origin", f"http://127.0.0.1:{host.server_address[1]}/remote.git"
        )
        subprocess.run(["git", "config", "http.receivepack", "true"], cwd=shop.remote, check=True)
        assert publish('[targets.tag]\ntool = "git-tag"\n').code == 0
        for bad, code in (("wants_login", 4), ("down", 9)):
            setattr(host, bad, True)
            done = shop.command("publish", "0.1.0")
            assert done.code == code, done.err
            assert "tag not known" in done.err, done.err
            setattr(host, bad, False)
        assert shop.command("publish", "0.1.0").code == 0
        assert "refs/tags/v0.1.0" in shop.git("ls-remote", "origin")
