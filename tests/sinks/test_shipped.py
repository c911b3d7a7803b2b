"""The sinks that need no server of others keep the contract."""

from __future__ import annotations

import json
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cxlocal_plugins.sinks import (
    CloudEvents,
    Command,
    File,
    Graphite,
    Journald,
    JsonLines,
    Otlp,
    Pushgateway,
    Syslog,
)
from receivers import Http, Tcp, answering, free_port, running
from servers import until

from cxlocal.hooks.sink import Later, NotTaken
from cxlocal.testing import Receiver, SinkContract, example


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["cx_id"] for line in path.read_bytes().splitlines()]


class TestFile(SinkContract):
    sink = File
    nowhere = "file:/no/such/folder/x.ndjson"

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        path = folder / "out.ndjson"
        yield Receiver(f"file:{path}", lambda: ids_in(path))


class TestCommand(SinkContract):
    sink = Command
    nowhere = "command:false"

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        path = folder / "out.ndjson"
        yield Receiver(f"command:tee -a '{path}'", lambda: ids_in(path))


class TestJsonLines(SinkContract):
    sink = JsonLines
    nowhere = f"json+tcp://127.0.0.1:{free_port()}"

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        with running(Tcp()) as tcp:
            yield Receiver(
                f"json+tcp://127.0.0.1:{tcp.port}", lambda: [one["cx_id"] for one in tcp.lines()]
            )


