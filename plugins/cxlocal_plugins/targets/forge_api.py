"""What the releases of all forges have in common: how they are asked, and what is read from their answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from cxlocal.hooks.tool import ArtifactRef, Context, Held, ToolFailure, Withdrawn
from cxlocal.values import NamedTuple, Protocol
from cxlocal_plugins.targets.web import Answer, refused, send, slowest

PAGE = 50
"""Entries of one page of a list; what all forges give at once."""
PAGES_MAX = 100
NAMES = "it answers with something that is no release"


class Forge(NamedTuple):
    """A repository at a forge, and the release that is meant."""

    url: str
    project: str
    """``owner/name``."""
    tag: str
    title: str
    notes: str
    """The text, in Markdown."""
    token: str
    early: bool
    """It is a pre-release."""


class Releases(Protocol):
    """The releases of one kind of forge."""

    def __init__(self, forge: Forge, ctx: Context) -> None:
        """For the version of ``ctx``."""

    name: str
    """Of the release itself, among the files."""

    def held(self) -> dict[str, Held]:
        """What is published of each artifact, and of the release itself."""

    def publish(self) -> dict[str, str]:
        """Publish it whole; where each file can be had. Raises ToolFailure, Unreached."""

    def withdraw(self) -> Withdrawn:
        """Take it back, or say where a person can."""


class Api:
    """Requests to one forge: JSON both ways, and a failure for what no caller expects."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        self.base = base
        self.headers = dict(headers)

    def call(
        self, method: str, path: str, body: Any = None, *, expect: tuple[int, ...] = (200,)
    ) -> Answer:
        """One request. Raises Unreached, and ToolFailure for a status that is not expected."""
        headers, raw = dict(self.headers), None
        if body is not None:
            raw = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        answer = send(method, f"{self.base}{path}", headers=headers, body=raw)
        if answer.status == 403 and answer.headers.get("X-RateLimit-Remaining") == "0":
            raise ToolFailure(
                f"{method} {path.partition('?')[0]}: {answer.words}", trouble="unreached"
            )
        if answer.status not in expect:
            raise refused(f"{method} {path.partition('?')[0]}", answer)
        return answer

    def object(
        self, method: str, path: str, body: Any = None, *, expect: tuple[int, ...] = (200,)
    ) -> Any:
        """The object it answers with. Raises as ``call``, and ToolFailure for anything else."""
        found = self.call(method, path, body, expect=expect).json()
        if not isinstance(found, dict):
            raise ToolFailure(f"{path.partition('?')[0]}: {NAMES}", trouble="unreached")
        return found

    def listed(self, path: str, size: str = "per_page") -> Iterator[dict[str, Any]]:
        """The objects of all pages of a list, each once: what has no pages gives all of it each time."""
        mark = "&" if "?" in path else "?"
        seen: set[object] = set()
        for page in range(1, PAGES_MAX + 1):
            found = self.rows(f"{path}{mark}{size}={PAGE}&page={page}")
            new = [one for one in found if one.get("id") not in seen]
            yield from new
            seen.update(one.get("id") for one in new)
            if not new:
                return

    def rows(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list without pages. Raises as ``object``."""
        found = self.call("GET", path).json()
        if not isinstance(found, list) or not all(
            isinstance(one, dict) and isinstance(one.get("id"), int) for one in found
        ):
            raise ToolFailure(f"{path.partition('?')[0]}: {NAMES}", trouble="unreached")
        return found

    def named(self, path: str, *keys: str, absent: tuple[int, ...] = (404,)) -> Any:
        """The object at an address, and None where the forge has none, which it says with a message or with
        nothing at all. Raises as ``object``, also for one without the text that the keys lead to."""
        answer = self.call("GET", path, expect=(200, *absent))
        found = inner = answer.json()
        if answer.status in absent:
            said = isinstance(found, dict) and {"message", "error"} & set(found)
            if answer.body.strip() and not said:
                raise ToolFailure(f"{path}: {answer.words}", trouble="unreached")
            return None
        for key in keys:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if not isinstance(inner, str) or not inner:
            raise ToolFailure(f"{path}: {NAMES}", trouble="unreached")
        return found


def segment(text: str) -> str:
    """A part of a path."""
    return quote(text, safe="")


def compare(one: ArtifactRef, size: object, digest: str, location: str) -> Held:
    """A file by its digest (``sha256:…``); one of another size is another one."""
    wanted = f"sha256:{one.sha256}"
    held = digest or (f"{size} bytes" if size != one.size else "")
    if not held:
        return Held(state="not known", wanted=wanted, location=location)
    return Held.compared(wanted, held, location=location)


def downloaded(address: str, one: ArtifactRef, headers: Mapping[str, str]) -> str:
    """The digest of a file as it is given out. Raises Unreached, and ToolFailure where it is not."""
    answer = send("GET", address, headers=headers, limit=one.size + 1, whole=slowest(one.size))
    if answer.status != 200:
        raise refused(f"{one.path.name} cannot be read", answer)
    return f"sha256:{hashlib.sha256(answer.body).hexdigest()}"


def wrong_tag(tag: str, commit: str, wanted: str) -> ToolFailure:
    """The tag of the release is not there, or leads elsewhere."""
    if not commit:
        return ToolFailure(
            f"the forge has no tag {tag}: push it first, by a target with the tool git-tag"
        )
    return ToolFailure(
        f"the tag {tag} leads to {commit[:12]} at the forge, and not to {wanted[:12]}"
    )


def release_held(tag_commit: str, wanted: str, address: str) -> Held:
    """A published release, by the commit that its tag leads to."""
    return Held.compared(wanted, tag_commit or "no tag", location=address)
