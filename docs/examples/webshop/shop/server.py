"""A web shop of one page. It keeps orders in PostgreSQL and counts visits in redis, by the standard library
alone, so that its image can be built without a package index."""

import hashlib
import os
import signal
import socket
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = os.environ["CXLOCAL_VERSION"]
BODY = f"webshop {VERSION}\n"
BODY += hashlib.sha256(BODY.strip().encode()).hexdigest() * 64


def setting(name):
    """A variable; where it is a secret, the file that holds it."""
    file = os.environ.get(f"{name}_FILE")
    return open(file).read() if file else os.environ.get(name, "")


def ask_database(question):
    """The first column of the first row. Frontend/Backend protocol 3.0, without a password."""
    url = urlsplit(setting("DATABASE_URL"))
    told = f"user\0{url.username}\0database\0{url.path[1:]}\0\0".encode()
    with socket.create_connection((url.hostname, url.port or 5432), 5) as link:
        link.sendall(struct.pack("!ii", len(told) + 8, 196608) + told)
        stream, row, ready = link.makefile("rb"), None, 0
        while ready < 2:
            kind, (size,) = stream.read(1), struct.unpack("!i", stream.read(4))
            content = stream.read(size - 4)
            if kind == b"E":
                raise OSError(content.replace(b"\0", b" ").decode("utf-8", "replace"))
            if kind == b"D" and row is None:
                row = content[6:].decode()
            if kind == b"Z":
                ready += 1
                if ready == 1:
                    asked = question.encode() + b"\0"
                    link.sendall(b"Q" + struct.pack("!i", len(asked) + 4) + asked)
    return row


def ask_cache(*words):
    """An answer of redis, as one line."""
    url = urlsplit(setting("CACHE_URL"))
    with socket.create_connection((url.hostname, url.port or 6379), 5) as link:
        link.sendall((" ".join(words) + "\r\n").encode())
        return link.makefile("rb").readline().decode().strip()


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        asked = urlsplit(self.path)
        status, text = 200, BODY
        try:
            if asked.path == "/health":
                text = f"{ask_database('SELECT 1')} {ask_cache('PING')}\n"
            elif asked.path == "/orders":
                text = f"{ask_database('SELECT count(*) FROM orders')} orders, visit {ask_cache('INCR', 'visits')}\n"
            elif slow := parse_qs(asked.query).get("slow"):
                time.sleep(float(slow[0]))
        except OSError as error:
            status, text = 503, f"{error}\n"
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_OPTIONS = do_GET

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *signals: sys.exit(0))
    ThreadingHTTPServer.request_queue_size = (
        128  # of connections that come at once; five by default
    )
    ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Shop).serve_forever()
