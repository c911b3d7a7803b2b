"""A git repository as it lies on this machine, and the commit a name stands for.

Two git calls tell all of it: one for the repository, one for the revision.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from cxlocal.errors import CxError, UsageError
from cxlocal.patterns import compile_late
from cxlocal.processes.start import Captured
from cxlocal.revision.git import World, ask, complaint, decode, failed, git
from cxlocal.revision.settings import last_value, read_settings, way_to_remotes
from cxlocal.text import utc_text
from cxlocal.values import NamedTuple

OUR_FILE = ":(exclude,glob)**/.cx/run"
"""Written by ``run start`` into a working tree; it is no change of the deliverable."""

FILE_LIMIT_BYTES = 16 * 1024 * 1024
"""The largest file read out of a commit in one go (cx.toml, a plugin). Larger ones are refused."""

ABOUT_REPOSITORY = (
    "rev-parse", "--is-bare-repository", "--is-shallow-repository", "--show-object-format",
    "--show-prefix", "--absolute-git-dir", "--git-common-dir", "--show-toplevel",
)  # fmt: skip

CONTENTS = ("cat-file", "--batch", "--follow-symlinks")

_NAME = compile_late(r"[^\x00-\x20\x7f:?*\[\\]+")
_COMMIT = compile_late(r"[0-9a-f]{40}([0-9a-f]{24})?")


class Repository(NamedTuple):
    """Where a repository lies and what kind it is."""

    root: Path
    """The top of the working tree; of a bare repository, its git folder."""
    git_dir: Path
    """Of this working tree: a linked one has its own."""
    common_dir: Path
    """Shared by all working trees: objects, refs, configuration."""
    bare: bool
    shallow: bool
    object_format: str
    """``sha1`` or ``sha256``."""
    prefix: str
    """The folder it was opened from, relative to ``root``; empty at the top."""
    believed: bool = False
    """Programs that its own configuration names may be started to reach a remote."""


class Revision(NamedTuple):
    """A commit, with what is recorded about it for good."""

    commit: str
    subject: str
    author: str
    """``Name <mail>``."""
    committed_at: str
    committed_ms: int
    branch: str
    """The branch that was named or is checked out here; empty when detached."""
    tags: tuple[str, ...]
    parents: int


class Identity(NamedTuple):
    """What binds a deliverable to its repository: the same in every clone of it."""

    root_commit: str
    """The first commit, following first parents; empty where a shallow clone does not have it."""
    path: str
    """The folder of the deliverable, relative to the top of the repository."""


def open_repository(folder: Path, *, believed: bool = False) -> Repository:
    """The repository that ``folder`` lies in. ``believed``: by a command that runs its stages.

    Raises UsageError: ``no-git``, ``not-a-repository``, ``unsafe-repository`` (owned by another
    user and not marked safe).
    """
    answer = git(folder, *ABOUT_REPOSITORY)
    lines = os.fsdecode(answer.stdout).split("\n")
    # In a bare repository, and inside a git folder, only the last question fails: no working tree.
    if answer.code != 0 and len(lines) < 7:
        raise _not_opened(folder, answer)
    git_dir = Path(lines[4])
    common_dir = Path(os.path.realpath(folder / lines[5]))
    bare = lines[0] == "true" or answer.code != 0
    return Repository(
        root=git_dir if bare else Path(lines[6]),
        git_dir=Path(os.path.realpath(git_dir)),
        common_dir=common_dir,
        bare=bare,
        shallow=lines[1] == "true",
        object_format=lines[2],
        prefix=lines[3].rstrip("/"),
        believed=believed,
    )


def _not_opened(folder: Path, answer: Captured) -> CxError:
    words = complaint(answer)
    if "not a git repository" in words:
        return UsageError(
            f"{decode(os.fsencode(folder))} is not in a git repository",
            why="a release is made from a pushed commit",
            hint="go to the folder of your project, or name it: cxlocal -C FOLDER …",
            name="not-a-repository",
        )
    if "dubious ownership" in words:
        return UsageError(
            f"git does not trust the repository in {decode(os.fsencode(folder))}",
            why="it belongs to another user of this machine",
            hint=f"git config --global --add safe.directory {decode(os.fsencode(folder))}",
            name="unsafe-repository",
        )
    return failed(("rev-parse",), answer)


def resolve(repository: Repository, name: str = "HEAD") -> Revision:
    """The commit that ``name`` (branch, tag, commit id, ``HEAD~2``) stands for here.

    Raises UsageError: ``bad-revision-name``, ``empty-repository``, ``no-such-revision``.
    """
    if not _NAME.fullmatch(name) or ".." in name or name.startswith("^"):
        raise UsageError(
            f"{name!r} does not name one commit",
            why="it is empty, a range, or holds characters that no branch or tag can have",
            hint="name a branch, a tag or a commit id: cxlocal run --revision main",
            name="bad-revision-name",
        )
    answer = git(repository.root, *about_revision(name))
    if answer.code != 0:
        raise _not_resolved(repository, name, answer)
    commit, parents, seconds, refs, author, subject = decode(answer.stdout).split("\0")[:6]
    branch, tags = _read_refs(refs, name)
    return Revision(
        commit=commit,
        subject=subject,
        author=author,
        committed_at=utc_text(int(seconds) * 1000),
        committed_ms=int(seconds) * 1000,
        branch=branch,
        tags=tags,
        parents=len(parents.split()),
    )


def about_revision(name: str) -> tuple[str, ...]:
    """The question ``resolve`` asks git."""
    return (
        "log", "-1", "--no-show-signature", "--no-color", "--encoding=UTF-8",
        "--decorate=full", "--decorate-refs=HEAD", "--decorate-refs=refs/heads/",
        "--decorate-refs=refs/tags/", "--format=%H%x00%P%x00%ct%x00%D%x00%an <%ae>%x00%s%x00",
        "--end-of-options", f"{name}^{{commit}}", "--",
    )  # fmt: skip


def _read_refs(decoration: str, name: str) -> tuple[str, tuple[str, ...]]:
    """Branch and tags out of git's ``%D``: ``HEAD -> refs/heads/main, tag: refs/tags/v1``."""
    refs = decoration.split(", ") if decoration else []
    heads = [ref.removeprefix("HEAD -> ") for ref in refs if "refs/heads/" in ref]
    checked_out = [ref[8:] for ref in refs if ref.startswith("HEAD -> ")]
    tags = tuple(sorted(ref[15:] for ref in refs if ref.startswith("tag: refs/tags/")))
    named = [ref for ref in heads if ref in (name, f"refs/{name}", f"refs/heads/{name}")]
    if name in ("HEAD", "@"):
        named = checked_out
    chosen = named or checked_out
    return (chosen[0].removeprefix("refs/heads/") if chosen else ""), tags