class TestJsonLinesWithTls(SinkContract):
    sink = JsonLines

    @pytest.fixture(autouse=True)
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        with running(Tcp(self.context)) as tcp:
            yield Receiver(
                f"json+tls://127.0.0.1:{tcp.port}", lambda: [one["cx_id"] for one in tcp.lines()]
            )

    def test_a_receiver_with_another_certificate_gets_nothing(self, tmp_path: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        with running(Tcp(context)) as tcp:
            sink = self.made(f"json+tls://127.0.0.1:{tcp.port}")
            with pytest.raises(OSError, match="certificate"):
                sink.deliver([example("logs", 1)])
            assert tcp.whole == []


class TestCloudEvents(SinkContract):
    sink = CloudEvents
    nowhere = f"cloudevents+http://127.0.0.1:{free_port()}"

    @contextmanager
    def receiver(self, folder: Path) -> Iterator[Receiver]:
        with running(Http()) as http:
            yield Receiver(f"cloudevents+http://127.0.0.1:{http.port}/in?x=1", http.ids)


def cloudevents(http: Http, **more: Any) -> AbstractContextManager[Any]:
    """The sink, with little patience; closed at the end."""
    to = f"cloudevents+http://127.0.0.1:{http.port}/"
    return closing(CloudEvents(to, None, timeout_seconds=0.3, **more))


def test_a_stretch_that_was_cut_off_is_not_taken(tcp: Tcp) -> None:
    sink = JsonLines(f"json+tcp://127.0.0.1:{tcp.port}", None, timeout_seconds=5)
    batch = [example("logs", index, "x" * 500) for index in range(200)]
    tcp.cut_after = [20_000]
    with pytest.raises(OSError):
        sink.deliver(batch)
    assert tcp.whole == []
    assert sink.deliver(batch) == 200
    assert [one["cx_id"] for one in tcp.lines()] == [one.id for one in batch]


def test_a_receiver_that_closes_before_the_end_has_not_said_that_it_has_all(tcp: Tcp) -> None:
    tcp.hasty = True
    sink = JsonLines(f"json+tcp://127.0.0.1:{tcp.port}", None, timeout_seconds=5)
    batch = [example("logs", index, "x" * 8000) for index in range(1500)]
    with pytest.raises((Later, OSError)):
        sink.deliver(batch)


def test_a_receiver_that_never_reads_takes_nothing(tcp: Tcp) -> None:
    tcp.mute = True
    sink = JsonLines(f"json+tcp://127.0.0.1:{tcp.port}", None, timeout_seconds=0.2)
    with pytest.raises(OSError):
        sink.deliver([example("logs", 1)])


@pytest.mark.parametrize("status", [500, 503, 429, 408, 401, 403, 404, 302, 0, -1])
def test_what_may_pass_is_tried_again(http: Http, status: int) -> None:
    batch = [example("events", index) for index in range(3)]
    http.answers = [202, *[status] * 4]
    with cloudevents(http) as sink:
        assert sink.deliver(batch) == 1
        with pytest.raises(Later):
            sink.deliver(batch[1:])
        http.answers = []
        assert sink.deliver(batch[1:]) == 2
    assert list(dict.fromkeys(http.ids())) == ["e-0", "e-1", "e-2"]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_is_refused_for_good_is_said_of_one_record(http: Http, status: int) -> None:
    http.judge = lambda body: status if json.loads(body)["id"] == "e-2" else 202
    batch = [example("events", index) for index in range(4)]
    with cloudevents(http) as sink:
        assert sink.deliver(batch) == 2
        with pytest.raises(NotTaken, match=str(status)):
            sink.deliver(batch[2:])
        assert sink.deliver(batch[3:]) == 1


def test_a_token_goes_into_the_head(http: Http) -> None:
    with cloudevents(http, token="s3cret") as sink:
        sink.deliver([example("events", 0)])
    _, headers, body = http.requests[0]
    assert headers["Authorization"] == "Bearer s3cret"
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    assert b"s3cret" not in body


def test_a_file_that_cannot_take_all_keeps_no_half_line(tmp_path: Path) -> None:
    with pytest.raises(Later, match="no plain file"):
        File("file:/dev/full", None).deliver([example("logs", 0)])
    with pytest.raises(OSError):
        File(f"file:{tmp_path}", None).deliver([example("logs", 0)])
    path = tmp_path / "out.ndjson"
    sink = File(f"file:{path}", None)
    sink.deliver([example("logs", 0)])
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 100, hard))
    try:
        with pytest.raises(OSError, match="large"):
            sink.deliver([example("logs", 1)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="whole path"):
        File("file:here.ndjson", None)


@pytest.mark.parametrize("to", ["command:", "command:./send.sh x", "command:a/b"])
def test_no_command_of_a_checkout_is_started(to: str) -> None:
    with pytest.raises(ValueError, match="PATH"):
        Command(to, None)


ANSWERS = {
    "elsewhere": b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    "who are you": b"HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
    "who before me": b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    "another protocol": b"220 ready\r\n",
    "nothing": b"",
    "half a status": b"HTTP/1.1 20",
    "half a head": b"HTTP/1.1 500 No\r\nContent-Le",
    "a long head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    "many heads": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    "a status that is none": b"HTTP/1.1 9999999999999999 OK\r\n\r\n",
    "a length that is none": b"HTTP/1.1 503 No\r\nContent-Length: -7\r\n\r\n" + b"x" * 100,
    "an end that does not come": b"HTTP/1.1 500 No\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 100,
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("sink", [CloudEvents, Journald, Otlp, Pushgateway])
def test_an_answer_that_is_none_means_later(sink: Any, answer: str) -> None:
    """Nothing is taken, nothing refused for good, and the token goes nowhere else."""
    kind = min(sink.takes)
    with answering(ANSWERS[answer]) as (port, asked):
        made = sink(
            f"{sink.schemes[0]}://127.0.0.1:{port}", None, token="s3cret", timeout_seconds=1
        )
        with closing(made), pytest.raises((Later, OSError)):
            made.deliver([example(kind, 0)])
        assert 1 <= len(asked) <= 2
        assert all(b"Authorization: Bearer s3cret" in one for one in asked)


@pytest.mark.parametrize("scheme", ["json+tcp", "syslog+tcp", "graphite+tcp"])
def test_a_receiver_that_talks_without_end_takes_nothing(scheme: str) -> None:
    kinds = {"json+tcp": JsonLines, "syslog+tcp": Syslog, "graphite+tcp": Graphite}
    kind = "metrics" if scheme == "graphite+tcp" else "logs"
    with answering(b"\r\n\r\n" + b"x" * 60_000, endless=True) as (port, _):
        sink = kinds[scheme](f"{scheme}://127.0.0.1:{port}", None, timeout_seconds=5)
        with pytest.raises((Later, OSError)):
            sink.deliver([example(kind, 0)])


def test_an_answer_too_many_is_the_answer_to_nothing() -> None:
    """The second word on the first record is not taken for the first on the second."""
    listener, said = socket.create_server(("127.0.0.1", 0)), threading.Event()
    taken = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(taken)
            said.wait(10)
            connection.sendall(taken)
            said.clear()
            connection.recv(65536)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        to = f"cloudevents+http://127.0.0.1:{listener.getsockname()[1]}/"
        with closing(CloudEvents(to, None, timeout_seconds=5)) as sink:
            assert sink.deliver([example("events", 0)]) == 1
            said.set()
            until(lambda: not said.is_set())
            with pytest.raises(Later, match="more often than it was asked"):
                sink.deliver([example("events", 1)])
    finally:
        listener.close()
        thread.join(10)
