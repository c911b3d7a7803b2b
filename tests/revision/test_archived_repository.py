"""A repository that came as an archive, with a ``.git`` of its own, starts nothing on this machine.

Whatever git's configuration can name as a program is planted in it; each leaves a file behind. Only
commands that run stages may start any: they run the project's own commands anyway.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

RUN_STAGES = {
    "run", "rehearse", "drill", "demo", "stage", "deploy", "rollback", "publish", "withdraw",
}  # fmt: skip

COMMANDS: dict[str, tuple[str, ...]] = {
    "run --dry-run": (), "run start": ("--allow-uncommitted",), "run finish": (),
    "promote": ("qa", "--reason", "x"), "status": (), "log": (), "notes": (), "show": (),
    "artifact": (), "artifact list": (), "artifact get": (), "review": ("x", "-m", "y"),
    "incident": (), "incident list": (), "incident open": ("-m", "x"), "incident close": ("-m", "x"),
    "browse": ("--get", "/"), "sql": ("select 1",), "version": (), "version list": (),
    "version explain": ("1.0.0",), "version next": (), "prepare": (), "sync": (), "sinks": ("--now",), "store": (),
    "store status": (), "store follow": ("--all",), "store create": ("{place}/store.db",),
    "store adopt": (), "store join": ("http://127.0.0.1:9",), "store invite": ("bob",),
    "store revoke": ("bob",), "store members": (), "store grant": ("bob", "--manage"),
    "store move": ("sqlite://{place}/moved.db",), "store backup": ("{place}/backup",), "store recover": (), "serve": ("--store", "{place}/none.db"),
    "export": ("--format", "cdevents"), "import": ("--tags", "*"), "verify": (), "journal": (),
    "journal path": (), "journal rebuild": (), "journal recover": (), "doctor": (),
    "journal settle": ("x", "--keep", "y", "-m", "z"), "journal redact": ("latest", "x", "-m", "z"),
    "store moved": ("http://127.0.0.1:9",),
    "init": ("--force",), "env": (), "env list": (), "env show": ("production",),
    "env confirm": ("production", "--live", "1.0.0", "-m", "x"), "env reap": (), "env repair": ("production",), "env forget": ("4f1c22aa", "-m", "x"), "env release": ("production", "db", "-m", "x"), "env take": ("production", "-m", "x"), "env settle": ("production", "db", "-m", "x"),
    "env destroy": ("x",), "env observe": (), "prune": (), "mirror": (),
    "mirror add": ("{place}/mirror.git",), "mirror list": (),
    "mirror remove": ("{place}/mirror.git",), "config": (), "config show": (),
    "config schema": (), "config path": (), "plugins": (), "trust": (), "completion": ("bash",),
}  # fmt: skip

HOOKS = (
    "post-checkout", "post-index-change", "pre-push", "reference-transaction", "update",
    "pre-auto-gc", "fsmonitor-watchman", "post-merge", "pre-commit", "push-to-checkout",
)  # fmt: skip

CX = """\
cx = 1
[deliverable]
name = "shop"
[stages]
build = { command = "true" }
[promotions]
qa = { }
[environments]
production = { }
"""


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree as it was packed, before anything is planted: pushed, and partly left at origin."""
    place = tmp_path_factory.mktemp("archive")
    git(place, "init", "-q", "--bare", "remote.git")
    git(place, "init", "-q", "tree")
    tree = place / "tree"
    (tree / "cx.toml").write_text(CX)
    (tree / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    (tree / ".gitmodules").write_text('[submodule "lib"]\n\tpath = lib\n\turl = ../remote.git\n')
    git(tree, "add", "-A")
    git(tree, "commit", "-q", "-m", "first")
    git(tree, "tag", "v0.9.1")
    git(tree, "remote", "add", "origin", str(place / "remote.git"))
    git(tree, "push", "-q", "--tags", "origin", "HEAD:refs/heads/main")
    git(tree, "fetch", "-q", "origin")
    return place


def planted(tree: Path, ran: Path, url: str) -> None:
    """Fill ``.git`` with programs."""
    own = tree / ".git"
    program = tree / "evil.sh"
    program.write_text(f'#!/bin/sh\necho "$0 $*" >>{ran}\n')
    program.chmod(0o755)
    for name in HOOKS:
        (own / "hooks").mkdir(exist_ok=True)
        shutil.copy(program, own / "hooks" / name)
    (own / "info").mkdir(exist_ok=True)
    (own / "info/attributes").write_text("* filter=evil diff=evil\n")
    (own / "objects/info").mkdir(exist_ok=True)
    (own / "objects/info/alternates").write_text(f"{tree.parent}/remote.git/objects\n")
    (own / "more").write_text(f"[core]\n\tfsmonitor = {program}\n\tsshCommand = {program}\n")
    (own / "config.worktree").write_text(
        f"[core]\n\tfsmonitor = {program}\n\thooksPath = {own}/hooks\n\teditor = {program}\n"
    )
    with (own / "config").open("a") as config:
        config.write(f"""
[include]
	path = {own}/more
[core]
	hooksPath = {own}/hooks
	gitProxy = {program}
	askPass = {program}
	pager = {program}
	editor = {program}
	alternateRefsCommand = {program}
	untrackedCache = true
[filter "evil"]
	clean = {program}
	smudge = {program}
	process = {program}
	required = true
[diff]
	external = {program}
[diff "evil"]
	command = {program}
	textconv = {program}
[merge "evil"]
	driver = {program}
[alias]
	status = !{program}
	log = !{program}
	ls-remote = !{program}
[pager]
	log = {program}
	status = {program}
	config = {program}
[credential]
	helper = !{program}
[gpg]
	program = {program}
[log]
	showSignature = true
[push]
	gpgSign = true
[protocol "ext"]
	allow = always
[hook "evil"]
	command = {program}
	event = post-index-change
[gpg "ssh"]
	program = {program}
	defaultKeyCommand = {program}
[submodule "lib"]
	active = true
	url = {tree.parent}/remote.git
	update = !{program}
[extensions]
	partialClone = origin
	worktreeConfig = true
[remote "origin"]
	url = {url}
	uploadpack = {program}
	receivepack = {program}
	promisor = true
	partialclonefilter = blob:none
[remote "{tree.parent}/mirror.git"]
	receivepack = {program}
	uploadpack = {program}
[url "ext::{program} "]
	insteadOf = evil:
""")
    # As if the remote were the one that is in the configuration now.
    text = (own / "config").read_text().replace(f"url = {tree.parent}/remote.git\n", "", 1)
    (own / "config").write_text(text)
    (own / "objects/pack/pack-x.promisor").write_text("")
    (tree / "cx.toml").touch()


@pytest.fixture(scope="module")
def evil(archive: Path) -> Path:
    planted(archive / "tree", archive / "ran", str(archive / "remote.git"))
    return archive


def documented() -> set[str]:
    page = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
    return set(re.findall(r"^## cxlocal (.+)$", page.read_text(), re.MULTILINE))


def test_every_command_is_tried() -> None:
    tried = {name.partition(" --")[0] for name in COMMANDS}
    assert documented() == tried | RUN_STAGES


def calm(archive: Path, cx: Any, command: str, *arguments: str) -> Any:
    """Call it, and see that nothing was started; what it says is its own matter."""
    words = [word.format(place=archive) for word in (*command.split(), *arguments)]
    env = {"CXLOCAL_HOME": str(archive / "home")}
    (archive / "tree/cx.toml").touch()
    done = cx(*words, cwd=archive / "tree", env=env, timeout=40)
    ran = archive / "ran"
    started = ran.read_text() if ran.exists() else ""
    ran.unlink(missing_ok=True)
    assert not started, f"{command} started:\n{started}\n{done.err}"
    assert "Traceback" not in done.err and "bug in cxlocal" not in done.err
    return done


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_started(evil: Path, cx: Any, command: str) -> None:
    calm(evil, cx, command, *COMMANDS[command])


URLS = {
    "ssh": "ssh://git@nowhere.invalid/x.git", "scp": "git@nowhere.invalid:x.git",
    "git": "git://nowhere.invalid/x.git", "ext": "ext::{place}/tree/evil.sh %S",
    "instead of": "evil:x.git", "helper": "evil::x", "path": "remote.git",
    "missing objects": "{place}/remote.git",
}  # fmt: skip


@pytest.mark.parametrize("kind", URLS)
def test_no_address_starts_anything(archive: Path, cx: Any, kind: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    shutil.copytree(archive, place, symlinks=True)
    shutil.rmtree(place / "home", ignore_errors=True)
    tree = place / "tree"
    text = (tree / ".git/config").read_text()
    (tree / ".git/config").write_text(text.partition("\n[include]")[0] + "\n")
    planted(tree, place / "ran", URLS[kind].format(place=place))
    if kind == "missing objects":
        blob = git(tree, "-c", "core.fsmonitor=false", "rev-parse", "HEAD:cx.toml")
        (tree / ".git/objects" / blob[:2] / blob[2:]).unlink()
        (tree / ".git/objects/info/alternates").unlink()
    for command in ("doctor", "run start", "run --dry-run", "sync", "import", "mirror add"):
        calm(place, cx, command, *COMMANDS[command])


def test_what_is_not_asked_is_said(evil: Path, cx: Any) -> None:
    """Why the remote was not asked, and the way out where a person asked for it by name."""
    done = calm(evil, cx, "run --dry-run", "--json")
    proof = done.json()["proof"]
    assert proof["kind"] == "tracking ref" and "core.sshcommand" in proof["reason"]
    refused = calm(evil, cx, "mirror add", "{place}/mirror.git")
    assert refused.code == 3 and "git config --local --unset-all core.sshcommand" in refused.err


def test_planted_programs_do_run_where_stages_do(archive: Path, cx: Any, tmp_path: Path) -> None:
    """So that the tests above can fail: ``run`` asks its remote as the repository says."""
    place = tmp_path / "place"
    shutil.copytree(archive, place, symlinks=True)
    shutil.rmtree(place / "home", ignore_errors=True)
    tree = place / "tree"
    text = (tree / ".git/config").read_text().partition("\n[include]")[0]
    (tree / ".git/config").write_text(text + "\n")
    planted(tree, place / "ran", "git@nowhere.invalid:x.git")
    cx("run", cwd=tree, env={"CXLOCAL_HOME": str(place / "home")})
    assert (place / "ran").exists()
