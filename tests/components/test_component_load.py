"""A real balancer under load: deployed, killed in the middle, gone on with, rolled back, and not one request fails."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, Self

import pytest
from toys import component

PAUSE_SECONDS = 0.005
"""Between two requests of one kind: some 300 in a second, which leave a machine time for the rest."""
BALANCER = """
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  option idle-close-on-response
frontend shop
  bind 127.0.0.1:CXLOCAL_PORT
  default_backend web
backend web
  balance roundrobin
"""
SERVER = """
import http.server, os, sys
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = os.environ["V"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *told): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
with open(sys.argv[1] + ".part", "w") as file:
    file.write(f"{os.getpid()} {server.server_address[1]} {os.environ['V']}\\n")
os.rename(sys.argv[1] + ".part", sys.argv[1])
server.serve_forever()
"""
WEB = {
    "create": """
f="$DESK/web/$CXLOCAL_RESOURCE"
test -s "$f" || { mkdir -p "$DESK/web"; cp serve.py "$DESK/serve.py"; env -u CXLOCAL_MARK V="$CXLOCAL_VERSION" \\
  setsid python3 "$DESK/serve.py" "$f" > /dev/null 2>&1 < /dev/null & }
until test -s "$f"; do sleep 0.05; done
read pid port version < "$f"
echo "{\\"address\\": \\"127.0.0.1:$port\\"}" > "$CXLOCAL_RESULT"
""",
    "remove": """
f="$DESK/web/$CXLOCAL_RESOURCE"
if test -s "$f"; then read pid port version < "$f"; kill "$pid" || true; rm -f "$f"; fi
""",
    "observe": """
comma= ; printf '{"resources": [' > "$CXLOCAL_RESULT"
for one in "$DESK"/web/*; do
  test -s "$one" || continue
  read pid port version < "$one"
  printf '%s{"id": "%s", "version": "%s"}' "$comma" "${one##*/}" "$version" >> "$CXLOCAL_RESULT"; comma=,
done
echo ']}' >> "$CXLOCAL_RESULT"
""",
}
CONFIG = (
    '[stages]\nlive = { kind = "deploy", environment = "production" }\n'
    "[environments]\nproduction = { protected = false }\n"
    '[components.lb]\nmutable = true\ntool = "haproxy"\nwith = { config = "lb.cfg", backend = "web" }\n'
    + component("web", WEB, 'count = 2\nbehind = "lb"\nhealth = "/"\ndrain = "5s"\nkeep_old = "1h"\n'
                'rollout = [{ weight = 25, hold = "1s" }, { weight = 100 }]')
)  # fmt: skip


class Load:
    """Requests without a pause, on kept connections and on new ones; what came back, and what went wrong."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (True, False)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *told: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, kept: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._over.wait(PAUSE_SECONDS):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
                if answer.status != 200 or not body:
                    self.wrong.append(f"{answer.status} {body}")
                self.seen[body] += 1
                if not kept or answer.will_close:
                    connection.close()
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
                connection.close()
        connection.close()


@pytest.mark.slow
@pytest.mark.needs("haproxy")
@pytest.mark.timeout(300)
def test_not_one_request_fails(desk_shop: Any) -> None:
    shop = desk_shop
    shop.write(CONFIG, {"lb.cfg": BALANCER, "serve.py": SERVER})
    done = shop.run("--no-input")
    assert done.code == 0, done.err + shop.log("live")
    [uri] = shop.query("SELECT uri FROM deployments_now")
    try:
        with Load(int(uri.rpartition(":")[2])) as load:
            shop.push("two")
            assert shop.run("--no-input").code == 0
            shop.push("three")
            kill_in_the_canary(shop, load)
            shop.push("four")
            done = shop.run("--no-input")
            assert done.code == 0, done.err
            assert load.seen["0.1.3"], "four serves"
            done = shop.command("rollback", "production")
            assert done.code == 0, done.err
    finally:
        gone = shop.command("env", "destroy", "production", "--yes")
    assert load.wrong == [] and sum(load.seen.values()) > 200
    assert shop.query("SELECT version FROM deployment WHERE kind = 'rolledback'") == ["0.1.1"]
    assert gone.code == 0, gone.err
    assert list((shop.desk / "web").iterdir()) == []


def kill_in_the_canary(shop: Any, load: Load) -> None:
    """The run is killed while some of what comes goes to its new instances."""
    process = shop.start("run", "--no-input")
    until = time.monotonic() + 60
    while not load.seen["0.1.2"]:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(list(Path(shop.desk / "web").iterdir())) >= 4
