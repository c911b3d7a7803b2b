"""The service: ``python -m webshop`` answers on ``$HOST:$PORT``."""

from __future__ import annotations

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

from webshop import PRICES, total


class Shop(BaseHTTPRequestHandler):
    """``/`` lists the prices, ``/total?item=tea`` adds up, ``/version`` says which this is."""

    def do_GET(self) -> None:
        """Answer with JSON."""
        address = urlsplit(self.path)
        if address.path == "/version":
            self.answer(200, version("webshop"))
        elif address.path == "/total":
            self.add_up(parse_qs(address.query).get("item", []))
        else:
            self.answer(200, PRICES)

    def add_up(self, basket: list[str]) -> None:
        """The price of a basket, or 404 for what is not sold here."""
        try:
            self.answer(200, {"pence": total(basket)})
        except KeyError as unknown:
            self.answer(404, {"not sold here": unknown.args[0]})

    def answer(self, status: int, content: object) -> None:
        """Send one JSON document."""
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Shop).serve_forever()
