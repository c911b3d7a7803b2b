"""The tool ``oci`` with a real builder and a real registry."""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from cxlocal_plugins.oci import Oci, tag_of
from cxlocal_plugins.oci_layout import unpack
from engine_kit import Engine, Registry, page_project
from page import blocks

from cxlocal.hooks.context import Ran
from cxlocal.hooks.tool import ArtifactRef, Done, Held, Holdings, Published, ToolFailure
from cxlocal.testing import Bench, ToolContract
from cxlocal.testing.contract import story

pytestmark = pytest.mark.needs("buildah", "skopeo", "docker-registry", "busybox", "runc")
PASSWORD = "pw-7f31c9e2"
HASHED = "$2b$04$qErtxnSdsTN0RVelrJyuUu9s.O02vWHoVY0bLsLMiqyXcvZfkYNVW"
"""The same by bcrypt, the only way this registry takes."""


@pytest.fixture
def shop(tmp_path: Path, engine: Engine, registry: Registry) -> Shop:
    return Shop(tmp_path, engine, registry.host)


class Shop:
    """A project with an image, built and published with the registry's options."""

    def __init__(self, folder: Path, engine: Engine, host: str) -> None:
        self.bench = Bench(folder / "bench")
        self.engine = engine
        self.options: dict[str, Any] = {"to": f"{host}/{folder.name.lower()}/shop", "tls": False}
        page_project(self.bench.checkout)

    def run(self, verb: str, **more: Any) -> Ran:
        return self.bench.run(Oci, verb, self.options, env=self.engine.env, **more)

    def built(self) -> tuple[ArtifactRef, str]:
        ran = self.run("build")
        assert isinstance(ran.outcome.result, Done), story(ran)
        [made] = ran.outcome.result.artifacts
        content = made.path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        reference = ArtifactRef(
            name=made.name, path=made.path, sha256=digest, size=len(content), purl=made.purl
        )
        return reference, ran.outcome.result.details["digest"]

    def publish(self, artifact: ArtifactRef, **more: Any) -> Ran:
        return self.run("publish", artifacts={"image": artifact}, **more)

    def ask(self, artifact: ArtifactRef, **more: Any) -> Held:
        ran = self.run("ask", artifacts={"image": artifact}, **more)
        assert isinstance(ran.outcome.result, Holdings), story(ran)
        return ran.outcome.result.files["image"]

    def skopeo(self, *arguments: str) -> str:
        done = subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()


def published(ran: Ran) -> Published:
    assert isinstance(ran.outcome.result, Published), story(ran)
    return ran.outcome.result


def test_the_same_sources_give_the_same_bytes_and_a_change_gives_others(shop: Shop) -> None:
    first, digest = shop.built()
    again, same = shop.built()
    assert (first.sha256, digest) == (again.sha256, same)
    assert first.purl == f"pkg:oci/webshop@{digest.replace(':', '%3A')}"
    (shop.bench.checkout / "www" / "index.html").write_text("changed")
    other, changed = shop.built()
    assert other.sha256 != first.sha256 and changed != digest


def test_what_the_registry_gives_back_is_the_same_file(shop: Shop, tmp_path: Path) -> None:
    artifact, digest = shop.built()
    assert shop.ask(artifact).state == "absent"
    first = published(shop.publish(artifact))
    assert (shop.ask(artifact).state, shop.ask(artifact).held) == ("same", digest)
    location = f"docker://{shop.options['to']}@{digest}"
    assert first.locations == {"image": location} and first.details["already"] is False
    assert published(shop.publish(artifact)).details["already"] is True
    absent = msgspec.structs.replace(artifact, path=tmp_path / "nothing")
    fetched = shop.run("fetch", artifacts={"image": absent}, put=("image",)).outcome.result
    assert isinstance(fetched, Done)
    assert fetched.artifacts[0].path.read_bytes() == artifact.path.read_bytes()


def test_a_tag_that_somebody_overwrote_is_left_alone_and_named(shop: Shop) -> None:
    artifact, digest = shop.built()
    published(shop.publish(artifact))
    (shop.bench.checkout / "www" / "index.html").write_text("forged")
    other, theirs = shop.built()
    unpack(other.path, shop.bench.folder / "other")
    shop.skopeo("copy", "-q", "--dest-tls-verify=false", f"oci:{shop.bench.folder}/other",
                f"docker://{shop.options['to']}:1.0.0")  # fmt: skip
    assert (shop.ask(artifact).state, shop.ask(artifact).held) == ("other", theirs)
    ran = shop.publish(artifact)
    assert ran.outcome.outcome == "failure" and f"{theirs}, not {digest}" in ran.outcome.reason
    # By its digest it is still what was published.
    seen = shop.skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}",
                       f"docker://{shop.options['to']}@{digest}")  # fmt: skip
    assert seen == digest


