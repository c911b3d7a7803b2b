"""Reads JUnit XML, as the tools of this world write it.

There is no official standard; the survey at https://github.com/testmoapp/junitxml is followed. The
file comes from an untrusted build: it is read in chunks, declarations of entities end the reading,
and what is kept is bounded. Counts come from the cases, never from the totals in the file: pytest
writes two cases for one test whose call and teardown both failed.

junitparser builds the whole tree in memory, so half a gigabyte of report would need several; expat
with handlers needs a few megabytes whatever the size.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from cxlocal.hooks.report import Case, Report, ReportReader
from cxlocal.hooks.specs import hookimpl
from cxlocal_plugins.junit_text import CHUNK_BYTES, Cleaner, UnknownEncoding

BYTES_MAX = 2 * 1024 * 1024 * 1024
"""Read of one file. Reports of half a gigabyte exist; beyond this nobody reads them."""
CASES_MAX = 200_000
"""Cases kept of one file."""
BAD_CASES_MAX = 10_000
"""Failed and erroneous cases kept beyond that: a failure must not hide behind many passes."""
KEPT_BYTES_MAX = 96 * 1024 * 1024
"""Of all names and messages of one file together, as they lie in memory: characters beyond U+FFFF
make every character of a text take four bytes. With CASES_MAX it bounds the memory."""
MESSAGE_BYTES_MAX = 1024
NAME_CHARACTERS_MAX = 1024
"""Of a suite or test name; a longer one is cut and told apart by a digest of the whole."""
TAG_BYTES_MAX = 16 * CHUNK_BYTES
"""Of one tag or comment, which the parser must hold in memory whole."""
DEPTH_MAX = 64
"""Suites nest; deeper than this is no report."""

RANK = {"passed": 0, "skipped": 1, "flaky": 2, "error": 3, "failed": 4}
"""Which of two results for one test counts: the worse one. A failed test has said no, whatever went
wrong while it was cleaned up; an error may be trouble and worth a retry."""
RESULTS = {"failure": "failed", "error": "error", "skipped": "skipped"}
RETRIES = ("flakyFailure", "flakyError", "rerunFailure", "rerunError")
"""Surefire: flaky… stand in a case that passed in the end, rerun… in one that did not."""
SUITES = ("testsuites", "testsuite")


class _Refused(Exception):
    """The file holds what a report has no need of."""


class JUnit:
    """The reader for format ``junit``."""

    format = "junit"

    def read(self, path: Path, *, suite: str) -> Report:
        """Read a file; ``problem`` says what kept it from being read in full."""
        handler = _Handler()
        try:
            problem = handler.parse(path)
        except OSError as error:
            problem = f"it cannot be read: {error.strerror}"
        except ValueError as error:
            problem = f"it cannot be read: {error}"  # A path that no system has: a NUL in it.
        if not problem and not handler.is_report:
            problem = "it is no JUnit report: it holds neither suites nor cases"
        return Report(self.format, suite or handler.first_suite, handler.cases(), problem)


class _Handler:
    """Follows the elements of one file."""

    def __init__(self) -> None:
        self.is_report = False
        self.first_suite = ""
        self._left_out = 0
        self._kept_bytes = 0
        self._bad_kept = 0
        self._found: dict[tuple[str, str], Case] = {}
        self._suites: list[str] = []
        self._depth = 0
        self._case: dict[str, str] | None = None
        self._case_depth = 0
        self._outcome = "passed"
        self._message = ""
        self._retried = False
        self._listening = 0
        """Depth of the element whose text becomes the message; 0 for none."""

    def parse(self, path: Path) -> str:
        """Read the file; what was wrong with it, or nothing. Raises OSError, ValueError."""
        # Reading a pipe would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return "it is no file"
            parser = expat.ParserCreate("utf-8")
            parser.StartElementHandler = self._start
            parser.EndElementHandler = self._end
            parser.CharacterDataHandler = self._text
            parser.EntityDeclHandler = self._refuse_entities
            parser.buffer_text = True
            try:
                return self._feed(parser, file) or self._words_for_left_out()
            except expat.ExpatError as error:
                return f"it is no well-formed XML: {error}"
            except (_Refused, UnknownEncoding) as error:
                return str(error)

    def _feed(self, parser: expat.XMLParserType, file: Any) -> str:
        cleaner = Cleaner()
        read = fed = 0
        while chunk := file.read(CHUNK_BYTES):
            read += len(chunk)
            if read > BYTES_MAX:
                return f"it has more than {BYTES_MAX} bytes; the rest was not read"
            clean = cleaner.feed(chunk)
            fed += len(clean)
            parser.Parse(clean, False)
            if fed - parser.CurrentByteIndex > TAG_BYTES_MAX:
                return f"it has a tag or a comment of more than {TAG_BYTES_MAX} bytes"
        parser.Parse(cleaner.end(), True)
        return ""

    def cases(self) -> tuple[Case, ...]:
        """Every test once, in the order of the file."""
        return tuple(self._found.values())

    def _words_for_left_out(self) -> str:
        if not self._left_out:
            return ""
        return f"{self._left_out} cases beyond {len(self._found)} were left out"

    def _refuse_entities(self, *_: Any) -> None:
        raise _Refused("it declares entities, which no report needs; it was not read further")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _Refused(f"its elements nest deeper than {DEPTH_MAX}")
        if name in SUITES:
            self.is_report = True
            label = _named(attributes.get("name", ""))
            self._suites.append(label)
            self.first_suite = self.first_suite or label
        elif name == "testcase":
            self.is_report = True
            self._open_case(attributes)
        elif self._case is not None:
            self._start_result(name, attributes)
        elif self._suites and name in ("failure", "error"):
            # Of the suite itself: it could not be set up. It must not pass for nothing.
            self._open_case({"classname": self._suites[-1], "name": "(suite)"})
            self._start_result(name, attributes)

    def _open_case(self, attributes: dict[str, str]) -> None:
        self._case, self._case_depth = attributes, self._depth
        self._outcome, self._message = "passed", ""
        self._retried, self._listening = False, 0

    def _start_result(self, name: str, attributes: dict[str, str]) -> None:
        if name in RETRIES:
            self._retried = True
        outcome = RESULTS.get(name)
        if outcome is not None and RANK[outcome] > RANK[self._outcome]:
            self._outcome = outcome
            self._message = attributes.get("message", "")
            self._listening = 0 if self._message else self._depth
        elif name in RETRIES and not self._message:
            self._message = attributes.get("message", "")

    def _text(self, text: str) -> None:
        if self._listening and len(self._message) < MESSAGE_BYTES_MAX:
            # Leading white space is no message.
            self._message += text[:MESSAGE_BYTES_MAX] if self._message else text.lstrip()

    def _end(self, name: str) -> None:
        if self._depth == self._listening:
            self._listening = 0
        if self._case is not None and self._depth == self._case_depth:
            self._keep(self._case)
            self._case = None
        if name in SUITES and self._suites:
            self._suites.pop()
        self._depth -= 1

    def _keep(self, attributes: dict[str, str]) -> None:
        outcome = self._outcome
        if outcome == "passed" and self._retried:
            outcome = "flaky"
        suite = attributes.get("classname") or (self._suites[-1] if self._suites else "")
        key = (_named(suite), _named(attributes.get("name", "")))
        before = self._found.get(key)
        if before is not None and RANK[outcome] <= RANK[before.outcome]:
            return
        case = Case(*key, outcome, _seconds(attributes.get("time", "")), _shortened(self._message))
        if before is None and not self._has_room(case):
            self._left_out += 1
        else:
            self._kept_bytes += sum(map(sys.getsizeof, (case.suite, case.name, case.message)))
            self._found[key] = case

    def _has_room(self, case: Case) -> bool:
        """Whether one more case is kept; of those that failed, some more."""
        if len(self._found) < CASES_MAX and self._kept_bytes < KEPT_BYTES_MAX:
            return True
        if RANK[case.outcome] < RANK["error"] or self._bad_kept >= BAD_CASES_MAX:
            return False
        self._bad_kept += 1
        return True


def _named(text: str) -> str:
    """A name of bounded length; two long ones that differ stay different."""
    if len(text) <= NAME_CHARACTERS_MAX:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: NAME_CHARACTERS_MAX - 18]}… {digest}"


def _seconds(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _shortened(text: str) -> str:
    encoded = text[:MESSAGE_BYTES_MAX].strip().encode()
    return encoded[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")


@hookimpl
def cxlocal_register_report_readers() -> Iterable[ReportReader]:
    """JUnit XML."""
    return [JUnit()]
