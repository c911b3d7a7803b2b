"""Only pushed revisions run: every way a commit can and cannot be proven."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cxlocal.clock import SystemClock
from cxlocal.errors import Refused, UsageError
from cxlocal.revision.mirrors import Mirror
from cxlocal.revision.proof import Proof, prove, reverify
from cxlocal.revision.remotes import clean_url, origin_of, remotes
from cxlocal.revision.repository import resolve


def proof_of(work: Any, commit: str = "", **rest: Any) -> Proof:
    return prove(work.open(), commit or work.head(), clock=SystemClock(), **rest)


def refusal_of(work: Any, commit: str = "", **rest: Any) -> Refused:
    with pytest.raises(Refused) as error:
        proof_of(work, commit, **rest)
    assert error.value.hint, "a refusal names the command that resolves it"
    return error.value


@contextmanager
def silent_server() -> Iterator[str]:
    """A git address that takes connections and never says a word."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        held: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"git://127.0.0.1:{server.getsockname()[1]}/shop.git"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in held:
                one.close()


def test_a_pushed_commit_is_confirmed(desk: Any) -> None:
    work, remote = desk.project()
    proof = proof_of(work)
    assert proof.kind == "confirmed"
    assert (proof.remote, proof.ref, proof.url) == ("origin", "refs/heads/main", str(remote.path))
    assert proof.age_seconds is None
    assert proof.reason == ""
    assert proof.checked_at.endswith("Z")
    assert proof.as_json()["kind"] == "confirmed"


def test_an_ancestor_of_a_pushed_commit_is_confirmed(desk: Any) -> None:
    work, _ = desk.project()
    assert proof_of(work, work.head("HEAD~1")).ref == "refs/heads/main"


def test_a_commit_only_on_a_pushed_tag_is_confirmed(desk: Any) -> None:
    work, _ = desk.project()
    work.git("checkout", "-q", "--detach")
    inner = work.commit("before the tag")
    work.commit("the tagged one")
    work.git("tag", "-a", "v1", "-m", "one")
    work.git("push", "-q", "origin", "v1")
    assert proof_of(work).ref == "refs/tags/v1"
    assert proof_of(work, inner).ref == "refs/tags/v1"


def test_the_ref_named_is_one_that_holds_it(desk: Any) -> None:
    work, _ = desk.project()
    inners = []
    for number in range(6):
        work.git("checkout", "-q", "-b", f"topic/{number}", "main")
        inner = work.commit(f"inner {number}")
        work.commit(f"tip {number}")
        work.git("push", "-q", "origin", f"topic/{number}")
        inners.append(inner)
    for number, inner in enumerate(inners):
        assert proof_of(work, inner).ref == f"refs/heads/topic/{number}"


def test_a_commit_that_was_not_pushed_is_refused(desk: Any) -> None:
    work, _ = desk.project()
    commit = work.commit("not pushed")
    error = refusal_of(work)
    assert error.name == "not-pushed"
    assert str(error) == (
        f"commit {commit[:12]} has not been pushed to origin\n"
        "origin: it answered, and none of its branches and tags reaches the commit\n"
        "git push origin main\n"
        "or, while it cannot be pushed to: cxlocal mirror add PATH"
    )


def test_a_commit_beside_what_others_pushed_is_brought_together_first(desk: Any) -> None:
    work, _ = desk.project()
    start = work.git("rev-parse", "HEAD")
    work.commit("theirs")
    work.git("push", "-q", "origin", "main")
    work.git("reset", "-q", "--hard", start.strip())
    work.git("update-ref", "-d", "refs/remotes/origin/main")
    work.commit("ours")
    assert "\ngit pull --rebase origin main && git push origin main\n" in str(refusal_of(work))


def test_a_detached_commit_that_was_not_pushed(desk: Any) -> None:
    work, _ = desk.project()
    work.git("checkout", "-q", "--detach")
    commit = work.commit("not pushed")
    error = refusal_of(work)
    assert error.name == "not-pushed"
    assert f"git push origin {commit[:12]}:refs/heads/NAME" in error.hint


def test_detached_head_on_a_pushed_commit(desk: Any) -> None:
    work, _ = desk.project()
    work.git("checkout", "-q", "--detach")
    assert proof_of(work).kind == "confirmed"


