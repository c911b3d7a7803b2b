"""Who may talk to a served store: members, their machines, one-time codes.

One SQLite file beside the store, and not in it: it is about who may come in through this door, it
must not travel with a copy of the store, and it serves whichever engine stands behind. Tokens and
codes are drawn with 256 and 80 random bits and kept as SHA-256 only, so the file lets nobody in.

Looked at on every request, so the members are kept in memory and read again when another process
(``cxlocal store revoke`` on the server) has changed the file. Machines are looked up: a CI server
makes a new one with every job.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

from cxlocal.clock import Clock, Ids, SystemClock, SystemIds
from cxlocal.errors import ConfigError, NotSignedIn, Refused, UsageError
from cxlocal.exchange.rights import Rights, rights_from_json, words_of
from cxlocal.private import make_file, make_folder
from cxlocal.text import parse_utc, quoted, utc_text
from cxlocal.values import NamedTuple
from cxlocal_sync.http.codes import (
    FIRST_MEMBER,
    NAME_WANTED,
    check_name,
    digest,
    draw_code,
    no_such_member,
    plain,
)
from cxlocal_sync.http.health import Contacts

CODE_MS = 24 * 3600 * 1000
"""How long a one-time code is good for."""
READ_SECONDS = 0.2
"""How long a look at the file waits for a commit to end."""


SERVER = "the server"
"""Who changes members without being one: a command where their file is."""
HAPPENED_MAX = 10_000
"""Entries kept of what happened to members: years of it, and no more than a few megabytes of a member
that invites without end."""


class Happened(NamedTuple):
    """Something that happened to a member."""

    id: int
    at: str
    what: str
    """invited, joined, granted or revoked."""
    member: str
    by: str
    """The member that did it, ``SERVER``, or the address it came from."""
    more: str


class Member(NamedTuple):
    """A credential holder."""

    id: int
    name: str
    rights: Rights


class Members:
    """The members of one served store. Safe to use from several threads."""

    def __init__(self, path: Path, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self.path = path
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._lock = threading.RLock()
        make_folder(path.parent)
        make_file(path)
        self._connection = sqlite3.connect(
            path, isolation_level=None, timeout=5.0, check_same_thread=False
        )
        self._connection.execute("PRAGMA journal_mode=TRUNCATE").fetchone()
        self._connection.execute("PRAGMA synchronous=FULL")
        self._prepare()
        # Every request looks a token up, on the event loop: it never waits for who writes.
        self._reader = sqlite3.connect(
            path, isolation_level=None, timeout=READ_SECONDS, check_same_thread=False
        )
        self._reading = threading.Lock()
        self._version = -1
        self._by_token: dict[str, Member] = {}
        self._seen: dict[str, str] = {}
        self._wrong = {"wrong_codes": 0, "wrong_tokens": 0}

    def _prepare(self) -> None:
        found = self._connection.execute("PRAGMA application_id").fetchone()[0]
        tables = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and found != APPLICATION_ID:
            self._connection.close()
            raise ConfigError(
                f"{self.path} is not a file of members",
                why="it is a database of another kind",
                hint="name another file: cxlocal serve --members FILE",
                name="not-members",
            )
        if not tables:
            self._connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        self._connection.executescript(SCHEMA)

    def by_token(self, token: str) -> Member | None:
        """Whose token this is. None, and counted, when it is nobody's."""
        with self._reading:
            self._refresh()
            found = self._by_token.get(digest(token))
            if found is None:
                self._wrong["wrong_tokens"] += 1
            return found

    def may_speak_as(self, node: str, member: Member) -> bool:
        """Whether ``node`` is not known as a machine of somebody else."""
        return self._owner(node) in (None, member.id)

    def speak_as(self, node: str, member: Member) -> bool:
        """Note that ``member`` speaks as ``node``; False where somebody else does. For a node that the
        store has recognised: whoever only knows its name must not be the first."""
        at = utc_text(self._clock.now_ms())
        owner = self._owner(node)
        if owner is None:
            with self._lock:
                # Two members may come at once in two processes: the file decides.
                self._connection.execute(
                    "INSERT OR IGNORE INTO machine VALUES (?, ?, ?, ?)", (node, member.id, at, at)
                )
            owner = self._owner(node)
        if owner == member.id:
            with self._reading:
                self._seen[node] = at
        return owner == member.id

    def may_bring(self, node: str, member: Member) -> bool:
        """Whether what ``node`` recorded is the member's to bring: nobody else's, or of a machine that was
        its own until it was revoked, which speaks under another id since."""
        return self._owner(node) in (None, member.id, -member.id)

    def owns(self, member: Member, node: str) -> bool:
        """Whether ``node`` has spoken as a machine of ``member``, also before that was revoked."""
        return self._owner(node) in (member.id, -member.id)

    def _owner(self, node: str) -> int | None:
        with self._reading:
            row = self._reader.execute("SELECT member FROM machine WHERE node = ?", (node,))
            found = row.fetchone()
        return int(found[0]) if found else None

    def invite(self, name: str, rights: Rights, *, by: str = SERVER) -> str:
        """A one-time code for ``name``; an older one of the same name is void. Without a name: for
        whoever comes, who then says how to be called (``join``).

        For a name that is enrolled already it gives a new token and these rights. Raises
        UsageError for a name that cannot be shown.
        """
        if name:
            check_name(name)
        code = draw_code(self._ids)
        now = self._clock.now_ms()
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "DELETE FROM code WHERE (name = ? AND used_by = '') OR until_ms < ?", (name, now)
            )
            self._connection.execute(
                "INSERT INTO code VALUES (?, ?, ?, ?, '')",
                (digest(plain(code)), name, json.dumps(rights.as_json()), now + CODE_MS),
            )
            self._note("invited", name, by, words_of(rights))
        return code

    def join(
        self, code: str, token_sha256: str, name: str | None = None, *, address: str = ""
    ) -> Member:
        """Use a code up. The same code with the same token again is answered again.

        ``name`` counts for a code that names nobody: who asks knows that it may be asked for (empty),
        or (None) is called as the first one always was. Raises NotSignedIn for a code that is wrong, used or too old; it is counted. Raises
        UsageError and Refused for a name that is missing, cannot be shown or is taken.
        """
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            row = self._connection.execute(
                "SELECT name, rights, used_by FROM code WHERE sha256 = ? AND until_ms >= ?",
                (digest(plain(code)), self._clock.now_ms()),
            ).fetchone()
            if row is None or row[2] not in ("", token_sha256):
                self._wrong["wrong_codes"] += 1
                raise NotSignedIn(
                    "the code is not accepted",
                    why="it is wrong, was used already, is more than a day old, or was replaced by a later one",
                    hint="ask for a new one: cxlocal store invite NAME",
                    name="wrong-code",
                )
            called, rights, used_by = row
            name = called or self._new_name(name)
            if not used_by:
                at = utc_text(self._clock.now_ms())
                self._connection.execute(
                    "INSERT INTO member (name, token_sha256, rights, joined_at)"
                    " VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
                    " token_sha256 = excluded.token_sha256, rights = excluded.rights,"
                    " joined_at = excluded.joined_at, revoked_at = ''",
                    (name, token_sha256, rights, at),
                )
                self._connection.execute(
                    "UPDATE code SET used_by = ?, name = ? WHERE sha256 = ?",
                    (token_sha256, name, digest(plain(code))),
                )
                self._note("joined", name, address, "")
            found = self._connection.execute("SELECT id FROM member WHERE name = ?", (name,))
            return Member(int(found.fetchone()[0]), name, rights_from_json(json.loads(rights)))

    def _new_name(self, name: str | None) -> str:
        """What whoever uses a code without a name is called."""
        if name == "":
            raise UsageError(
                "the code is for whoever comes first, and needs a name",
                why="members are told apart by their names: that of a person or of a machine",
                hint="cxlocal store join URL --code CODE --name NAME",
                name=NAME_WANTED,
            )
        name = FIRST_MEMBER if name is None else check_name(name)
        if self._connection.execute("SELECT 1 FROM member WHERE name = ?", (name,)).fetchone():
            raise Refused(
                f"{name!r} is enrolled already",
                why="a new token for it takes a code of its own",
                hint="choose another name: cxlocal store join URL --code CODE --name NAME",
                name="name-taken",
            )
        return name

    def grant(self, name: str, rights: Rights, *, by: str = SERVER) -> Rights:
        """Give a member other rights; its token and its machines stay. Open codes of that name give
        these, too. Returns those it had. Raises Refused where nobody enrolled has that name.
        """
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            found = self._connection.execute(
                "SELECT rights FROM member WHERE name = ? AND token_sha256 != ''", (name,)
            ).fetchone()
            if found is None:
                raise self._not_enrolled(name)
            text = json.dumps(rights.as_json())
            self._connection.execute("UPDATE member SET rights = ? WHERE name = ?", (text, name))
            self._connection.execute(
                "UPDATE code SET rights = ? WHERE name = ? AND used_by = ''", (text, name)
            )
            self._note("granted", name, by, words_of(rights))
        return rights_from_json(json.loads(found[0]))

    def _not_enrolled(self, name: str) -> Refused:
        """Why nobody of that name can be given rights now."""
        asked = (
            ("it was invited, and did not join yet", "SELECT 1 FROM code WHERE name = ? AND used_by = ''"),
            ("it was revoked", "SELECT 1 FROM member WHERE name = ?"),
        )  # fmt: skip
        for why, sql in asked:
            if self._connection.execute(sql, (name,)).fetchone():
                return Refused(
                    f"{name!r} is not enrolled",
                    why=why,
                    hint=f"cxlocal store invite {quoted(name)}   with the rights it shall have",
                    name="no-such-member",
                )
        return no_such_member(name)

    def _note(self, what: str, member: str, by: str, more: str) -> None:
        """Write down what happened, within the caller's transaction."""
        at = utc_text(self._clock.now_ms())
        self._connection.execute(
            "INSERT INTO happened (at, what, member, by, more) VALUES (?, ?, ?, ?, ?)",
            (at, what, member, by, more),
        )
        self._connection.execute(
            "DELETE FROM happened WHERE id <= (SELECT max(id) FROM happened) - ?", (HAPPENED_MAX,)
        )

    def happened(self, after: int) -> list[Happened]:
        """What happened to members since entry ``after``, by whatever process."""
        sql = "SELECT id, at, what, member, by, more FROM happened WHERE id > ? ORDER BY id"
        with self._reading:
            return [Happened(*row) for row in self._reader.execute(sql, (after,))]

    def revoke(self, name: str, *, by: str = SERVER) -> int:
        """End a member: its token and its open codes are void, its machines refused.

        Returns how many machines it had. Raises Refused where nobody has that name.
        """
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            void = self._connection.execute("DELETE FROM code WHERE name = ?", (name,)).rowcount
            ended = self._connection.execute(
                "UPDATE member SET token_sha256 = '', revoked_at = ? WHERE name = ?",
                (utc_text(self._clock.now_ms()), name),
            ).rowcount
            if not ended and not void:
                raise no_such_member(name)
            # Nobody speaks under these ids again: a machine of a revoked member goes on under a new one
            # even where the name is invited again. What it has recorded by then it may bring.
            self._connection.execute(
                "UPDATE machine SET member = -member"
                " WHERE member = (SELECT id FROM member WHERE name = ?)",
                (name,),
            )
            count = self._connection.execute("SELECT changes()").fetchone()[0]
            self._note("revoked", name, by, f"{count} machines")
        return int(count)

    def listing(self, member: Member | None = None) -> dict[str, Any]:
        """Members and machines for people; nothing secret. Of ``member`` alone, where it is given: who
        takes part besides, and with which rights, is known to those who invite."""
        self.flush()
        name = None if member is None else member.name
        with self._lock:
            members = self._connection.execute(
                "SELECT name, rights, joined_at, revoked_at FROM member"
                " WHERE name = coalesce(?, name) ORDER BY name",
                (name,),
            ).fetchall()
            machines = self._connection.execute(
                "SELECT c.node, coalesce(m.name, ''), c.first_at, c.last_at FROM machine c"
                " LEFT JOIN member m ON m.id = c.member WHERE ?1 IS NULL OR m.name = ?1"
                " ORDER BY c.last_at DESC",
                (name,),
            ).fetchall()
            codes = self._connection.execute(
                "SELECT name, until_ms FROM code WHERE used_by = '' AND until_ms >= ?"
                " AND name = coalesce(?, name) ORDER BY name",
                (self._clock.now_ms(), name),
            ).fetchall()
            counts = {} if name else {each: int(self.value(each) or 0) for each in self._wrong}
            return {
                "members": [
                    {"name": name, "rights": json.loads(rights), "joined_at": joined,
                     "revoked_at": revoked or None}
                    for name, rights, joined, revoked in members
                ],
                "machines": [
                    {"node": node, "member": name or None, "first_at": first, "last_at": last}
                    for node, name, first, last in machines
                ],
                "codes": [
                    {"name": name or None, "until": utc_text(until)} for name, until in codes
                ],
                **counts,
            }  # fmt: skip

    def contacts(self, since_ms: int) -> Contacts:
        """How many there are, and when the last was here; ``since_ms`` is where *lately* begins (UTC)."""
        with self._reading:
            self._refresh()
            machines, newest = self._reader.execute(
                "SELECT count(*), max(last_at) FROM machine"
            ).fetchone()
            lately = self._reader.execute(
                "SELECT count(*) FROM machine WHERE last_at >= ?", (utc_text(since_ms),)
            ).fetchone()[0]
            newest = max([newest or "", *self._seen.values()])
            members, wrong = len(self._by_token), dict(self._wrong)
        return Contacts(
            members, machines, lately, parse_utc(newest) if newest else None,
            **{name: count + int(self.value(name) or 0) for name, count in wrong.items()},
        )  # fmt: skip

    def anybody(self, *, manage: bool = False) -> bool:
        """Whether anybody is enrolled; with ``manage``, anybody who may invite others."""
        with self._reading:
            self._refresh()
            return any(member.rights.manage or not manage for member in self._by_token.values())

    def reading(self) -> list[frozenset[str] | None]:
        """What each of those who are enrolled may read."""
        with self._reading:
            self._refresh()
            return [member.rights.read for member in self._by_token.values()]

    def value(self, name: str) -> str:
        """A remembered value, or an empty text."""
        with self._reading:
            row = self._reader.execute("SELECT value FROM value WHERE name = ?", (name,))
            found = row.fetchone()
            return str(found[0]) if found else ""

    def set_value(self, name: str, value: str) -> None:
        """Remember a value."""
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO value VALUES (?, ?)", (name, value))

    def flush(self) -> None:
        """Write when machines were last seen, and the counters. Not done at every request: it
        would double what a number costs, and nothing but people depends on it."""
        with self._reading:
            seen, self._seen = self._seen, {}
            wrong, self._wrong = self._wrong, dict.fromkeys(self._wrong, 0)
        if not seen and not any(wrong.values()):
            return
        try:
            self._write_seen(seen, wrong)
        except sqlite3.Error:
            with self._reading:
                self._seen = {**seen, **self._seen}
                for name, count in wrong.items():
                    self._wrong[name] += count
            raise

    def _write_seen(self, seen: dict[str, str], wrong: dict[str, int]) -> None:
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "UPDATE machine SET last_at = ? WHERE node = ?",
                [(at, node) for node, at in seen.items()],
            )
            for name, count in wrong.items():
                self._connection.execute(
                    "INSERT INTO value VALUES (?, ?) ON CONFLICT DO UPDATE SET"
                    " value = CAST(value AS INTEGER) + CAST(excluded.value AS INTEGER)",
                    (name, str(count)),
                )

    def close(self) -> None:
        """Write what is left, if that can be done now, and let go of the file."""
        with contextlib.suppress(sqlite3.Error):
            self.flush()
        self._reader.close()
        self._connection.close()

    def _refresh(self) -> None:
        version = self._reader.execute("PRAGMA data_version").fetchone()[0]
        if version == self._version:
            return
        members = self._reader.execute(
            "SELECT id, name, rights, token_sha256 FROM member WHERE token_sha256 != ''"
        )
        self._by_token = {
            digest: Member(key, name, rights_from_json(json.loads(rights)))
            for key, name, rights, digest in members
        }
        self._version = version


