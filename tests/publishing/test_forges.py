"""Releases at forges: whole or not seen, never twice, and compared by their bytes.

The real forges were not tried; ``forges.py`` says which pages its doubles follow. PyGithub and python-gitlab
look at the results, and make what stands in the way.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import github
import gitlab
import pytest
from cxlocal_plugins.targets.forge import ForgeRelease
from forges import TOKEN, Double, GiteaDouble, GitHubDouble, GitLabDouble, serving

from cxlocal.hooks.tool import ArtifactRef, Held
from cxlocal.testing import Bench

MADE: dict[str, Callable[[], Double]] = {
    "github": GitHubDouble, "github without digests": lambda: GitHubDouble(digests=False),
    "github immutable": lambda: GitHubDouble(immutable=True), "gitea": GiteaDouble, "gitlab": GitLabDouble,
}  # fmt: skip
RELEASE = "release v1.0.0"
NOTES = {"markdown": "### Features\n\n- a door\n", "plain": "a door\n"}
FILES = {"app": ("app-1.0.0.tar.gz", b"one\0two"), "doc": ("the doc (1).txt", b"words\n")}


class Place:
    """A forge, and the tool at work on it as a run would have it."""

    def __init__(self, kind: str, double: Double, bench: Any) -> None:
        self.kind, self.double, self.bench = kind.split()[0], double, bench
        self.artifacts: dict[str, ArtifactRef] = {}
        for name, (file, content) in FILES.items():
            path = bench.checkout / file
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            self.artifacts[name] = ArtifactRef(
                name=name, path=path, sha256=digest, size=len(content)
            )

    def run(self, verb: str, *, token: str = TOKEN, **told: Any) -> Any:
        table = {
            "forge": self.kind, "url": self.double.url, "project": "acme/shop", "token": "TOKEN",
        }  # fmt: skip
        ran = self.bench.run(
            ForgeRelease, verb, table, artifacts=self.artifacts, secrets={"TOKEN": token},
            environment=False, **told,
        )  # fmt: skip
        return ran.outcome

    def ask(self, **told: Any) -> dict[str, Held]:
        ran = self.run("ask", **told)
        assert ran.outcome == "success", ran.reason
        return dict(ran.result.files)

    def states(self) -> dict[str, str]:
        return {name: one.state for name, one in self.ask().items()}

    def publish(self) -> Any:
        """Ask, and put what is missing, as the rule has it."""
        put = tuple(name for name, state in self.states().items() if state == "absent")
        return self.run("publish", put=put, notes=NOTES)

    def published(self) -> dict[str, bytes]:
        """The files that people get, by name, as an independent client finds them."""
        if self.kind == "gitlab":
            project = gitlab.Gitlab(self.double.url, private_token=TOKEN).projects.get(
                "acme/shop", lazy=True
            )
            release = project.releases.get("v1.0.0")
            named = {one["name"]: one["url"] for one in release.assets["links"]}
            rows = {one["file_name"]: one["bytes"] for one in self.double.registry}  # type: ignore[attr-defined]
            assert all(url.endswith(name.replace(" ", "%20").replace("(", "%28").replace(")", "%29"))
                       for name, url in named.items())  # fmt: skip
            return {name: rows[name] for name in named}
        if self.kind == "github":
            client = github.Github(
                base_url=self.double.url, auth=github.Auth.Token(TOKEN), retry=None, lazy=True
            )
            found = [one for one in client.get_repo("acme/shop").get_releases() if not one.draft]
            assets = [each for one in found for each in one.get_assets()]
            assert {one.state for one in assets} <= {"uploaded"}
            names = {one.id: one.label or one.name for one in assets}
        else:
            names = {each["id"]: each["name"] for one in self.double.releases if not one["draft"]
                     for each in one["assets"]}  # fmt: skip
        every = [each for one in self.double.releases for each in one["assets"]]
        return {names[each["id"]]: each["bytes"] for each in every if each["id"] in names}


WHOLE = {file: content for file, content in FILES.values()}
ALL_THERE = {"app": "same", "doc": "same", RELEASE: "same"}


@pytest.fixture(params=list(MADE))
def place(request: Any, bench: Any) -> Iterator[Place]:
    """Each forge. What it was asked is what its pages document."""
    with serving(MADE[request.param]()) as double:
        yield Place(request.param, double, bench)
    assert double.violations == []


@pytest.fixture
def hub(bench: Any) -> Iterator[Place]:
    """GitHub alone."""
    with serving(GitHubDouble()) as double:
        yield Place("github", double, bench)
    assert double.violations == []


def test_a_release_appears_whole_and_again_changes_nothing(place: Place) -> None:
    seen: list[int] = []

    def look(name: str) -> None:
        found = [one for one in place.double.releases if not one.get("draft")]
        seen.extend(
            len(one["assets"]["links"] if place.kind == "gitlab" else one["assets"])
            for one in found
        )

    place.double.on = look
    assert set(place.states().values()) == {"absent"}
    done = place.publish()
    assert done.outcome == "success", done.reason
    assert set(done.result.locations) == set(FILES)
    assert place.states() == ALL_THERE and place.published() == WHOLE
    assert set(seen) <= {2}, "nobody saw it before it was whole"
    (release,) = place.double.releases
    assert "### Features" in release.get("body", release.get("description"))
    before = [name for name in place.double.log if name in ("create", "upload", "update")]
    assert place.publish().outcome == "success"
    assert [name for name in place.double.log if name in ("create", "upload", "update")] == before


CUTS = [
    ("create", "lost"), ("upload", "502"), ("upload", "lost"), ("upload", "half"), ("update", "502"),
    ("update", "lost"),
]  # fmt: skip
EACH = pytest.mark.parametrize("place", ["github", "gitea", "gitlab"], indirect=True)


@EACH
@pytest.mark.parametrize(("name", "how"), CUTS)
def test_what_was_cut_off_is_finished_by_the_next(place: Place, name: str, how: str) -> None:
    """An answer that was lost after the deed, a refusal, half a file: nothing doubled, nothing half."""
    place.double.weather[name] = how
    first = place.publish()
    if first.outcome != "success":
        assert not [one for one in place.double.releases if not one.get("draft")] or name in (
            "update", "create",
        )  # fmt: skip
    done = place.publish()
    assert done.outcome == "success", done.reason
    assert place.states() == ALL_THERE and place.published() == WHOLE
    assert len(place.double.releases) == 1
    if place.kind != "gitlab":
        assert len(place.double.releases[0]["assets"]) == len(FILES)
    else:
        assert len(place.double.registry) == len(FILES)  # type: ignore[attr-defined]


@EACH
def test_a_tag_that_is_not_there_or_leads_elsewhere(place: Place) -> None:
    place.double.tags.clear()
    refused = place.publish()
    assert refused.outcome == "failure" and "no tag v1.0.0" in refused.reason
    place.double.tags["v1.0.0"] = "d" * 40
    found = place.ask()[RELEASE]
    assert (found.state, found.wanted, found.held) == ("other", "c" * 40, "d" * 40)
    elsewhere = place.run("publish", put=("app", "doc", RELEASE), notes=NOTES)
    assert elsewhere.outcome == "failure" and "leads to dddddddddddd" in elsewhere.reason
    assert place.double.releases == [], "nothing was made"


def test_other_bytes_under_the_name_are_named_and_stay(place: Place) -> None:
    assert place.publish().outcome == "success"
    if place.kind == "gitlab":
        place.double.registry[0]["bytes"] = b"other"  # type: ignore[attr-defined]
    else:
        place.double.releases[0]["assets"][0]["bytes"] = b"another"
    found = place.ask()["app"]
    assert (
        found.state == "other"
        and found.held != found.wanted == f"sha256:{place.artifacts['app'].sha256}"
    )
    if getattr(place.double, "digests", False) and place.kind == "github":
        assert found.held.startswith("sha256:"), "the forge says it, whatever the size"
    before = place.published()
    place.publish()
    assert place.published() == before


def test_a_file_that_is_missing_is_never_green(place: Place) -> None:
    """And is brought where the forge takes it."""
    assert place.publish().outcome == "success"
    immutable = getattr(place.double, "immutable", False)
    if place.kind == "gitlab":
        place.double.releases[0]["assets"]["links"].pop(0)
    else:
        place.double.releases[0]["assets"].pop(0)
    assert place.states() == {**ALL_THERE, "app": "absent"}
    done = place.publish()
    assert (done.outcome == "success") != immutable
    assert place.states() == ({**ALL_THERE, "app": "absent"} if immutable else ALL_THERE)


@EACH
@pytest.mark.parametrize(
    ("weather", "trouble"), [("503", "unreached"), ("403", "credential"), ("404", "unreached")]
)
def test_what_nobody_can_say_is_not_known(place: Place, weather: str, trouble: str) -> None:
    asked = "packages" if place.kind == "gitlab" else "list_releases"
    place.double.weather[asked] = weather
    found = place.ask()
    assert {(one.state, one.trouble) for one in found.values()} == {("not known", trouble)}


@EACH
def test_a_credential_that_expired(place: Place) -> None:
    found = place.ask(token="old")
    assert {one.trouble for one in found.values()} == {"credential"}
    done = place.run("publish", token="old", put=("app", "doc", RELEASE), notes=NOTES)
    assert done.outcome == "failure" and done.result.details == {"trouble": "credential"}
    assert "old" not in done.reason


def test_two_machines_at_once_make_one_release(hub: Place) -> None:
    """While one is about to make its draft another machine publishes all of it."""
    first, second = {"create": True}, Place("github", hub.double, Bench(hub.bench.folder / "other"))

    def other(name: str) -> None:
        if first.pop(name, False):
            done = second.run("publish", put=("app", "doc", RELEASE), notes=NOTES)
            assert done.outcome == "success", done.reason

    hub.double.on = other
    hub.run("publish", put=("app", "doc", RELEASE), notes=NOTES)
    hub.double.on = lambda name: None
    assert hub.publish().outcome == "success"
    assert hub.states() == ALL_THERE and hub.published() == WHOLE
    assert [one["draft"] for one in hub.double.releases] == [False]


def test_a_draft_of_somebody_else_stays_a_draft(hub: Place) -> None:
    client = github.Github(
        base_url=hub.double.url, auth=github.Auth.Token(TOKEN), retry=None, lazy=True
    )
    client.get_repo("acme/shop").create_git_release("v1.0.0", "Mine", "words", draft=True)
    assert hub.publish().outcome == "success"
    assert {one["name"]: one["draft"] for one in hub.double.releases} == {
        "Mine": True,
        "1.0.0": False,
    }


def test_where_one_draft_has_the_tag_alone_it_is_named(bench: Any) -> None:
    with serving(GiteaDouble()) as double:
        place = Place("gitea", double, bench)
        double.create(given={"tag_name": "v1.0.0", "name": "Mine", "draft": True})  # type: ignore[attr-defined]
        done = place.publish()
        assert done.outcome == "failure" and "somebody else's draft" in done.reason
        assert [one["name"] for one in double.releases] == ["Mine"]


@pytest.mark.heavy  # the client takes seconds to load
def test_gitea_by_a_client_that_is_made_of_its_description(bench: Any) -> None:
    """It takes no answer that is of another form."""
    from gitea_api_client import ApiClient, Configuration, CreateReleaseOption, RepositoryApi

    async def look(double: Double) -> tuple[list[str], list[str], bool]:
        settings = Configuration(
            host=f"{double.url}/api/v1", api_key={"AuthorizationHeaderToken": f"token {TOKEN}"}
        )
        async with ApiClient(settings) as client:
            api = RepositoryApi(client)
            releases = await api.repo_list_releases("acme", "shop")
            [own] = [one for one in releases if one.tag_name == "v1.0.0"]
            files = await api.repo_list_release_attachments("acme", "shop", own.id)
            wanted = CreateReleaseOption(tag_name="v2.0.0", draft=True)
            draft = await api.repo_create_release("acme", "shop", body=wanted)
            tag = await api.repo_get_tag("acme", "shop", "v1.0.0")
            assert tag.commit is not None and tag.commit.sha == double.tags["v1.0.0"]
            return [own.name or ""], [str(one.name) for one in files], bool(draft.draft)

    with serving(GiteaDouble()) as double:
        assert Place("gitea", double, bench).publish().outcome == "success"
        assert asyncio.run(look(double)) == (["1.0.0"], list(WHOLE), True)
        assert double.violations == []


def test_files_that_a_person_put_into_the_registry(bench: Any) -> None:
    """The same bytes are taken over, other ones are a conflict before anything is made."""
    with serving(GitLabDouble()) as double:
        place = Place("gitlab", double, bench)
        project = gitlab.Gitlab(double.url, private_token=TOKEN).projects.get(
            "acme/shop", lazy=True
        )
        for one in place.artifacts.values():
            project.generic_packages.upload("webshop", "1.0.0", one.path.name, path=str(one.path))
        assert place.publish().outcome == "success"
        assert len(double.registry) == len(FILES)  # type: ignore[attr-defined]
        double.registry[0]["bytes"] = b"other"  # type: ignore[attr-defined]
        double.releases.clear()
        assert place.states() == {"app": "other", "doc": "absent", RELEASE: "absent"}


def test_withdrawn_it_is_a_draft_again_and_can_come_back(place: Place) -> None:
    assert place.publish().outcome == "success"
    taken = place.run("withdraw")
    assert taken.outcome == "success"
    if place.kind == "gitlab" or getattr(place.double, "immutable", False):
        assert not taken.result.how and taken.result.address.startswith(place.double.url)
        return
    assert taken.result.how and set(place.states().values()) == {"absent"}
    assert place.publish().outcome == "success"
    assert place.states() == ALL_THERE and len(place.double.releases) == 1


def test_uploads_go_to_the_forge_alone(hub: Place) -> None:
    """A credential is not sent to whatever address an answer names."""
    shown = hub.double.shown  # type: ignore[attr-defined]
    hub.double.shown = lambda one: {**shown(one), "upload_url": "http://127.0.0.2:1/x{?name}"}  # type: ignore[attr-defined]
    done = hub.publish()
    assert done.outcome == "failure" and "no address of it" in done.reason


@pytest.mark.parametrize(
    ("table", "words"),
    [({"project": "shop"}, "owner/name"), ({"project": "a/b/../c?x"}, "owner/name"),
     ({"project": "a/b", "url": "file:///etc"}, "no address"), ({"project": "a/b", "forge": "gitea"}, "url is not set"),
     ({"project": "a/b", "tag": "-v 1"}, "name of a tag")],
)  # fmt: skip
def test_options_that_cannot_be(bench: Any, table: dict[str, str], words: str) -> None:
    ran = bench.run(ForgeRelease, "ask", {"forge": "github", **table}, environment=False).outcome
    assert ran.outcome == "failure" and words in ran.reason


def test_a_tag_and_a_release_with_the_notes(shop: Any, publish: Any) -> None:
    """By the commands that people call: the tag goes first, and both say what the version brings."""
    with serving(GitHubDouble()) as double:
        double.follow(shop.remote)
        shop.environ["FORGE_TOKEN"] = TOKEN
        targets = (
            '[secrets]\ntoken = { env = "FORGE_TOKEN" }\n[targets.tag]\ntool = "git-tag"\n'
            '[targets.release]\ntool = "forge-release"\nsecrets = ["token"]\nwith = { token = "token",'
            f' project = "acme/shop", forge = "github", url = "{double.url}" }}\n'
        )
        assert publish(targets).code == 0
        shop.git("commit", "-q", "--allow-empty", "-m", "feat: pears <b>too</b>")
        assert publish(targets + "# changed\n").code == 0
        double.weather["upload"] = "half"
        first = shop.command("publish", "0.1.1")
        done = shop.command("publish", "0.1.1")
        assert done.code == 0, first.err + done.err
        assert "0.1.1 is at 2 of 2 targets" in done.err
    (release,) = double.releases
    assert not release["draft"] and [one["name"] for one in release["assets"]] == [
        "app.txt",
        "doc.txt",
    ]
    assert "pears &lt;b>too&lt;/b>" in release["body"] and "since 0.1.0" in release["body"]
    shop.git("fetch", "-q", "--tags", "origin")
    message = shop.git("tag", "-l", "--format=%(contents)", "v0.1.1")
    assert message.startswith("shop 0.1.1\n\n") and "pears <b>too</b>" in message
    assert double.violations == []
    assert TOKEN not in done.err + (shop.home / "journal.db").read_bytes().decode("latin-1")
