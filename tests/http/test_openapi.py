"""The OpenAPI description is served, and what the server does agrees with it (schemathesis)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from cxlocal_sync.http import wire
from cxlocal_sync.http.app import make_app
from cxlocal_sync.http.description import describe
from cxlocal_sync.http.limits import Rate
from http_kit import ThreadServer
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import ignored_auth

EXAMPLES = 15


@schemathesis.serializer(wire.MESSAGE_TYPE)
def _as_it_is(context: Any, value: Any) -> bytes:
    return bytes(value) if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def open_server(server: ThreadServer, monkeypatch: pytest.MonkeyPatch) -> ThreadServer:
    """A server that lets a test ask as often as it likes, and answers wrong codes at once."""
    clock = server.service.clock
    monkeypatch.setattr(server.service, "_requests", Rate(clock, 1e6, 10**6))
    monkeypatch.setattr(server.service, "_codes", Rate(clock, 1e6, 10**6))
    monkeypatch.setattr("cxlocal_sync.http.limits.WRONG_CODE_SECONDS", 0.0)
    return server


def _operations() -> Iterator[tuple[str, str]]:
    for path, methods in describe()["paths"].items():
        for method in methods:
            yield method.upper(), path


@pytest.mark.parametrize(("method", "path"), list(_operations()))
@pytest.mark.parametrize("member", [True, False], ids=["member", "stranger"])
def test_the_server_does_what_is_described(
    method: str, path: str, member: bool, open_server: ThreadServer, tmp_path: Path
) -> None:
    client = open_server.enrol(tmp_path / "client")
    # The first one to ask makes the store.
    assert requests.get(f"{open_server.url}/v1/health", timeout=10).status_code == 200
    headers = {"authorization": f"Bearer {client.token}"} if member else {}
    schema = schemathesis.openapi.from_dict(describe())
    schema.config.update(base_url=open_server.url)
    operation = schema[path][method]

    @settings(
        max_examples=EXAMPLES if member else 5,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        response = case.call(headers=headers, session=session)
        # Strangers are tried below, and not by sending further requests.
        case.validate_response(response, excluded_checks=[ignored_auth])
        assert response.status_code < 500
        if not member and operation.definition.raw.get("security") != []:
            assert response.status_code == 401
        if response.status_code >= 400:
            assert set(response.json()) == {"error", "what", "why", "hint", "exit_code", "data"}

    with requests.Session() as session:
        check()
    client.close()


def test_the_description_is_served(server: ThreadServer, tmp_path: Path) -> None:
    schema = schemathesis.openapi.from_url(f"{server.url}/v1/openapi.json")
    assert schema.raw_schema == describe()
    schema.validate()


def test_every_route_is_described(server: ThreadServer) -> None:
    app: Any = make_app(server.service)
    routes: set[tuple[str, str]] = {
        (method, route.path) for route in app.routes for method in route.methods
    }
    assert {each for each in routes if each[0] != "HEAD"} == set(_operations())