APPLICATION_ID = 0x63784D42
"""``cxMB`` in the file header."""

SCHEMA = """
-- Credential holders. A revoked one stays, so that its machines stay refused.
CREATE TABLE IF NOT EXISTS member (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    token_sha256 TEXT NOT NULL DEFAULT '',  -- empty: revoked
    rights TEXT NOT NULL,                   -- JSON
    joined_at TEXT NOT NULL,
    revoked_at TEXT NOT NULL DEFAULT ''
);
-- One-time codes. A used one stays until it would have ended, so that the same machine may ask again.
CREATE TABLE IF NOT EXISTS code (
    sha256 TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    rights TEXT NOT NULL,
    until_ms INTEGER NOT NULL,
    used_by TEXT NOT NULL DEFAULT ''        -- token_sha256 of who used it
);
-- Machines (chains of events) and the member that first spoke as them.
CREATE TABLE IF NOT EXISTS machine (
    node TEXT PRIMARY KEY,
    member INTEGER NOT NULL,               -- below 0: of this one until it was revoked
    first_at TEXT NOT NULL,
    last_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS machine_by_contact ON machine (last_at);
-- What happened to members, the newest of it: the server logs it, whatever process did it.
CREATE TABLE IF NOT EXISTS happened (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    what TEXT NOT NULL,
    member TEXT NOT NULL,
    by TEXT NOT NULL,
    more TEXT NOT NULL
);
-- Lineage of the store behind, the address machines use, counters.
CREATE TABLE IF NOT EXISTS value (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