def _not_resolved(repository: Repository, name: str, answer: Captured) -> CxError:
    if git(repository.root, "rev-parse", "--verify", "-q", "HEAD").code != 0 and name == "HEAD":
        return UsageError(
            "this repository has no commit yet",
            why="a release is made from a pushed commit, a rehearsal from one and what was changed since",
            hint="commit first, and push to release: git add -A && git commit && git push -u origin HEAD",
            name="empty-repository",
        )
    hint = "git fetch --all --tags, then try again"
    if repository.shallow:
        hint = "this clone is shallow: git fetch --unshallow --tags, then try again"
    return UsageError(
        f"there is no commit {name} here", why=complaint(answer), hint=hint,
        name="no-such-revision",
    )  # fmt: skip


def contents_world(repository: Repository) -> World:
    """How contents are read: a partial clone may have left them at its remote."""
    if not is_partial(repository):
        return World.HERE
    return way_to_remotes(repository.root, believed=repository.believed)[0]


def is_partial(repository: Repository) -> bool:
    """Whether objects were left at a remote (``git clone --filter``)."""
    return any((repository.common_dir / "objects" / "pack").glob("*.promisor"))


def is_commit_id(text: str) -> bool:
    """A full commit id, as recorded: nothing git could take for something else."""
    return _COMMIT.fullmatch(text) is not None


