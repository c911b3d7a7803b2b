"""Nothing that a person, the system or a variable tells git changes the bytes of a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxlocal.errors import Trouble
from cxlocal.revision.checkout import Checkout, checkout
from cxlocal.revision.filters import Filter, agreed_filters
from cxlocal.revision.git import World, git_environment
from cxlocal.revision.remotes import origin_of

FILES = {
    ".gitattributes": "* text=auto\n*.up filter=up\n*.bat eol=crlf\n",
    "f.txt": "one\ntwo\n", "a.up": "text\n", "b.bat": "x\n", "$Id$": "$Id$\n",
}  # fmt: skip
LINES = {"core.eol": "crlf", "core.autocrlf": "true", "core.safecrlf": "true"}


def contents(folder: Path) -> dict[str, tuple[bytes, bool]]:
    """Every file with its bytes (of a link: where it leads), and whether it can be executed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if ".git" not in name.parts and (path.is_symlink() or path.is_file()):
            content = os.readlink(path).encode() if path.is_symlink() else path.read_bytes()
            found[str(name)] = (content, os.access(path, os.X_OK))
    return found


@pytest.fixture(scope="module")
def project(module_desk: Any) -> Any:
    """One commit with what settings like to change."""
    work, _ = module_desk.project()
    work.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (work.path / "link").symlink_to("f.txt")
    work.commit("files", **FILES)
    return work


@pytest.fixture(scope="module")
def plain(project: Any, module_desk: Any) -> dict[str, tuple[bytes, bool]]:
    """What a checkout holds where nobody configured anything."""
    checkout(project.open(), project.head(), module_desk.folder / "plain")
    return contents(module_desk.folder / "plain")


def settings(home: Path) -> dict[str, str]:
    """All that could change bytes or start a program; programs leave a file ``ran`` behind."""
    program = f"touch {home}/ran; tr a-z A-Z"
    (home / "attributes").write_text("* eol=crlf\nf.txt filter=up\n")
    for hook in (home / "hooks/post-checkout", home / "template/hooks/post-checkout"):
        hook.parent.mkdir(parents=True)
        hook.write_text(f"#!/bin/sh\ntouch {home}/ran\n")
        hook.chmod(0o755)
    (home / "template/info").mkdir()
    (home / "template/info/attributes").write_text("* filter=up\n")
    return {
        **LINES,
        "core.symlinks": "false", "core.fileMode": "false", "core.ignoreCase": "true",
        "core.attributesFile": f"{home}/attributes", "core.hooksPath": f"{home}/hooks",
        "core.fsmonitor": f"touch {home}/ran", "core.sparseCheckout": "true",
        "core.alternateRefsCommand": f"touch {home}/ran", "core.pager": f"touch {home}/ran",
        "init.templateDir": f"{home}/template", "init.defaultObjectFormat": "sha256",
        "filter.up.smudge": program, "filter.up.clean": program, "filter.up.required": "true",
        "filter.lfs.process": program, "filter.up.process": program,
        "checkout.workers": "4", "submodule.recurse": "true",
    }  # fmt: skip


def written(pairs: dict[str, str]) -> str:
    lines = []
    for key, value in pairs.items():
        section, _, name = key.rpartition(".")
        top, _, sub = section.partition(".")
        lines.append(f'[{top} "{sub}"]' if sub else f"[{top}]")
        lines.append(f'\t{name} = "{value}"')
    return "\n".join(lines) + "\n"