def test_offline_our_copy_of_the_refs_decides(desk: Any) -> None:
    work, _ = desk.project()
    proof = proof_of(work, online=False)
    assert (proof.kind, proof.ref) == ("tracking ref", "refs/remotes/origin/main")
    assert proof.age_seconds is not None and 0 <= proof.age_seconds < 60
    assert proof.reason == "working offline"


def test_offline_a_commit_that_was_not_pushed_is_refused(desk: Any) -> None:
    work, _ = desk.project()
    commit = work.commit("not pushed")
    error = refusal_of(work, online=False)
    assert str(error) == (
        f"commit {commit[:12]} has not been pushed to origin\n"
        "origin: working offline\n"
        "git push origin main\n"
        "or, while it cannot be pushed to: cxlocal mirror add PATH"
    )


def test_the_age_is_that_of_the_last_contact(desk: Any) -> None:
    work, _ = desk.project()
    log = work.path / ".git/logs/refs/remotes/origin/main"
    text = log.read_text()
    log.write_text(text.replace(text.split("> ")[1].split(" ")[0], "1700000000"))
    age = proof_of(work, online=False).age_seconds
    assert age is not None and abs(age - (time.time() - 1700000000)) < 60
    work.git("fetch", "-q", "origin")
    age = proof_of(work, online=False).age_seconds
    assert age is not None and age < 60


def test_a_clock_set_back_gives_no_negative_age(desk: Any) -> None:
    work, _ = desk.project()

    class Past(SystemClock):
        def now_ms(self) -> int:
            return 1_000_000_000_000

    proof = prove(work.open(), work.head(), clock=Past(), online=False)
    assert proof.age_seconds == 0.0


def test_remote_gone(desk: Any) -> None:
    work, remote = desk.project()
    remote.path.rename(remote.path.with_name("elsewhere"))
    proof = proof_of(work)
    assert proof.kind == "tracking ref"
    assert "does not appear to be a git repository" in proof.reason
    work.commit("not pushed")
    assert refusal_of(work).name == "not-pushed"


def test_remote_hanging_costs_no_more_than_the_budget(desk: Any) -> None:
    work, _ = desk.project()
    with silent_server() as address:
        work.git("remote", "set-url", "origin", address)
        began = time.monotonic()
        proof = proof_of(work, budget_seconds=1.0)
        assert time.monotonic() - began < 3.0
    assert proof.kind == "tracking ref"
    assert proof.reason == "it did not answer in time"


def test_remote_refusing_connections(desk: Any) -> None:
    work, _ = desk.project()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        work.git("remote", "set-url", "origin", f"git://127.0.0.1:{port}/x")
        proof = proof_of(work)
    assert proof.kind == "tracking ref"
    assert "unable to connect" in proof.reason


