"""What programs say when they fail: a lack, no right, or no way there. Nothing that is not known is absent."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from cxlocal_plugins import oci
from cxlocal_plugins.targets import git_tag, npm

from cxlocal.hooks.tool import Completed


class Inspected(NamedTuple):
    """What is asked of a context to inspect an image."""

    said: str
    options: Any = None

    def exec(self, *_: Any, **__: Any) -> Completed:
        return Completed(
            code=1, output=f'time="2026-11-30T15:00:32Z" level=fatal msg="{self.said}"\n'
        )


AT = 'Error parsing image name \\"docker://r.example:4040/404/not-found:404\\": '
READ = "reading manifest 404 in r.example:4040/404/not-found: "


@pytest.mark.parametrize(
    ("said", "absent", "trouble"),
    [
        (f"{AT}{READ}manifest unknown: manifest unknown", True, ""),
        (f"{AT}{READ}name unknown: repository name not known to registry", True, ""),
        (f"{AT}{READ}StatusCode: 404, <html>", False, "unreached"),
        (f"{AT}{READ}StatusCode: 404, 404 page not found", False, "unreached"),
        (f"{AT}{READ}unknown: artifact shop/web:1.0.0 not found", True, ""),
        (f"{AT}{READ}unauthorized: the token has expired", False, "credential"),
        (f"{AT}{READ}denied: requested access to the resource is denied", False, "credential"),
        (f"{AT}{READ}Get https://r.example/token: lookup r.example: host not found", False, "unreached"),
        (f"{AT}{READ}received unexpected HTTP status: 502 Bad Gateway", False, "unreached"),
        (f"{AT}pinging container registry r.example:4040: dial tcp: connect: connection refused", False, "unreached"),
        (f"{AT}pinging container registry r.example:4040: invalid status code from registry 403 (Forbidden)", False,
         "credential"),
        (f"{AT}getting username and password: exec: docker-credential-x: executable file not found in $PATH", False,
         "credential"),
    ],
)  # fmt: skip
def test_an_image_is_absent_where_the_registry_says_so_alone(
    said: str, absent: bool, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oci, "_access", lambda *_: [])
    ctx: Any = Inspected(said)
    if absent:
        assert oci._digest_at(ctx, "docker://r.example:4040/404/not-found:404") == ""
        return
    with pytest.raises(oci.Trouble) as found:
        oci._digest_at(ctx, "docker://r.example:4040/404/not-found:404")
    assert oci._trouble(found.value.why) == trouble
    assert "docker://" not in found.value.why, "the address stands beside it"


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("fatal: unable to access 'http://h:4031/401.git/': Failed to connect to h port 4031", "unreached"),
        ("fatal: unable to access 'http://h/': The requested URL returned error: 403", "credential"),
        ("fatal: unable to access 'http://h/': The requested URL returned error: 503", "unreached"),
        ("fatal: Authentication failed for 'http://h/'", "credential"),
        (" ! [remote rejected] v1 -> v1 (pre-receive hook declined)", ""),
    ],
)  # fmt: skip
def test_a_number_in_an_address_is_no_refusal(said: str, trouble: str) -> None:
    assert git_tag._trouble(Completed(code=128, output=said)) == trouble


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        ("npm error code E401\nnpm error 401 Unauthorized", "credential"),
        (
            "npm error code E403\nnpm error 403 You cannot publish over the previously published versions: 1.0.0",
            "",
        ),
        ("npm error code ECONNREFUSED\nnpm error FetchError: http://h:4010/E401", "unreached"),
        ("npm error code E409\nnpm error 409 Conflict", ""),
        ("npm error code E502\nnpm error 502 Bad Gateway - PUT http://h/E400", "unreached"),
    ],
)
def test_the_code_of_npm_counts_where_it_says_its_code(said: str, trouble: str) -> None:
    assert npm._trouble(Completed(code=1, output=said)) == trouble
