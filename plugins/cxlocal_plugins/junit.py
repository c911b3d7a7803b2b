"""Reads JUnit XML, as the tools of this world write it.

There is no official standard; the survey at https://github.com/testmoapp/junitxml is followed. The
file comes from an untrusted build: it is read in chunks, declarations of entities end the reading,
and what is kept is bounded. Counts come from the cases, never from the totals in the file: pytest
writes two cases for one test whose call and teardown both failed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from cxlocal.hooks.report import Case, Report, ReportReader
from cxlocal.hooks.specs import hookimpl
from cxlocal.text import clean_text

BYTES_MAX = 1024 * 1024 * 1024
"""Read of one file. Reports above half a gigabyte exist; beyond this nobody reads them."""
CASES_MAX = 200_000
"""Cases kept of one file: some 100 MB of memory at the most."""
MESSAGE_BYTES_MAX = 1024
CHUNK_BYTES = 1024 * 1024
DEPTH_MAX = 64
"""Suites nest; deeper than this is no report."""

RANK = {"passed": 0, "skipped": 1, "flaky": 2, "failed": 3, "error": 4}
"""Which of two results for one test counts: the worse one."""
RESULTS = {"failure": "failed", "error": "error", "skipped": "skipped"}
RETRIES = ("flakyFailure", "flakyError", "rerunFailure", "rerunError")
"""Surefire: flaky… stand in a case that passed in the end, rerun… in one that did not."""

_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Characters XML 1.0 does not allow; tools write them all the same into captured output."""


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
        if not problem and not handler.is_report:
            problem = "it is no JUnit report: it holds neither suites nor cases"
        return Report(self.format, suite or handler.first_suite, handler.cases(), problem)


class _Handler:
    """Follows the elements of one file."""

    def __init__(self) -> None:
        self.is_report = False
        self.first_suite = ""
        self.left_out = 0
        self._found: dict[tuple[str, str], Case] = {}
        self._suites: list[str] = []
        self._depth = 0
        self._case: dict[str, str] | None = None
        self._outcome = "passed"
        self._message = ""
        self._retried = False
        self._listening = False

    def parse(self, path: Path) -> str:
        """Read the file; what was wrong with it, or nothing."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse_entities
        parser.buffer_text = True
        read = 0
        try:
            with open(path, "rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    read += len(chunk)
                    if read > BYTES_MAX:
                        return f"it has more than {BYTES_MAX} bytes; the rest was not read"
                    parser.Parse(_without_controls(chunk), False)
                parser.Parse(b"", True)
        except expat.ExpatError as error:
            return f"it is no well-formed XML: {error}"
        except _Refused as error:
            return str(error)
        except (ValueError, LookupError) as error:
            return f"its encoding cannot be read: {error}"
        return f"{self.left_out} cases beyond {CASES_MAX} were left out" if self.left_out else ""

    def cases(self) -> tuple[Case, ...]:
        """Every test once, in the order of the file."""
        return tuple(self._found.values())

    def _refuse_entities(self, *_: Any) -> None:
        raise _Refused("it declares entities, which no report needs; it was not read further")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _Refused(f"its elements nest deeper than {DEPTH_MAX}")
        if name in ("testsuites", "testsuite"):
            self.is_report = True
            label = attributes.get("name", "")
            self._suites.append(label)
            self.first_suite = self.first_suite or label
        elif name == "testcase":
            self.is_report = True
            self._case, self._outcome, self._message = attributes, "passed", ""
            self._retried = False
        elif self._case is not None:
            self._start_result(name, attributes)

    def _start_result(self, name: str, attributes: dict[str, str]) -> None:
        if name in RETRIES:
            self._retried = True
        outcome = RESULTS.get(name)
        if outcome is not None and RANK[outcome] > RANK[self._outcome]:
            self._outcome = outcome
            self._message = attributes.get("message", "")
            self._listening = not self._message
        elif name in RETRIES and not self._message:
            self._message = attributes.get("message", "")

    def _text(self, text: str) -> None:
        if self._listening and len(self._message) < MESSAGE_BYTES_MAX:
            self._message += text[:MESSAGE_BYTES_MAX]

    def _end(self, name: str) -> None:
        self._depth -= 1
        if name in RESULTS:
            self._listening = False
        elif name in ("testsuites", "testsuite") and self._suites:
            self._suites.pop()
        elif name == "testcase" and self._case is not None:
            self._keep(self._case)
            self._case = None

    def _keep(self, attributes: dict[str, str]) -> None:
        outcome = self._outcome
        if outcome == "passed" and self._retried:
            outcome = "flaky"
        suite = attributes.get("classname") or (self._suites[-1] if self._suites else "")
        key = (clean_text(suite), clean_text(attributes.get("name", "")))
        case = Case(*key, outcome, _seconds(attributes.get("time", "")), _shortened(self._message))
        before = self._found.get(key)
        if before is None and len(self._found) >= CASES_MAX:
            self.left_out += 1
        elif before is None or RANK[outcome] > RANK[before.outcome]:
            self._found[key] = case


def _without_controls(chunk: bytes) -> bytes:
    """The chunk with forbidden characters replaced; UTF-16 has zero bytes by nature."""
    if chunk[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in chunk[:4]:
        return chunk
    return _FORBIDDEN.sub(b"?", chunk)


def _seconds(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None


def _shortened(text: str) -> str:
    encoded = clean_text(text).strip().encode()
    return encoded[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")


@hookimpl
def cxlocal_register_report_readers() -> Iterable[ReportReader]:
    """JUnit XML."""
    return [JUnit()]
