"""The tool ``debian-repository`` with the real reprepro, and what apt reads there."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from cxlocal_plugins.targets.debian import DebianRepository

from cxlocal.testing import Bench

pytestmark = [pytest.mark.needs("reprepro"), pytest.mark.needs("dpkg-deb")]


def package(folder: Path, made: Any, version: str, content: str = "ours") -> Any:
    tree = folder / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "shop.txt").write_text(content)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: shop\nVersion: {version}\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a shop\n"
        "Section: web\nPriority: optional\n"
    )
    path = folder / f"shop_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", tree, path], check=True, capture_output=True
    )
    return made.reference("deb", path)


def test_a_package_is_included_once_and_told_from_another(
    bench: Bench, made: Any, tmp_path: Path
) -> None:
    base = tmp_path / "repository"
    options = {"folder": str(base), "codename": "stable"}
    file = package(tmp_path / "a", made, "1.0.0")
    other = package(tmp_path / "b", made, "1.0.0", "a stranger's")

    def call(verb: str, one: Any, **rest: Any) -> Any:
        return bench.run(DebianRepository, verb, options, artifacts={"deb": one}, **rest).outcome

    away = call("ask", file).result.files["deb"]
    assert (away.state, away.trouble) == ("not known", "unreached"), "not mounted is not empty"
    (base / "conf").mkdir(parents=True)
    (base / "conf" / "distributions").write_text(
        "Codename: stable\nComponents: main\nArchitectures: amd64 arm64\n"
    )
    assert call("ask", file).result.files["deb"].state == "absent"
    assert call("publish", file, put=("deb",)).outcome == "success"
    held = call("ask", file).result.files["deb"]
    assert (held.state, held.held) == ("same", f"sha256:{file.sha256}")
    assert Path(held.location.removeprefix("file://")).read_bytes() == file.path.read_bytes()
    listed = subprocess.run(
        ["reprepro", "-b", base, "list", "stable", "shop"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "amd64: shop 1.0.0" in listed.stdout
    there = call("ask", other).result.files["deb"]
    assert (there.state, there.held) == ("other", f"sha256:{file.sha256}")
    assert call("publish", other, put=("deb",)).outcome == "failure", "reprepro refuses it"
    assert call("ask", file).result.files["deb"].state == "same"
    newer = package(tmp_path / "c", made, "1.1.0")
    assert call("publish", newer, put=("deb",)).outcome == "success"
    older = call("ask", file).result.files["deb"]
    assert (older.state, older.why) == ("absent", "it has 1.1.0"), (
        "a repository has the newest alone"
    )
    assert "remove stable shop" in call("withdraw", newer).result.address


SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"


def test_a_list_that_is_not_the_one_that_release_names_is_not_known(
    bench: Bench, made: Any, tmp_path: Path
) -> None:
    """apt refuses such a repository, whatever its lists say; one that is whole again is known again."""
    base = tmp_path / "repository"
    (base / "conf").mkdir(parents=True)
    (base / "conf" / "distributions").write_text(
        "Codename: stable\nComponents: main\nArchitectures: amd64\n"
    )
    options = {"folder": str(base), "codename": "stable"}
    file = package(tmp_path / "a", made, "1.0.0")

    def ask() -> Any:
        ran = bench.run(DebianRepository, "ask", options, artifacts={"deb": file})
        return ran.outcome.result.files["deb"]

    done = bench.run(DebianRepository, "publish", options, artifacts={"deb": file}, put=("deb",))
    assert done.outcome.outcome == "success" and ask().state == "same"
    stable = base / "dists" / "stable"
    release, plain = stable / "Release", stable / "main" / "binary-amd64" / "Packages"
    packed = plain.with_name("Packages.gz")
    whole = {one: one.read_bytes() for one in (release, plain, packed)}
    text = whole[release].decode()

    def spoilt(changes: dict[Path, bytes | None], state: str, why: str = "") -> None:
        for one, content in changes.items():
            one.write_bytes(content) if content is not None else one.unlink()
        held = ask()
        assert held.state == state and why in held.why, (list(changes), held)
        (stable / "InRelease").unlink(missing_ok=True)
        for one, content in whole.items():
            one.write_bytes(content)

    spoilt(
        {plain: whole[plain] + b"\n"}, "not known", "Packages is not the list that Release names"
    )
    spoilt({plain: None, packed: b"\x1f\x8b cut"}, "not known", "Packages.gz is not the list")
    spoilt({plain: None}, "same")
    spoilt({plain: None, packed: None}, "not known", "is named by Release, and not there")
    spoilt({release: None}, "not known", "neither InRelease nor Release")
    spoilt({release: b"Codename: stable\n"}, "not known", "neither InRelease nor Release")
    spoilt(
        {plain: b"", packed: None, release: text.replace("MD5Sum", "Other").encode()},
        "not known",
        "is not the list",
    )
    inline = stable / "InRelease"
    spoilt({inline: SIGNED.format(text).encode()}, "same")
    spoilt({inline: SIGNED.format(text).encode(), release: None}, "same")
    spoilt(
        {inline: SIGNED.format(text.replace("stable", "older")).encode()},
        "not known",
        "not the same",
    )
    for left in (stable / "main" / "binary-riscv64", stable / "other" / "binary-amd64"):
        left.mkdir(parents=True)
        (left / "Packages").write_text("Package: shop\nVersion: 9\nArchitecture: all\n")
    assert ask().state == "same", "what Release does not name is no list of the repository"