def test_a_remote_that_asks_for_a_password_does_not_wait(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, _ = desk.project()
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nread answer </dev/tty || exit 77\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    work.git("remote", "set-url", "origin", "ssh://git@example.invalid/x")
    began = time.monotonic()
    assert proof_of(work).kind == "tracking ref"
    assert time.monotonic() - began < 5


def test_force_pushed_away(desk: Any) -> None:
    work, _ = desk.project()
    commit = work.commit("will vanish")
    work.git("push", "-q", "origin", "main")
    other = desk.clone(str(desk.folder / "shop-remote.git"), "other")
    other.git("reset", "-q", "--hard", "HEAD~1")
    other.commit("instead")
    other.git("push", "-q", "--force", "origin", "main")
    before = sorted(os.listdir(work.path / ".git/objects/pack"))
    error = refusal_of(work)
    assert error.name == "pushed-away"
    assert str(error) == (
        f"origin does not hold commit {commit[:12]} any more\n"
        "refs/remotes/origin/main here says it did, but origin was asked now: "
        "its branches and tags were rewritten\n"
        "git fetch origin, then release what it has now\n"
        "or push it again: git pull --rebase origin main && git push origin main\n"
        "or, while it cannot be pushed to: cxlocal mirror add PATH"
    )
    assert sorted(os.listdir(work.path / ".git/objects/pack")) == before
    assert work.head("origin/main") == commit, "asking changes no ref"
    assert reverify(work.open(), commit, clock=SystemClock()).verdict == "absent"


def test_a_remote_that_moved_on_still_holds_it(desk: Any) -> None:
    work, remote = desk.project()
    other = desk.clone(remote, "other")
    other.commit("newer")
    other.git("push", "-q", "origin", "main")
    before = work.git("count-objects", "-v")
    proof = proof_of(work)
    assert (proof.kind, proof.ref) == ("confirmed", "refs/heads/main")
    assert work.git("count-objects", "-v") == before, "asking writes no objects"


@pytest.mark.parametrize("ours", [True, False], ids=["here", "there only"])
def test_tags_on_files_and_folders_do_not_hide_that_it_was_pushed_away(
    desk: Any, ours: bool
) -> None:
    work, remote = desk.project()
    commit = work.commit("will vanish")
    work.git("push", "-q", "origin", "main")
    tagger = work if ours else desk.clone(remote, "tagger")
    tagger.commit("not pushed", **{"key.asc": "a key" if ours else "another key"})
    tagger.git("tag", "key", "HEAD:key.asc")
    tagger.git("tag", "-a", "-m", "signed", "key-signed", "HEAD:key.asc")
    tagger.git("tag", "folder", "HEAD^{tree}")
    tagger.git("push", "-q", "origin", "key", "key-signed", "folder")
    assert proof_of(work, commit).kind == "confirmed"
    remote.git("update-ref", "refs/heads/main", commit + "~1")
    for _ in range(2):
        assert refusal_of(work, commit).name == "pushed-away"
        assert reverify(work.open(), commit, clock=SystemClock()).verdict == "absent"
        work.git("fetch", "-q", "origin", "refs/tags/*:refs/tags/*")


def test_a_branch_deleted_at_the_remote(desk: Any) -> None:
    work, remote = desk.project()
    work.git("checkout", "-q", "-b", "topic")
    commit = work.commit("on a branch")
    work.git("push", "-q", "origin", "topic")
    remote.git("branch", "-D", "topic")
    assert refusal_of(work, commit).name == "pushed-away"


def test_several_remotes_need_a_name(desk: Any) -> None:
    work, _ = desk.project()
    work.git("remote", "rename", "origin", "here")
    work.git("remote", "add", "there", desk.bare("there.git").path)
    error = refusal_of(work)
    assert str(error) == (
        "it is not clear which remote a release must have been pushed to: here, there\n"
        "none of them is called origin and cx.toml names none\n"
        'write [scm] remotes = ["here"] into cx.toml'
    )
    assert error.name == "which-remote"
    assert proof_of(work, names=["here"]).remote == "here"


def test_another_remote_than_the_named_one_does_not_count(desk: Any) -> None:
    work, _ = desk.project()
    work.git("remote", "add", "fork", desk.bare("fork.git").path)
    work.commit("only on the fork")
    work.git("push", "-q", "fork", "main")
    assert refusal_of(work).name == "not-pushed"
    assert refusal_of(work, online=False).name == "not-pushed"
    assert proof_of(work, names=["origin", "fork"]).remote == "fork"
    proof = proof_of(work, names=["origin", "fork"], online=False)
    assert (proof.kind, proof.remote) == ("tracking ref", "fork")


def test_origin_is_the_default_among_several(desk: Any) -> None:
    work, _ = desk.project()
    work.git("remote", "add", "another", desk.bare("another.git").path)
    assert proof_of(work).remote == "origin"


def test_the_first_remote_hangs_and_the_second_answers(desk: Any) -> None:
    work, _ = desk.project()
    with silent_server() as address:
        work.git("remote", "add", "slow", address)
        began = time.monotonic()
        proof = proof_of(work, names=["slow", "origin"], budget_seconds=3.0)
        assert time.monotonic() - began < 2.7, "the first took more than its share"
    assert (proof.kind, proof.remote) == ("confirmed", "origin")


def test_a_named_remote_that_is_not_here(desk: Any) -> None:
    work, _ = desk.project()
    error = refusal_of(work, names=["upstream"])
    assert str(error) == (
        "this repository has no remote named upstream\n"
        "[scm] remotes in cx.toml names the ones a release may come from, and here there is origin"
        "\ngit remote add upstream ADDRESS && git fetch upstream"
    )
    assert proof_of(work, names=["upstream", "origin"]).remote == "origin"


def test_no_remote_at_all(desk: Any) -> None:
    work = desk.new("shop")
    commit = work.commit()
    error = refusal_of(work)
    assert error.name == "no-remote"
    assert str(error) == (
        f"commit {commit[:12]} is on this machine only: the repository has no remote\n"
        "a release is made from a commit that others can get\n"
        "git remote add origin ADDRESS && git push -u origin HEAD\n"
        "or, for this machine alone: cxlocal mirror add PATH"
    )


@pytest.mark.parametrize(
    "how",
    [
        ".", "../shop é", "../shop é/.git", "file://{path}", "file://localhost{path}",
        "file://elsewhere.example/{path}", "file://{folder}/sho%70%20%c3%A9", "../tree",
        "../tree/.git", "../shop é/.git/worktrees/tree", "file://{folder}/tree",
        "../short",
    ],
)  # fmt: skip
@pytest.mark.parametrize("from_tree", [False, True], ids=["main tree", "linked tree"])
def test_a_remote_that_is_the_repository_itself(desk: Any, how: str, from_tree: bool) -> None:
    work = desk.new("shop é")
    work.commit()
    work.git("worktree", "add", "-q", "../tree")
    (desk.folder / "short.git").symlink_to(work.path / ".git")
    address = how.format(path=work.path, folder=desk.folder)
    work.git("remote", "add", "origin", address)
    work.git("fetch", "-q", "origin")
    if from_tree:
        work = type(work)(desk.folder / "tree")
    error = refusal_of(work)
    assert error.name == "remote-is-itself"
    assert str(error) == (
        "the remote origin is this repository itself\n"
        "a commit in it has not left this working copy\n"
        "git remote set-url origin ADDRESS"
    )


def test_shallow_clone(desk: Any) -> None:
    _, remote = desk.project()
    shallow = desk.clone(remote, "shallow", "--depth=1")
    assert proof_of(shallow).kind == "confirmed"
    assert proof_of(shallow, online=False).kind == "tracking ref"
    shallow.commit("not pushed")
    assert refusal_of(shallow).name == "not-pushed"


def test_shallow_clone_whose_remote_moved_on(desk: Any) -> None:
    work, remote = desk.project()
    shallow = desk.clone(remote, "shallow", "--depth=1")
    work.commit("newer")
    work.git("push", "-q", "origin", "main")
    proof = proof_of(shallow)
    assert proof.kind == "confirmed"


def test_shallow_clone_whose_remote_was_rewritten(desk: Any) -> None:
    """What lies before the cut is not here, so it cannot be said that the remote lost it."""
    work, remote = desk.project()
    shallow = desk.clone(remote, "shallow", "--depth=1")
    work.git("reset", "-q", "--hard", "HEAD~1")
    work.commit("instead")
    work.git("push", "-q", "--force", "origin", "main")
    proof = proof_of(shallow)
    assert proof.kind == "tracking ref"
    assert "shallow" in proof.reason


def test_ci_merge_ref_as_a_ci_server_checks_it_out(desk: Any) -> None:
    work, remote = desk.project()
    merge = work.commit("merge of the pull request")
    work.git("push", "-q", "origin", "HEAD:refs/pull/7/merge")
    work.git("reset", "-q", "--hard", "HEAD~1")
    # the way actions/checkout does it
    runner = desk.new("runner")
    runner.git("remote", "add", "origin", f"file://{remote.path}")
    runner.git("fetch", "-q", "--no-tags", "--depth=1", "origin",
               f"+{merge}:refs/remotes/pull/7/merge")  # fmt: skip
    runner.git("checkout", "-q", "--force", "refs/remotes/pull/7/merge")
    assert resolve(runner.open()).branch == ""
    proof = proof_of(runner)
    assert (proof.kind, proof.ref) == ("confirmed", "refs/pull/7/merge")
    offline = proof_of(runner, online=False)
    assert (offline.kind, offline.ref) == ("tracking ref", "refs/remotes/pull/7/merge")


def test_a_checkout_by_fetch_alone(desk: Any) -> None:
    _, remote = desk.project()
    runner = desk.new("runner")
    runner.git("remote", "add", "origin", f"file://{remote.path}")
    runner.git("fetch", "-q", f"file://{remote.path}", "main")
    runner.git("checkout", "-q", "--detach", "FETCH_HEAD")
    proof = proof_of(runner, online=False)
    assert (proof.kind, proof.ref) == ("tracking ref", "FETCH_HEAD (branch 'main')")
    stranger = desk.new("stranger")
    stranger.git("remote", "add", "origin", "https://example.invalid/other.git")
    stranger.git("fetch", "-q", f"file://{remote.path}", "main")
    stranger.git("checkout", "-q", "--detach", "FETCH_HEAD")
    assert refusal_of(stranger, online=False).name == "not-pushed"


def test_linked_worktree_is_proven_like_its_repository(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    work.git("worktree", "add", "-q", "--detach", tmp_path / "side", "HEAD~1")
    side = type(work)(tmp_path / "side")
    assert proof_of(side).kind == "confirmed"
    assert proof_of(side, online=False).kind == "tracking ref"
    side.commit("not pushed")
    assert refusal_of(side).name == "not-pushed"


def test_mirror_only(desk: Any) -> None:
    work, remote = desk.project()
    commit = work.commit("the night the git host is down")
    other = desk.bare("mirror.git")
    work.git("push", "-q", other.path, "main")
    remote.path.rename(remote.path.with_name("down"))
    mirror = Mirror("key", str(other.path), "2026-11-23T02:00:00.000Z")
    proof = proof_of(work, mirrors=[mirror])
    assert (proof.kind, proof.remote) == ("mirror only", str(other.path))
    assert proof.reason.startswith("origin: ")
    assert reverify(work.open(), commit, clock=SystemClock()).verdict == "unknown"
    # the host is back, the commit is pushed unrewritten: settled
    remote.path.with_name("down").rename(remote.path)
    assert reverify(work.open(), commit, clock=SystemClock()).verdict == "absent"
    work.git("push", "-q", "origin", "main")
    standing = reverify(work.open(), commit, clock=SystemClock())
    assert (standing.verdict, standing.remote, standing.ref) == (
        "held", "origin", "refs/heads/main",
    )  # fmt: skip


@pytest.mark.parametrize("how", ["{path}", "../other clone", "file://localhost{escaped}"])
def test_another_repository_of_this_machine_is_a_remote(desk: Any, how: str) -> None:
    work = desk.new("shop")
    work.commit()
    other = desk.clone(work, "other clone")
    escaped = str(other.path).replace(" ", "%20")
    work.git("remote", "add", "origin", how.format(path=other.path, escaped=escaped))
    assert proof_of(work).kind == "confirmed"


def test_a_mirror_that_is_the_repository_itself_does_not_count(desk: Any) -> None:
    work = desk.new("shop")
    work.commit()
    work.git("worktree", "add", "-q", "../tree")
    for place in (
        str(work.path), f"file://{work.path}", str(work.path / ".git"), str(desk.folder / "tree"),
        f"file://localhost{work.path}",
    ):  # fmt: skip
        assert refusal_of(work, mirrors=[Mirror("k", place, "")]).name == "no-remote"


def test_a_mirror_that_is_gone_does_not_count(desk: Any) -> None:
    work, _ = desk.project()
    work.commit("not pushed")
    error = refusal_of(work, mirrors=[Mirror("k", "/nowhere/mirror.git", "")])
    assert error.name == "not-pushed"


def test_a_better_proof_comes_before_a_mirror(desk: Any) -> None:
    work, _ = desk.project()
    other = desk.bare("mirror.git")
    work.git("push", "-q", other.path, "main")
    mirror = Mirror("key", str(other.path), "")
    assert proof_of(work, mirrors=[mirror]).kind == "confirmed"
    assert proof_of(work, mirrors=[mirror], online=False).kind == "tracking ref"


def test_reverify_of_a_commit_this_clone_does_not_have(desk: Any) -> None:
    work, remote = desk.project()
    other = desk.clone(remote, "other")
    older = other.commit("older")
    tip = other.commit("tip")
    other.git("push", "-q", "origin", "main")
    work.git("push", "-q", "origin", "HEAD:refs/heads/known")
    assert reverify(work.open(), tip, clock=SystemClock()).verdict == "held"
    assert reverify(work.open(), older, clock=SystemClock()).verdict == "unknown"


def test_what_is_no_commit_id_is_no_question(desk: Any) -> None:
    work, _ = desk.project()
    for text in ("main", "--all", "", "abc", "HEAD"):
        with pytest.raises(UsageError):
            prove(work.open(), text, clock=SystemClock())


def test_grafts_and_replacements_prove_nothing(desk: Any) -> None:
    work, _ = desk.project()
    pushed = work.head()
    commit = work.commit("not pushed")
    work.git("replace", "--graft", pushed, commit)
    assert refusal_of(work).name == "not-pushed"
    work.git("replace", "-d", pushed)
    work.write(".git/info/grafts", f"{pushed} {commit}\n")
    assert refusal_of(work).name == "not-pushed"


def test_a_program_hidden_in_an_address_is_not_run(desk: Any, tmp_path: Path) -> None:
    work, _ = desk.project()
    work.git("remote", "set-url", "origin", f"ext::sh -c 'touch% {tmp_path}/run'")
    assert proof_of(work).kind == "tracking ref"
    assert not (tmp_path / "run").exists()


def test_a_submodule_that_was_not_pushed_is_refused(desk: Any) -> None:
    work, _ = desk.project()
    desk.project("library")
    work.git("-c", "protocol.file.allow=always", "submodule", "add", "-q",
             f"file://{desk.folder}/library-remote.git", "lib")  # fmt: skip
    work.commit("with a library")
    work.git("push", "-q", "origin", "main")
    assert proof_of(work).kind == "confirmed"
    inner = type(work)(work.path / "lib")
    commit = inner.commit("only here")
    work.commit("with a newer library")
    work.git("push", "-q", "--no-recurse-submodules", "origin", "main")
    error = refusal_of(work)
    assert str(error) == (
        f"the submodule lib stands at commit {commit[:12]}, which has not been pushed\n"
        "no remote of the submodule is known to hold it\n"
        "git -C lib push origin HEAD:refs/heads/NAME"
    )
    inner.git("push", "-q", "origin", "HEAD:refs/heads/newer")
    assert proof_of(work).kind == "confirmed"


@pytest.mark.parametrize(
    ("address", "recorded"),
    [
        ("https://me:secret@example.com/x.git", "https://example.com/x.git"),
        ("https://token@example.com/x.git", "https://example.com/x.git"),
        ("https://example.com/x.git?private_token=secret", "https://example.com/x.git"),
        ("https://me:p@ss@example.com/x", "https://example.com/x"),
        ("ssh://git:secret@example.com/x.git", "ssh://git@example.com/x.git"),
        ("git@example.com:x.git", "git@example.com:x.git"),
        ("/srv/git/x.git", "/srv/git/x.git"),
    ],
)
def test_addresses_are_recorded_without_credentials(desk: Any, address: str, recorded: str) -> None:
    work, _ = desk.project()
    work.git("remote", "set-url", "origin", address)
    assert remotes(work.open()) == {"origin": recorded}
    assert origin_of(work.open()) == (recorded, ())
    assert clean_url(address) == recorded
    proof = proof_of(work, online=False)
    assert "secret" not in str(proof) and "token@" not in str(proof)


@pytest.mark.parametrize("slashes", ["", "/", "//", "///", "\\", "\\\\"])
@pytest.mark.parametrize("scheme", ["http:", "HTTPS:", "ftp:", "git:", "ssh:", "git+ssh:"])
@pytest.mark.parametrize("user", ["me:secret@", "secret:@", "me:se/cret@", "me:se@secret@"])
def test_no_slip_in_an_address_shows_its_password(scheme: str, slashes: str, user: str) -> None:
    for address in (f"{scheme}{slashes}{user}example.com/x.git", f"'{scheme}{slashes}{user}h': no"):
        found = clean_url(address)
        assert "cret" not in found or (scheme.endswith("ssh:") and user == "secret:@")
        assert found.lstrip("'").startswith(scheme)


@pytest.mark.parametrize(
    "address", ["host:a@b", "https://host:8443/a@b", "https://[::1]:80/a@b", "ssh://git@host:22/a"]
)
def test_what_is_no_password_stays(address: str) -> None:
    assert clean_url(address) == address


def test_a_complaint_of_git_is_recorded_without_credentials(desk: Any) -> None:
    work, _ = desk.project()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}/x.git"
        work.git("remote", "set-url", "origin", f"http://me:secret@{place}?key=secret")
        proof = proof_of(work)
        work.commit("not pushed")
        error = refusal_of(work)
    assert place in proof.reason
    assert "secret" not in str(proof) + str(error) + str(error.data)


def test_git_is_asked_few_times(desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work, _ = desk.project()
    trace = tmp_path / "calls"
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text(f'#!/bin/sh\necho "$@" >>{trace}\nexec {real.strip()} "$@"\n')
    fake.chmod(0o755)
    repository = work.open()
    commit = work.head()
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    prove(repository, commit, clock=SystemClock())
    assert len(trace.read_text().splitlines()) <= 4
