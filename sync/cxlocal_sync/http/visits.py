"""Who may look at the pages of a served store: keys that open once, cookies, keys of feeds.

They stand in the file of members, as their SHA-256 only. Each is one member's, and of the token that the
member had then: it ends when that member is revoked or enrolled anew, without anybody telling it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from pathlib import Path

from cxlocal.clock import Clock, Ids
from cxlocal.exchange.rights import rights_from_json
from cxlocal_sync.http.codes import digest
from cxlocal_sync.http.members import Member

KEY_MS = 10 * 60 * 1000
"""How long the address that is printed opens the pages, once."""
COOKIE_SECONDS = 12 * 3600
"""How long a browser is let in after it."""
KEY, COOKIE, FEED = "key", "cookie", "feed"
NEVER_MS = 2**62
"""Where the time of the key of a feed ends: a calendar asks for years."""

_TABLE = """
CREATE TABLE IF NOT EXISTS visit (
    sha256 TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    member INTEGER NOT NULL,
    token_sha256 TEXT NOT NULL,  -- of the member when this was made: with another it is void
    until_ms INTEGER NOT NULL
)
"""
_WHOSE = """
SELECT m.id, m.name, m.rights FROM visit v
JOIN member m ON m.id = v.member AND m.token_sha256 = v.token_sha256 AND m.token_sha256 != ''
WHERE v.sha256 = ? AND v.kind = ? AND v.until_ms >= ?
"""
_DRAW = """
INSERT INTO visit SELECT ?, ?, id, token_sha256, ? FROM member WHERE id = ? AND token_sha256 != ''
"""


class Visits:
    """What lets browsers in. Safe to use from several threads and processes."""

    def __init__(self, path: Path, *, clock: Clock, ids: Ids) -> None:
        """``path``: the file of members, which is there."""
        self._clock, self._ids, self._lock = clock, ids, threading.Lock()
        self._connection = sqlite3.connect(
            path, isolation_level=None, timeout=5.0, check_same_thread=False
        )
        self._connection.execute(_TABLE)

    def new_key(self, member: Member) -> str:
        """For an address that opens the pages of ``member`` once, soon."""
        return self._draw(member, KEY, self._clock.now_ms() + KEY_MS)

    def new_feed_key(self, member: Member) -> str:
        """For the addresses of feeds; the one before it is void."""
        return self._draw(member, FEED, NEVER_MS)

    def open(self, key: str) -> str | None:
        """The cookie of whoever brings a key; it opens nothing any more. None for what is no key."""
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            member = self._whose(key, KEY)
            if member is None:
                return None
            self._connection.execute("DELETE FROM visit WHERE sha256 = ?", (digest(key),))
            return self._insert(member, COOKIE, self._clock.now_ms() + COOKIE_SECONDS * 1000)

    def by_cookie(self, cookie: str) -> Member | None:
        """Whose browser this is, with what the member may do now."""
        with self._lock:
            return self._whose(cookie, COOKIE)

    def by_feed_key(self, key: str) -> Member | None:
        """Whose calendar or reader this is."""
        with self._lock:
            return self._whose(key, FEED)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _draw(self, member: Member, kind: str, until_ms: int) -> str:
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(
                "DELETE FROM visit WHERE until_ms < ? OR (kind = ? AND member = ? AND kind = ?)",
                (self._clock.now_ms(), kind, member.id, FEED),
            )
            return self._insert(member, kind, until_ms)

    def _insert(self, member: Member, kind: str, until_ms: int) -> str:
        drawn = self._ids.token() + self._ids.token()
        self._connection.execute(_DRAW, (digest(drawn), kind, until_ms, member.id))
        return drawn

    def _whose(self, drawn: str, kind: str) -> Member | None:
        row = self._connection.execute(_WHOSE, (digest(drawn), kind, self._clock.now_ms()))
        found = row.fetchone()
        if found is None:
            return None
        return Member(int(found[0]), str(found[1]), rights_from_json(json.loads(found[2])))
