"""The tool ``forge-release`` against a double of three forges, and what clients of others read there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import github
import gitlab
import pytest
from cxlocal_plugins.targets.forge import ForgeRelease
from forge_double import TOKEN, ForgeDouble
from weather import Weather, serving

from cxlocal.testing import Bench
from cxlocal.testing.bench import REVISION

APIS = {"github": "/gh", "gitea": "/api/v1", "gitlab": "/api/v4"}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ForgeDouble, Weather]]:
    with serving(ForgeDouble()) as forge, serving(Weather(forge.url)) as weather:
        yield forge, weather


class Desk:
    """Asks and puts one release."""

    def __init__(
        self, bench: Bench, servers: tuple[ForgeDouble, Weather], folder: Path, made: Any
    ) -> None:
        self.bench, (self.forge, self.weather) = bench, servers
        self.forge.forget()
        self.forge.immutable, self.weather.mood = False, "fine"
        self.files = {}
        for name in ("app", "doc"):
            (folder / f"{name}.bin").write_text(f"our {name}")
            self.files[name] = made.reference(name, folder / f"{name}.bin")

    def call(self, kind: str, verb: str, **rest: Any) -> Any:
        # Addresses in answers lead to the forge itself: all but uploads go through the weather.
        options = {
            "forge": kind,
            "project": "shop/web",
            "url": f"{self.weather.url}{APIS[kind]}",
            "token": "T",
        }
        ran = self.bench.run(
            ForgeRelease, verb, options, artifacts=self.files, secrets={"T": TOKEN}, **rest
        )
        assert TOKEN.encode() not in ran.log
        return ran.outcome

    def ask(self, kind: str) -> dict[str, str]:
        return {name: one.state for name, one in self.call(kind, "ask").result.files.items()}

    def put(self, kind: str) -> Any:
        return self.call(kind, "publish", put=("release v1.0.0", "app", "doc"))


@pytest.fixture
def desk(bench: Bench, servers: Any, tmp_path: Path, made: Any) -> Desk:
    return Desk(bench, servers, tmp_path, made)


NOTHING = {"release v1.0.0": "absent", "app": "absent", "doc": "absent"}
ALL = dict.fromkeys(NOTHING, "same")


@pytest.mark.parametrize("kind", APIS)
def test_a_release_is_made_whole_and_left_alone(desk: Desk, kind: str) -> None:
    assert desk.ask(kind) == NOTHING
    early = desk.put(kind)
    assert early.outcome == "failure" and "publish it before" in early.reason
    desk.forge.tags["v1.0.0"] = REVISION
    done = desk.put(kind)
    assert done.outcome == "success", done.reason
    assert desk.ask(kind) == ALL
    assert desk.put(kind).outcome == "success" and len(desk.forge.releases) == 1
    desk.files["doc"].path.write_text("other")
    assert not desk.forge.wrong, "every request is one that the vendor describes"


@pytest.mark.parametrize("kind", APIS)
def test_bad_days_leave_nothing_that_people_see(desk: Desk, kind: str) -> None:
    desk.forge.tags["v1.0.0"] = REVISION
    desk.weather.mood = "down"
    assert set(desk.ask(kind).values()) == {"not known"}
    desk.weather.mood = "expired"
    assert desk.put(kind).result.details["trouble"] == "credential"
    desk.weather.mood = "gone after writing"
    lost = desk.put(kind)
    assert lost.outcome == "failure"
    desk.weather.mood = "fine"
    assert set(desk.ask(kind).values()) <= {"absent", "same"}
    assert desk.put(kind).outcome == "success"
    assert desk.ask(kind) == ALL
    assert len(desk.forge.releases) == 1, "the draft of before was taken up again"


def test_a_tag_that_leads_elsewhere_gets_no_release(desk: Desk) -> None:
    desk.forge.tags["v1.0.0"] = "d" * 40
    for kind in APIS:
        refused = desk.put(kind)
        assert refused.outcome == "failure" and "dddddddddddd" in refused.reason
    assert desk.forge.releases == []


@pytest.mark.parametrize("kind", ["github", "gitea"])
def test_a_draft_of_somebody_else_is_named_and_left_alone(desk: Desk, kind: str) -> None:
    desk.forge.tags["v1.0.0"] = REVISION
    theirs = {
        "id": 99,
        "tag_name": "v1.0.0",
        "draft": True,
        "body": "by hand",
        "assets": [],
        "html_url": "https://f/9",
    }
    desk.forge.releases.append(theirs)
    refused = desk.put(kind)
    assert refused.outcome == "failure" and "https://f/9" in refused.reason
    assert desk.forge.releases == [theirs] and theirs["draft"]


def test_half_a_file_in_our_draft_is_sent_anew(desk: Desk) -> None:
    desk.forge.tags["v1.0.0"] = REVISION
    desk.forge.immutable = True
    desk.weather.mood = "gone after writing"
    desk.put("github")
    desk.weather.mood = "fine"
    [draft] = desk.forge.releases
    draft["assets"] = [
        {"id": 500, "name": "app.bin", "state": "starter", "browser_download_url": ""}
    ]
    assert desk.put("github").outcome == "success"
    assert desk.ask("github") == ALL
    assert [one["state"] for one in draft["assets"]] == ["uploaded", "uploaded"]


def test_other_bytes_of_a_published_file_are_named(desk: Desk) -> None:
    desk.forge.tags["v1.0.0"] = REVISION
    for kind in APIS:
        desk.forge.releases.clear()
        assert desk.put(kind).outcome == "success"
        for key in [key for key in desk.forge.files if desk.forge.files[key] == b"our app"]:
            desk.forge.files[key] = b"a stranger's"
        for release in desk.forge.releases if kind == "github" else ():
            for asset in release["assets"]:
                asset["digest"] = "sha256:" + "0" * 64
        states = desk.ask(kind)
        assert states["app"] == "other", kind
        assert desk.put(kind).outcome == "failure"


def test_clients_of_others_read_the_same(desk: Desk) -> None:
    desk.forge.tags["v1.0.0"] = REVISION
    assert desk.put("github").outcome == "success"
    hub = github.Github(base_url=f"{desk.forge.url}/gh", auth=github.Auth.Token(TOKEN))
    release = hub.get_repo("shop/web").get_release("v1.0.0")
    assert {one.name for one in release.assets} == {"app.bin", "doc.bin"} and not release.draft
    desk.forge.releases.clear()
    assert desk.put("gitlab").outcome == "success"
    lab = gitlab.Gitlab(desk.forge.url, private_token=TOKEN)
    links = lab.projects.get("shop/web").releases.get("v1.0.0").assets["links"]
    assert [one["name"] for one in links] == ["app.bin", "doc.bin"]