def dirty(
    repository: Repository, paths: Sequence[str] = (), *, untracked: bool = True
) -> tuple[str, ...]:
    """Files here that differ from the checked-out commit, or that it does not know, by the
    name under which they can be opened (``shown`` is for people). Without ``untracked`` only those
    it knows.

    Ignored files do not count, nor do the files by which we remember an open run. ``paths`` limits
    the question to what belongs to a deliverable.
    """
    if repository.bare:
        return ()
    raw = ask(repository.root, *about_changes(paths, untracked=untracked))
    return tuple(os.fsdecode(entry[3:]) for entry in raw.split(b"\0") if entry)


def shown(names: Iterable[str]) -> tuple[str, ...]:
    """File names as they can be printed and recorded: bytes that are no UTF-8 stand as ``\\xff``."""
    return tuple(decode(os.fsencode(name)) for name in names)


def about_changes(paths: Sequence[str], *, untracked: bool = True) -> tuple[str, ...]:
    """The question ``dirty`` asks git."""
    return (
        "status", "--porcelain=v1", "-z", "--ignore-submodules=none",
        "--untracked-files=normal" if untracked else "--untracked-files=no", "--no-renames", "--",
        *(f":(literal){path}" for path in paths), OUR_FILE,
    )  # fmt: skip


def read_files(
    repository: Repository, commit: str, paths: Iterable[str]
) -> dict[str, bytes | None]:
    """The content of files as they are in ``commit``; None for what it does not have. Links are
    followed within the commit.

    One git call for all. Raises UsageError ``bad-path`` for a path git cannot be asked for and for a
    link that leads out of the commit, Trouble when a file is larger than ``FILE_LIMIT_BYTES``.
    """
    wanted = list(paths)
    for path in wanted:
        if "\n" in path or "\0" in path:
            raise UsageError(
                f"{path!r} cannot be read from a commit",
                name="bad-path",
                why="its name holds a line break",
                hint="give the file a name without line breaks",
            )
    if not wanted:
        return {}
    questions = b"".join(os.fsencode(f"{commit}:{path}\n") for path in wanted)
    world = contents_world(repository)
    answer = git(
        repository.root, *CONTENTS, input=questions, output_limit=FILE_LIMIT_BYTES, world=world
    )
    if answer.code != 0 or answer.truncated:
        raise failed(CONTENTS, answer)
    return dict(zip(wanted, _contents(answer.stdout, questions.splitlines()), strict=True))


def read_objects(repository: Repository, objects: Iterable[str]) -> dict[str, bytes | None]:
    """The content of these objects; None for what this clone cannot get, and for all of them where they
    are larger together than ``FILE_LIMIT_BYTES``."""
    wanted = list(dict.fromkeys(objects))
    questions = "".join(f"{one}\n" for one in wanted).encode()
    answer = git(
        repository.root, *CONTENTS, input=questions, output_limit=FILE_LIMIT_BYTES,
        world=contents_world(repository),
    )  # fmt: skip
    if answer.code != 0 or answer.truncated:
        return dict.fromkeys(wanted)
    return dict(zip(wanted, _contents(answer.stdout, questions.splitlines()), strict=True))


def _contents(raw: bytes, questions: list[bytes]) -> Iterable[bytes | None]:
    """Cut the output of ``cat-file --batch --follow-symlinks`` into one answer per question."""
    position = 0
    for question in questions:
        if raw.startswith(question + b" missing\n", position):
            position += len(question) + len(b" missing\n")
            yield None
            continue
        end = raw.index(b"\n", position)
        first, *more = raw[position:end].split(b" ")
        start, position = end + 1, end + 1 + int(more[-1]) + 1
        content = raw[start : position - 1]
        if first in (b"symlink", b"loop"):
            raise _leads_out(question, content)
        # Of a link to nothing (dangling, notdir) and of a folder there is no content.
        yield content if more[0] == b"blob" else None


