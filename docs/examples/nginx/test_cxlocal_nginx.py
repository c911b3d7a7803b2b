"""What every balancer should keep, on a real nginx; and that requests go where weights say."""

import socket
import subprocess
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from cxlocal_nginx import Nginx

from cxlocal.testing import Bench, ComponentContract


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Says(BaseHTTPRequestHandler):
    """Answers with its port; `/slow` only when it is let go."""

    let_go, arrived = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.arrived.set()
            self.let_go.wait(20)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.server.server_address[1]).encode())

    def log_message(self, *words: object) -> None:
        pass


class TestNginx(ComponentContract):
    tool = Nginx
    with_table: ClassVar[dict[str, Any]] = {"listen": f"127.0.0.1:{free_port()}"}
    behind = True

    def restart(self, bench: Bench) -> None:
        """As after a crash: what is on disk is all there is."""
        pid = (bench.environment.folder / "lb" / "nginx.pid").read_text().strip()
        subprocess.run(["kill", "-9", pid], check=True)

    def test_requests_go_where_weights_say(self, bench: Bench) -> None:
        servers = [ThreadingHTTPServer(("127.0.0.1", 0), Says) for _ in range(2)]
        for one in servers:
            threading.Thread(target=one.serve_forever, daemon=True).start()
        ports = [one.server_address[1] for one in servers]
        places = {"old": f"127.0.0.1:{ports[0]}", "new": f"127.0.0.1:{ports[1]}"}

        def get(path: str = "/") -> int:
            with urllib.request.urlopen(
                f"http://{self.with_table['listen']}{path}", timeout=30
            ) as answer:
                return int(answer.read())

        def ask(verb: str, **told: Any) -> str:
            return str(self._run(bench, verb, turn=3, addresses=places, **told).outcome.outcome)

        assert ask("apply") == "success"
        assert ask("rotate", wanted={"old": 90, "new": 10}) == "success"
        assert Counter(get() for _ in range(100)) == {ports[0]: 90, ports[1]: 10}
        heard: list[int] = []
        slow = threading.Thread(target=lambda: heard.append(get("/slow")))
        assert ask("rotate", wanted={"old": 100}) == "success"
        slow.start()
        assert Says.arrived.wait(20)
        assert ask("rotate", wanted={"new": 100}) == "success"
        assert {get() for _ in range(5)} == {ports[1]}
        assert ask("drain", resource="old", limit_seconds=2.0) == "failure", (
            "somebody is still served"
        )
        Says.let_go.set()
        assert ask("drain", resource="old") == "success"
        slow.join()
        assert heard == [ports[0]], "nobody was cut off"
        for one in servers:
            one.shutdown()
            one.server_close()
