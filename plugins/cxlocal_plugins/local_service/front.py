"""What answers at the port of a service, for good: ``front.py FOLDER PORT``. It hands each request to an instance.

Which one says ``route.json``, which is read again whenever it was replaced: from then on no request goes
anywhere else. A request has a connection of its own to its instance, so one that is to end is left alone by
the moment when its last answer is out. ``front.json`` says where this process tells how many that are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from cxlocal.files import write_whole

LOOPBACK = "127.0.0.1"
ROUTE, FRONT = "route.json", "front.json"
HEAD_BYTES_MAX = 64 * 1024
PART_BYTES = 64 * 1024
CONNECT_SECONDS = 2.0
BACKLOG = 1024
HOP = ("connection", "keep-alive", "proxy-connection")
"""Headers about one connection, not about the message."""


class Refusal(Exception):
    """An answer of our own."""

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


class Head:
    """The first lines of a request or an answer."""

    def __init__(self, raw: bytes) -> None:
        self.first, *lines = raw[:-4].split(b"\r\n")
        pairs = [line.partition(b":")[::2] for line in lines]
        self.lines = [
            (name.decode("latin-1").strip().lower(), name + b":" + value) for name, value in pairs
        ]
        self.words = self.first.decode("latin-1").split(" ", 2)

    def get(self, name: str) -> str:
        """The values of a header, joined by commas; empty for none."""
        found = [line.partition(b":")[2] for key, line in self.lines if key == name]
        return ",".join(one.decode("latin-1").strip() for one in found).lower()

    def has(self, name: str, word: str) -> bool:
        """Whether a header lists a word."""
        return word in [one.strip() for one in self.get(name).split(",")]

    def written(self, *more: bytes, hop: bool = False) -> bytes:
        """The bytes to send on, without what is about the connection they came by (``hop``: with it)."""
        kept = [line for name, line in self.lines if hop or name not in HOP]
        return b"\r\n".join([self.first, *kept, *more, b"", b""])

    @property
    def length(self) -> int:
        """Of the body in bytes; -1: in chunks; -2: not said. Raises Refusal."""
        said = self.get("content-length")
        if self.has("transfer-encoding", "chunked"):
            if said:
                raise Refusal("400 Bad Request")
            return -1
        if said and not said.isdecimal():
            raise Refusal("400 Bad Request")
        return int(said) if said else -2


class Route:
    """Who gets the next request."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROUTE
        self._mark: tuple[int, ...] = ()
        self._wanted: dict[str, tuple[int, int]] = {}
        self._owed: Counter[str] = Counter()
        self.busy: Counter[str] = Counter()
        """Requests that are under way, by instance."""

    def choices(self) -> list[tuple[str, int]]:
        """Every instance that gets something, with its port: the one whose turn it is first."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            seen = os.stat(self._path)
            mark = (seen.st_ino, seen.st_mtime_ns, seen.st_size)
            if mark != self._mark:
                said = json.loads(self._path.read_bytes())
                ports = said["ports"]
                self._wanted = {
                    one: (weight, ports[one])
                    for one, weight in said["wanted"].items()
                    if one in ports
                }
                self._owed = Counter()
                self._mark = mark
        # Each is owed its weight for every request; who is owed most gets it, and pays for all.
        for one, (weight, _) in self._wanted.items():
            self._owed[one] += weight
        ranked = sorted(self._wanted, key=lambda one: -self._owed[one])
        if ranked:
            self._owed[ranked[0]] -= sum(weight for weight, _ in self._wanted.values())
        return [(one, self._wanted[one][1]) for one in ranked]

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[StreamReader, StreamWriter]]:
        """A new connection to whose turn it is, or to another one where nobody answers. Raises Refusal."""
        for one, port in self.choices():
            self.busy[one] += 1
            try:
                try:
                    opening = asyncio.open_connection(LOOPBACK, port, limit=HEAD_BYTES_MAX)
                    reader, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
                except (OSError, TimeoutError):
                    continue
                try:
                    yield reader, writer
                finally:
                    writer.close()
                return
            finally:
                self.busy[one] -= 1
        raise Refusal("503 Service Unavailable")


class Front:
    """Serves everybody who comes to the port."""

    def __init__(self, folder: Path) -> None:
        self.route = Route(folder)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection of a client, with as many requests as it sends."""
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # One of both sides is gone or speaks no HTTP; the other one sees its connection end.
        finally:
            writer.close()

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """One request and its answer; whether another may follow."""
        answered = False
        try:
            head = await _head(reader)
            if head is None:
                return False
            length = 0 if head.length == -2 else head.length
            async with self.route.open() as (theirs, to_them):
                switches = bool(head.get("upgrade")) or head.words[0] == "CONNECT"
                more = () if switches else (b"Connection: close",)
                to_them.write(head.written(*more, hop=switches))
                sending = asyncio.ensure_future(_send_body(length, reader, to_them))
                try:
                    while True:
                        answer = await _head(theirs)
                        if answer is None:
                            raise Refusal("502 Bad Gateway")
                        answered = True
                        if answer.words[1:2] == ["101"]:
                            writer.write(answer.written(hop=True))
                            await _tunnel(reader, writer, theirs, to_them)
                            return False
                        if not answer.words[1:2][0].startswith("1"):
                            break
                        writer.write(answer.written())
                        await writer.drain()
                    keeps = await _send_answer(head, answer, theirs, writer, last=switches)
                    return keeps and sending.done() and not to_them.is_closing()
                finally:
                    await _end(sending)
        except Refusal as refusal:
            if not answered:
                text = (
                    f"HTTP/1.1 {refusal.status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                writer.write(text.encode())
                await writer.drain()
            return False

    async def tell(self, reader: StreamReader, writer: StreamWriter) -> None:
        """How many requests are under way at each instance."""
        writer.write(json.dumps(dict(self.route.busy)).encode())
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()


async def _head(reader: StreamReader) -> Head | None:
    """The next head; None where nothing comes any more. Raises Refusal."""
    try:
        head = Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise Refusal("431 Request Header Fields Too Large") from None
    if len(head.words) < 2:
        raise Refusal("400 Bad Request")
    return head


async def _send_body(length: int, reader: StreamReader, writer: StreamWriter) -> None:
    """The body of a request. Where it does not come whole the instance is told so by the end of its
    connection: it would wait for the rest."""
    try:
        await _copy(reader, writer, length)
        await writer.drain()
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        writer.close()


async def _send_answer(
    head: Head, answer: Head, reader: StreamReader, writer: StreamWriter, *, last: bool
) -> bool:
    """Pass an answer on; whether the client's connection may stay open. It may not after the ``last`` one."""
    empty = head.words[0] == "HEAD" or answer.words[1] in ("204", "304")
    length = 0 if empty else answer.length
    keeps = (
        not last
        and length != -2
        and answer.first.startswith(b"HTTP/1.1")
        and head.words[-1] == "HTTP/1.1"
        and not head.has("connection", "close")
    )
    writer.write(answer.written(*(() if keeps else (b"Connection: close",))))
    await _copy(reader, writer, length)
    await writer.drain()
    return keeps


async def _copy(reader: StreamReader, writer: StreamWriter, length: int) -> None:
    """So many bytes; -1: chunks; -2: until the end. Raises EOFError where it ends too early."""
    while length > 0:
        part = await reader.read(min(length, PART_BYTES))
        if not part:
            raise EOFError
        length -= len(part)
        writer.write(part)
        await writer.drain()
    while length == -1:
        line = await reader.readuntil(b"\n")
        said = line.partition(b";")[0].strip()
        if not said.isalnum():
            raise ValueError  # A sign or a line below is part of no size, though int() takes both.
        size = int(said, 16)
        writer.write(line)
        if size:
            await _copy(reader, writer, size + 2)
            continue
        while await _line(reader, writer) != b"\r\n":
            pass
        return
    while length == -2 and (part := await reader.read(PART_BYTES)):
        writer.write(part)
        await writer.drain()


async def _line(reader: StreamReader, writer: StreamWriter) -> bytes:
    line = await reader.readuntil(b"\n")
    writer.write(line)
    return line


async def _tunnel(
    reader: StreamReader, writer: StreamWriter, theirs: StreamReader, to_them: StreamWriter
) -> None:
    """Bytes both ways, until one side has ended."""
    ways = [asyncio.ensure_future(_copy(*way, -2)) for way in ((reader, to_them), (theirs, writer))]
    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    await _end(*ways)


async def _end(*tasks: asyncio.Future[None]) -> None:
    for one in tasks:
        one.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def main(folder: Path, port: int) -> None:
    """Serve until killed. Raises OSError where the port is somebody else's."""
    front = Front(folder)
    served: Any = await asyncio.start_server(
        front.serve, LOOPBACK, port, limit=HEAD_BYTES_MAX, backlog=BACKLOG
    )
    told: Any = await asyncio.start_server(front.tell, LOOPBACK, 0)
    said = {"pid": os.getpid(), "port": port, "tells": told.sockets[0].getsockname()[1]}
    write_whole(folder / FRONT, json.dumps(said), durable=False)
    await served.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