def _leads_out(question: bytes, target: bytes) -> UsageError:
    path = decode(question.partition(b":")[2])
    return UsageError(
        f"{path} is a link that leads out of the commit",
        why=f"it leads to {decode(target)}; a release is made from what the commit holds",
        hint=f"put the file itself in place of the link, or let it lead to a file beside {path}",
        name="bad-path",
    )


def read_file(repository: Repository, commit: str, path: str) -> bytes | None:
    """The content of one file in ``commit``, or None if it has none of that name."""
    return read_files(repository, commit, (path,))[path]


def list_files(repository: Repository, commit: str, under: str) -> tuple[str, ...]:
    """The files of ``commit`` in the folder ``under``, with the folders below it."""
    raw = ask(
        repository.root, "--literal-pathspecs", "ls-tree", "-r", "-z", "--name-only",
        "--full-tree", "--end-of-options", commit, "--", under.rstrip("/") + "/",
        world=contents_world(repository),
    )  # fmt: skip
    return tuple(os.fsdecode(name) for name in raw.split(b"\0") if name)


def last_excludes(repository: Repository) -> str:
    """The file by which the person ignores files everywhere; empty for git's usual one."""
    named = last_value(read_settings(repository.root), "core.excludesfile")
    return os.path.expanduser(named) if named else ""


def identity(repository: Repository, commit: str) -> Identity:
    """What tells this repository from others, and the folder it was opened from."""
    raw = ask(repository.root, *about_identity(commit))
    roots = decode(raw).split()
    unknown = repository.shallow and bool(roots) and roots[-1] in shallow_commits(repository)
    return Identity("" if unknown or not roots else roots[-1], repository.prefix)


def about_identity(commit: str) -> tuple[str, ...]:
    """The question ``identity`` asks git."""
    return "rev-list", "--first-parent", "--max-parents=0", "--end-of-options", commit


def shallow_commits(repository: Repository) -> frozenset[str]:
    """The commits whose parents a shallow clone left behind."""
    try:
        return frozenset((repository.common_dir / "shallow").read_text("ascii").split())
    except FileNotFoundError:
        return frozenset()


def repository_key(repository: Repository, commit: str) -> str:
    """The name under which this machine remembers things about the repository."""
    return identity(repository, commit).root_commit or f"folder:{repository.common_dir}"


def version_tags(repository: Repository) -> tuple[str, ...]:
    """The tags this clone has, in byte order."""
    raw = ask(repository.root, "for-each-ref", "--format=%(refname:strip=2)", "refs/tags/")
    return tuple(decode(raw).splitlines())


def dated_tags(repository: Repository) -> tuple[tuple[str, str], ...]:
    """The tags this clone has and the days they were made (``2026-11-30``), the oldest first."""
    raw = ask(
        repository.root, "for-each-ref", "--sort=creatordate",
        "--format=%(refname:strip=2) %(creatordate:short)", "refs/tags/",
    )  # fmt: skip
    pairs = (line.rpartition(" ") for line in decode(raw).splitlines())
    return tuple((name, day) for name, _, day in pairs)


def known_files(repository: Repository) -> tuple[str, ...]:
    """The files of the working tree that are not ignored, from its top, committed or not."""
    raw = ask(
        repository.root, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        "--full-name",
    )  # fmt: skip
    return tuple(os.fsdecode(name) for name in dict.fromkeys(raw.split(b"\0")) if name)


def tags_like(tags: Iterable[str], pattern: str) -> tuple[str, ...]:
    """Those that match ``pattern`` (``v*``, ``webshop/*``)."""
    return tuple(tag for tag in tags if fnmatchcase(tag, pattern))