def _person(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    (home / ".gitconfig").write_text(written(pairs))


def _person_by_folder(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/git/config").write_text(written(pairs))
    (home / ".config/git/attributes").write_text("* filter=up eol=crlf\n")


def _included(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    (home / "more").write_text(written(pairs))
    (home / "once").write_text(f"[include]\n\tpath = {home}/more\n")
    (home / ".gitconfig").write_text(
        f'[includeIf "gitdir:/"]\n\tpath = {home}/once\n[include]\n\tpath = {home}/nowhere\n'
    )


def _system(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    (home / "system").write_text(written(pairs))
    patch.delenv("GIT_CONFIG_NOSYSTEM")
    patch.setenv("GIT_CONFIG_SYSTEM", str(home / "system"))


def _another_file(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    (home / "other").write_text(written(pairs))
    patch.setenv("GIT_CONFIG_GLOBAL", str(home / "other"))


def _counted(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    patch.setenv("GIT_CONFIG_COUNT", str(len(pairs)))
    for position, (key, value) in enumerate(pairs.items()):
        patch.setenv(f"GIT_CONFIG_KEY_{position}", key)
        patch.setenv(f"GIT_CONFIG_VALUE_{position}", value)


def _parameters(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    words = " ".join(f"'{key}'='{value}'" for key, value in pairs.items())
    patch.setenv("GIT_CONFIG_PARAMETERS", words)


def _variables(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    for name, value in {
        "GIT_TEMPLATE_DIR": f"{home}/template", "GIT_DIR": f"{home}/x", "GIT_WORK_TREE": f"{home}",
        "GIT_INDEX_FILE": f"{home}/index", "GIT_OBJECT_DIRECTORY": f"{home}/objects",
        "GIT_DEFAULT_HASH": "sha256", "GIT_LITERAL_PATHSPECS": "1", "GIT_ATTR_SOURCE": "HEAD~1",
        "GIT_EXTERNAL_DIFF": f"touch {home}/ran", "GIT_PAGER": f"touch {home}/ran",
        "GIT_SSH_COMMAND": f"touch {home}/ran", "GIT_ASKPASS": f"{home}/hooks/post-checkout",
        "GIT_TRACE": f"{home}/trace", "GIT_TRACE2_EVENT": f"{home}/trace",
        "GIT_DEFAULT_REF_FORMAT": "reftable", "GIT_INDEX_VERSION": "4", "GIT_FSMONITOR_TEST": "x",
    }.items():  # fmt: skip
        patch.setenv(name, value)


def _of_the_repository(home: Path, project: Any, patch: Any, pairs: dict[str, str]) -> None:
    with (project.path / ".git/config").open("a") as config:
        config.write(written(pairs))
    (project.path / ".git/info").mkdir(exist_ok=True)
    (project.path / ".git/info/attributes").write_text("* filter=up eol=crlf\n")


PLACES: list[Callable[[Path, Any, Any, dict[str, str]], None]] = [
    _person, _person_by_folder, _included, _system, _another_file, _counted, _parameters,
    _variables, _of_the_repository,
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_the_bytes_are_the_same_and_no_program_is_started(
    place: Any, project: Any, plain: Any, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    commit = project.head()
    config = project.path / ".git/config"
    before = config.read_bytes()
    place(home, project, monkeypatch, settings(home))
    try:
        done = checkout(project.open(), commit, tmp_path / "out")
    finally:
        config.write_bytes(before)
        (project.path / ".git/info/attributes").unlink(missing_ok=True)
    assert contents(tmp_path / "out") == plain
    assert plain["a.up"] == (b"text\n", False) and plain["b.bat"] == (b"x\r\n", False)
    assert not (home / "ran").exists() and not (home / "trace").exists()
    assert done.unfiltered == ("up",)


def test_of_the_variables_only_the_place_of_git_stays() -> None:
    names = ("GIT_EXEC_PATH", "GIT_SSH", "GIT_CONFIG_COUNT", "GIT_ANYTHING_NEW", "HOME")
    alone = git_environment(dict.fromkeys(names, "x"), World.ALONE)
    assert {name for name in names if name in alone} == {"GIT_EXEC_PATH", "HOME"}


def agreed(project: Any, names: list[str], target: Path) -> Checkout:
    repository = project.open()
    return checkout(repository, project.head(), target, filters=agreed_filters(repository, names))


@pytest.mark.parametrize("kind", ["smudge", "process"])
def test_a_filter_that_is_named_works(
    kind: str, project: Any, plain: Any, home: Path, tmp_path: Path
) -> None:
    program = "tr a-z A-Z"
    if kind == "process":
        script = home / "filter.py"
        script.write_text(FILTER_PROCESS)
        program = f"python3 {script}"
    (home / ".gitconfig").write_text(written({f"filter.up.{kind}": program, **LINES}))
    done = agreed(project, ["up", "lfs"], tmp_path / "out")
    assert contents(tmp_path / "out") == {**plain, "a.up": (b"TEXT\n", False)}
    assert done.unfiltered == ()


def test_a_filter_that_is_named_and_missing_is_said(project: Any, tmp_path: Path) -> None:
    with pytest.raises(Trouble) as error:
        agreed(project, ["up"], tmp_path / "out")
    assert error.value.name == "filter-missing"
    assert "git config --global filter.up.smudge" in error.value.hint


def _in_worktree_config(project: Any, pairs: dict[str, str]) -> None:
    project.git("config", "extensions.worktreeConfig", "true")
    (project.path / ".git/config.worktree").write_text(written(pairs))


def _in_config(project: Any, pairs: dict[str, str]) -> None:
    with (project.path / ".git/config").open("a") as config:
        config.write(written(pairs))


def _in_an_included_file(project: Any, pairs: dict[str, str]) -> None:
    (project.path / "more").write_text(written(pairs))
    _in_config(project, {"include.path": "../more"})


def _in_a_file_included_here(project: Any, pairs: dict[str, str]) -> None:
    (project.path / ".git/more").write_text(written(pairs))
    _in_config(project, {"includeIf.gitdir:/.path": str(project.path / ".git/more")})


OWN = [_in_config, _in_worktree_config, _in_an_included_file, _in_a_file_included_here]


@pytest.mark.parametrize("believed", [True, False], ids=["run", "other-commands"])
@pytest.mark.parametrize("kind", ["smudge", "process", "clean"])
@pytest.mark.parametrize("place", OWN)
def test_the_command_of_a_filter_is_never_that_of_the_repository(
    project: Any, tmp_path: Path, home: Path, place: Any, kind: str, believed: bool
) -> None:
    """Whoever runs: an archive's ``.git`` says nothing of what turns the commit into other bytes."""
    work = tmp_path / "work"
    shutil.copytree(project.path, work, symlinks=True)
    copy = type(project)(work)
    program = f"touch {home}/ran; tr a-z A-Z"
    place(copy, {f"filter.up.{kind}": program})
    repository = copy.open()._replace(believed=believed)
    with pytest.raises(Trouble) as error:
        agreed_filters(repository, ["up"])
    assert f"filter.up.{kind}) does not count" in error.value.why
    # With a command of the person, nothing of the repository's takes part beside it.
    (home / ".gitconfig").write_text(written({"filter.up.smudge": "tr t T"}))
    found = agreed_filters(repository, ["up"])
    assert found == (Filter("up", "tr t T", ""),)
    checkout(repository, copy.head(), tmp_path / "out", filters=found)
    assert (tmp_path / "out/a.up").read_text() == "TexT\n"
    assert not (home / "ran").exists()


def test_what_is_proposed_takes_the_command_over(
    project: Any, tmp_path: Path, home: Path, monkeypatch: Any
) -> None:
    """As for a filter that its own installer wrote into the repository's configuration."""
    work = tmp_path / "work"
    shutil.copytree(project.path, work, symlinks=True)
    copy = type(project)(work)
    odd = "u p; touch x"
    _in_config(copy, {f"filter.{odd}.smudge": "tr a-z A-Z", f"filter.{odd}.clean": "cat"})
    with pytest.raises(Trouble) as error:
        agreed_filters(copy.open(), [odd])
    said, _, commands = error.value.hint.partition(": ")
    assert said == "once you know what it starts"
    subprocess.run(["sh", "-c", commands], cwd=work, check=True)
    assert agreed_filters(copy.open(), [odd]) == (Filter(odd, "tr a-z A-Z", "cat"),)
    assert not (work / "x").exists()


@pytest.mark.parametrize("place", [_person, _person_by_folder, _included, _system, _another_file,
                                   _counted, _parameters])  # fmt: skip
def test_the_command_of_a_filter_comes_from_wherever_the_person_says(
    place: Any, project: Any, home: Path, monkeypatch: Any
) -> None:
    place(home, project, monkeypatch, {"filter.up.smudge": "cat"})
    assert agreed_filters(project.open(), ["up"]) == (Filter("up", "cat", ""),)


def test_a_filter_that_fails_leaves_no_checkout(project: Any, home: Path, tmp_path: Path) -> None:
    (home / ".gitconfig").write_text(written({"filter.up.smudge": "false"}))
    with pytest.raises(Trouble) as error:
        agreed(project, ["up"], tmp_path / "out")
    assert error.value.name == "checkout-failed" and "up" in error.value.hint
    assert not (tmp_path / "out").exists()


def test_git_crypt_is_called_with_the_keys_of_the_repository(
    desk: Any, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """Its program is played: it says how it was called and where it was told to look."""
    program = home / "bin/git-crypt"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ncat\necho "$@" "$(git config git-crypt.repoStateDir)"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    work, _ = desk.project()
    attributes = "*.key filter=git-crypt\n*.ops filter=git-crypt-ops\n"
    work.commit("secret", **{".gitattributes": attributes, "a.key": "a\n", "b.ops": "b\n"})
    agreed(work, ["git-crypt", "git-crypt-ops"], tmp_path / "out")
    state = work.path / ".git/git-crypt"
    assert (tmp_path / "out/a.key").read_text() == f"a\nsmudge {state}\n"
    assert (tmp_path / "out/b.ops").read_text() == f"b\nsmudge --key-name=ops {state}\n"


ORIGINS = [
    # address, further configuration of the repository, what the checkout has
    ("../remote.git", [], "{desk}/remote.git"),
    ("./remote.git", [], "{desk}/work/remote.git"),
    ("/repositories/x.git", [], "/repositories/x.git"),
    ("file:///repositories/x.git", [], "file:///repositories/x.git"),
    ("https://example.org/x.git", [], "https://example.org/x.git"),
    ("https://me:secret@example.org/x.git", [], "https://example.org/x.git"),
    ("git@example.org:acme/x.git", [], "git@example.org:acme/x.git"),
    ("co:x.git", ["url.{desk}/.insteadOf=co:"], "{desk}/x.git"),
    ("co:x.git", ["url.../.insteadOf=co:"], "{desk}/x.git"),
    ("gh:acme/x", ["url.https://github.com/.insteadOf=gh:"], "https://github.com/acme/x"),
    (
        "git@github.com:acme/x", ["url.https://github.com/.insteadOf=git@github.com:"],
        "https://github.com/acme/x",
    ),
    (
        "gh:acme/x", ["url.https://a.example/.insteadOf=gh:", "url.https://b.example/.insteadOf=gh:acme/"],
        "https://b.example/x",
    ),
    (
        "https://gitlab.example/x",
        ["url.https://gitlab-ci-token:secret@gitlab.example.insteadOf=https://gitlab.example"],
        "https://gitlab.example/x",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("address", "further", "expected"), ORIGINS)
def test_origin_leads_where_that_of_the_repository_does(
    desk: Any, tmp_path: Path, address: str, further: list[str], expected: str
) -> None:
    work = desk.new("work")
    work.commit("first")
    work.git("remote", "add", "origin", address)
    for pair in further:
        key, _, value = pair.format(desk=desk.folder).partition("=")
        work.git("config", "--add", key, value)
    checkout(work.open(), work.head(), tmp_path / "out" / "deep")
    out = type(work)(tmp_path / "out" / "deep")
    assert out.git("remote", "get-url", "origin") == expected.format(desk=desk.folder)
    assert "secret" not in (out.path / ".git/config").read_text()


def test_where_it_pushes_to_and_what_the_person_replaces(desk: Any, home: Path) -> None:
    work = desk.new("work")
    work.git("remote", "add", "origin", "gh:acme/x")
    work.git("config", "--global", "url.https://person.example/.insteadOf", "gh:")
    assert origin_of(work.open()) == ("gh:acme/x", ()), "the git of a stage replaces it"
    work.git("config", "url.ssh://git@host/.pushInsteadOf", "gh:")
    assert origin_of(work.open()) == ("gh:acme/x", ("ssh://git@host/acme/x",))
    work.git("config", "remote.origin.pushurl", "../push.git")
    assert origin_of(work.open()) == ("gh:acme/x", (f"{desk.folder}/push.git",))
    work.git("config", "--unset", "remote.origin.pushurl")
    work.git("config", "--unset", "url.ssh://git@host/.pushInsteadOf")
    work.git("config", "--add", "remote.origin.url", "/srv/second")
    assert origin_of(work.open()) == ("gh:acme/x", ("gh:acme/x", "/srv/second"))


FILTER_PROCESS = """
import sys


def read():
    size = int(sys.stdin.buffer.read(4) or b"0", 16)
    return sys.stdin.buffer.read(size - 4) if size else b""


def write(content):
    if content:
        sys.stdout.buffer.write(b"%04x" % (len(content) + 4) + content)
    else:
        sys.stdout.buffer.write(b"0000")
    sys.stdout.buffer.flush()


def until_flush():
    found = []
    while line := read():
        found.append(line)
    return found


until_flush()
for line in (b"git-filter-server\\n", b"version=2\\n", b""):
    write(line)
until_flush()
for line in (b"capability=smudge\\n", b""):
    write(line)
while until_flush():
    content = b"".join(until_flush())
    for line in (b"status=success\\n", b"", content.upper(), b"", b""):
        write(line)
"""