def test_a_registry_that_is_away_is_trouble_and_no_empty_answer(shop: Shop) -> None:
    artifact, _ = shop.built()
    shop.options["to"] = "127.0.0.1:9/shop"
    assert (shop.ask(artifact).state, shop.ask(artifact).trouble) == ("not known", "unreached")
    ran = shop.publish(artifact)
    assert ran.outcome.outcome == "error" and "does not say whether it has" in ran.outcome.reason


def test_it_signs_in_with_a_secret_that_nobody_sees(shop: Shop, tmp_path: Path) -> None:
    own = Registry(tmp_path, htpasswd=f"shop:{HASHED}\n")
    try:
        artifact, _ = shop.built()
        shop.options |= {"to": f"{own.host}/shop", "user": "shop"}
        assert shop.ask(artifact, secrets={"REGISTRY_PASSWORD": "wrong"}).trouble == "credential"
        refused = shop.publish(artifact, secrets={"REGISTRY_PASSWORD": "wrong"})
        assert refused.outcome.outcome == "error"
        ran = shop.publish(artifact, secrets={"REGISTRY_PASSWORD": PASSWORD}, mask_log=False)
        assert published(ran).details["already"] is False
        assert PASSWORD.encode() not in ran.log
    finally:
        own.close()


@pytest.mark.parametrize(
    "damage", ["a changed layer", "a missing blob", "two images", "a link out", "no archive"]
)
def test_what_is_no_whole_image_is_refused(shop: Shop, tmp_path: Path, damage: str) -> None:
    artifact, digest = shop.built()
    layout, file = tmp_path / "layout", tmp_path / "damaged.tar"
    unpack(artifact.path, layout)
    manifest = json.loads((layout / "blobs/sha256" / digest[7:]).read_bytes())
    layer = layout / "blobs/sha256" / manifest["layers"][0]["digest"][7:]
    if damage == "a changed layer":
        layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    elif damage == "a missing blob":
        layer.unlink()
    elif damage == "two images":
        index = json.loads((layout / "index.json").read_bytes())
        (layout / "index.json").write_text(json.dumps({"manifests": index["manifests"] * 2}))
    with tarfile.open(file, "w") as archive:
        for path in sorted(each for each in layout.rglob("*") if each.is_file()):
            archive.add(path, path.relative_to(layout))
        if damage == "a link out":
            link = tarfile.TarInfo("blobs/sha256/" + "0" * 64)
            link.type, link.linkname = tarfile.SYMTYPE, "/etc"
            archive.addfile(link)
    if damage == "no archive":
        file.write_bytes(b"x" * 4096)
    ran = shop.publish(ArtifactRef(name="image", path=file, sha256="0" * 64, size=1))
    assert ran.outcome.outcome == "failure", story(ran)
    with pytest.raises(ToolFailure):
        unpack(file, tmp_path / "again")


def test_the_page_can_be_carried_out(project: Any, engine: Engine, registry: Registry) -> None:
    """Two stages; what is recorded names the image by its digest."""
    told = 'tool = "oci", pass_env = ["CONTAINERS_*", "BUILDAH_ISOLATION"]'
    to = f'{registry.host}/page/webshop", tls = false'
    stages = blocks("oci")[0].replace('tool = "oci"', told)
    page_project(project.tree)
    project.write(stages.replace('registry.example.com/webshop"', to))
    done = project.run(env=engine.env)
    assert done.code == 0, done.err
    [(purl, location)] = project.query(
        "SELECT purl, location FROM artifact JOIN artifact_location USING (sha256)"
    )
    digest = purl.rpartition("%3A")[2]
    assert location == f"docker://{registry.host}/page/webshop@sha256:{digest}"


def test_versions_as_tags() -> None:
    assert [tag_of(each) for each in ("1.0.0", "1.0.0+build.5", "1.0.0-rc.1")] == [
        "1.0.0", "1.0.0_build.5", "1.0.0-rc.1",
    ]  # fmt: skip


class TestOci(ToolContract):
    tool = Oci
    with_table: ClassVar[dict[str, Any]] = {}
    life = ("build", "publish")

    @pytest.fixture(autouse=True)
    def _programs(self, engine: Engine, registry: Registry, tmp_path: Path) -> Iterator[None]:
        self.env = engine.env
        self.with_table = {"to": f"{registry.host}/{tmp_path.name.lower()}/shop", "tls": False}  # type: ignore[misc]
        yield

    def prepare(self, bench: Bench) -> None:
        page_project(bench.checkout)

    def _run(self, bench: Bench, verb: str, **more: Any) -> Ran:
        return super()._run(bench, verb, env=self.env, **more)
