"""Reads JUnit XML, as the tools of this world write it.

There is no official standard; the survey at https://github.com/testmoapp/junitxml is followed. The
file comes from an untrusted build: it is read in chunks, declarations of entities end the reading,
and what is kept is bounded. Counts come from the elements (``junit_elements`` says which of them are
one test), never from the totals in the file; only where a suite counts failures and none of its
elements has one, that is believed, as an error of the suite itself; and where it counts more than its
elements show, all of them undone by another attempt, the report is none that can be believed.

junitparser builds the whole tree in memory, so half a gigabyte of report would need several; expat
with handlers needs a few megabytes whatever the size.
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.parsers import expat

from cxlocal.hooks.report import Report, ReportReader
from cxlocal.hooks.specs import hookimpl
from cxlocal_plugins.junit_elements import Element, Suite, Tests, named

BYTES_MAX = 2 * 1024 * 1024 * 1024
"""Read of one file. Reports of half a gigabyte exist; beyond this nobody reads them."""
MESSAGE_BYTES_MAX = 1024
CHUNK_BYTES = 1024 * 1024
TAG_BYTES_MAX = 16 * CHUNK_BYTES
"""Of one tag or comment, which the parser must hold in memory whole."""
DEPTH_MAX = 64
"""Suites nest; deeper than this is no report."""

RANK = {"passed": 0, "skipped": 1, "error": 2, "failed": 3}
"""Which of several results of one element counts: the worst. A failed test has said no, whatever
went wrong while it was cleaned up; an error may be trouble and worth a retry."""
RESULTS = {"failure": "failed", "error": "error", "skipped": "skipped"}
WORDS = {
    **dict.fromkeys(
        ("passed", "pass", "passing", "ok", "success", "successful", "succeeded", "fixed", "run",
         "completed"), "passed",
    ),
    **dict.fromkeys(
        ("failed", "fail", "failure", "failing", "notok", "regression", "unsuccessful", "xpass"),
        "failed",
    ),
    **dict.fromkeys(
        ("error", "errored", "broken", "crashed", "crash", "timeout", "timedout", "aborted", "abort",
         "interrupted", "cancelled", "canceled", "killed", "terminated", "panicked", "incomplete",
         "exception", "fatal", "hookerror", "cleanuperror"), "error",
    ),
    **dict.fromkeys(
        ("skipped", "skip", "notrun", "notexecuted", "suppressed", "disabled", "ignored", "pending",
         "todo", "untested", "xfail"), "skipped",
    ),
}  # fmt: skip
"""What ``status`` and ``result`` of a test case say, in small letters without spaces and signs: GoogleTest,
CTest, behave and others write some outcomes there alone. A test of which any other word is said has
not passed; whether it failed nobody knows, so it is skipped."""
RETRIES = ("flakyFailure", "flakyError", "rerunFailure", "rerunError")
"""Surefire: flaky… stand in a case that passed in the end, rerun… in one that did not."""
NO_PLACE = ("", "")
WORD_CHARACTERS = 40
_SIGNS = re.compile(r"[\s_-]+")
_GROUPS = re.compile(r"[\s'’\u202f\u00a0]")
"""What languages put between groups of three digits, beside the two signs."""
_SECONDS = re.compile(r"\+?(\d{1,9}(\.\d+)?|\.\d+)([eE][+-]?\d{1,2})?")
SECONDS_MAX = 1e9
"""Thirty years: no test took longer."""
SUITES = ("testsuites", "testsuite")
ONE_NAME = (("testsuites", "pytest tests"), ("testsuite", "pytest"))
"""What pytest calls the outermost elements of its reports. It gives no two tests one name."""
NO_SUITE = Suite(0, (), "")
OF_THE_SUITE = "(suite)"
"""Stands for the test where a suite as a whole went wrong."""


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
        cases = handler.tests.end()
        outcomes = {case.outcome for case in cases}
        if handler.short and not outcomes & {"failed", "error"}:
            problem = problem or handler.short
        if handler.unknown and outcomes == {"skipped"}:
            problem = problem or f"no test of it passed, and one {handler.unknown}"
        return Report(self.format, suite or handler.first_suite, cases, problem)


class _Open:
    """A test case, or what went wrong with a suite itself, while its element is being read."""

    def __init__(self, attributes: Mapping[str, str], depth: int) -> None:
        self.attributes = attributes
        self.depth = depth
        self.result = "passed"
        """The worst of its elements."""
        self.message = ""
        self.retried = False

    @property
    def outcome(self) -> str:
        """The worst of its elements and of what its attributes say."""
        worst = "skipped" if self.unknown else self._known
        return "flaky" if worst == "passed" and self.retried else worst

    @property
    def unknown(self) -> str:
        """What it says where that alone decides and nobody knows what it means, in words; empty where
        there is no such thing."""
        word = next((word for word in self._said() if word not in WORDS), "")
        return (
            f"says {word!r}, which is no outcome known here"
            if word and self._known == "passed"
            else ""
        )

    @property
    def _known(self) -> str:
        said = (WORDS.get(word, "passed") for word in self._said())
        return max([self.result, *said], key=RANK.__getitem__)

    def _said(self) -> list[str]:
        given = (self.attributes.get(name, "")[:WORD_CHARACTERS] for name in ("status", "result"))
        return [word for one in given if (word := _SIGNS.sub("", one).lower())]


class _OpenSuite:
    """A suite whose element is being read."""

    def __init__(self, suite: Suite, declared: str) -> None:
        self.suite = suite
        self.declared = declared
        """How many failures and errors it says it has, in words; empty for none."""
        self.bad = 0
        """How many elements in it failed, at least in one attempt."""


class _Handler:
    """Follows the elements of one file."""

    def __init__(self) -> None:
        self.is_report = False
        self.first_suite = ""
        self.short = ""
        """A suite that counts more failures than its elements show, in words: it matters where none of
        them is left, as each went well in another attempt."""
        self.unknown = ""
        """What a test says of itself that nobody knows, in words: it matters where none passed."""
        self.tests = Tests()
        self._suites: list[_OpenSuite] = []
        self._suite_count = 0
        self._one_name = False
        self._depth = 0
        self._open: list[_Open] = []
        """Test cases; some producers write those of steps into those of their test."""
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

    def _words_for_left_out(self) -> str:
        if not self.tests.left_out:
            return ""
        return f"{self.tests.left_out} cases beyond {len(self.tests)} were left out"

    def _refuse_entities(self, *_: Any) -> None:
        raise _Refused("it declares entities, which no report needs; it was not read further")

    def _start(self, full_name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise _Refused(f"its elements nest deeper than {DEPTH_MAX}")
        name = _local(full_name)
        if name in SUITES:
            self.is_report = True
            self._open_suite(name, attributes)
        elif name == "testcase":
            self.is_report = True
            self._open.append(_Open(attributes, self._depth))
        elif self._open:
            if self._depth == self._open[-1].depth + 1:
                self._take_result(name, attributes)
        elif self._suites and name in ("failure", "error"):
            # Of the suite itself: it could not be set up. It must not pass for nothing.
            self._open.append(_Open({"name": OF_THE_SUITE}, self._depth))
            self._take_result(name, attributes)

    def _open_suite(self, name: str, attributes: dict[str, str]) -> None:
        label = named(attributes.get("name", ""))
        self.first_suite = self.first_suite or label
        self._one_name = self._one_name or (self._depth <= 2 and (name, label) in ONE_NAME)
        outer = self._suites[-1].suite if self._suites else NO_SUITE
        self._suite_count += 1
        suite = Suite(
            self._suite_count,
            (*outer.path, label),
            named(attributes.get("hostname", "")) or outer.host,
        )
        self._suites.append(_OpenSuite(suite, _declared(attributes)))

    def _take_result(self, name: str, attributes: dict[str, str]) -> None:
        one = self._open[-1]
        outcome = RESULTS.get(name, "passed")
        if RANK[outcome] > RANK[one.result]:
            one.result = outcome
            one.message = attributes.get("message", "")
            self._listening = 0 if one.message else self._depth
        elif name in RETRIES:
            one.retried = True
            one.message = one.message or attributes.get("message", "")

    def _text(self, text: str) -> None:
        if self._listening and self._open:
            one = self._open[-1]
            if len(one.message) < MESSAGE_BYTES_MAX:
                # Leading white space is no message.
                one.message += text[:MESSAGE_BYTES_MAX] if one.message else text.lstrip()

    def _end(self, full_name: str) -> None:
        if self._depth == self._listening:
            self._listening = 0
        if self._open and self._depth == self._open[-1].depth:
            self._keep(self._open.pop())
        elif self._suites and _local(full_name) in SUITES:
            self._close_suite(self._suites.pop())
        self._depth -= 1

    def _close_suite(self, closing: _OpenSuite) -> None:
        if closing.declared and not closing.bad:
            closing.bad = 1
            message = f"the suite counts {closing.declared}, and no test of it says so"
            self.tests.add(
                Element(closing.suite, "", OF_THE_SUITE, NO_PLACE, "error", None, message),
                one_name=False,
            )
        elif sum(int(each) for each in re.findall(r"\d{1,9}", closing.declared)) > closing.bad:
            self.short = f"it counts {closing.declared}, and its tests show {closing.bad}"
        if self._suites:
            self._suites[-1].bad += closing.bad

    def _keep(self, one: _Open) -> None:
        outcome, unknown = one.outcome, one.unknown
        self.unknown = self.unknown or unknown
        if self._suites and outcome not in ("passed", "skipped"):
            self._suites[-1].bad += 1
        given = one.attributes
        place = (given.get("file", ""), given.get("line", ""))
        element = Element(
            self._suites[-1].suite if self._suites else NO_SUITE,
            named(given.get("classname", "")),
            named(given.get("name", "")),
            (named(place[0]), named(place[1])) if any(place) else NO_PLACE,
            outcome,
            seconds_of(given.get("time", "")),
            _shortened(one.message or (f"it {unknown}" if unknown else "")),
        )
        self.tests.add(element, one_name=self._one_name)


def _local(name: str) -> str:
    """The name of an element without the prefix of its namespace."""
    return name.rpartition(":")[2]


def _declared(attributes: Mapping[str, str]) -> str:
    """``2 failures``, ``1 errors``: what a suite says of itself; empty for none. A total that is not
    read as none counts, also where it is no number: rather too careful than green."""
    counts = [(attributes.get(name, "").strip(), name) for name in ("failures", "errors")]
    # Not as numbers: Python refuses to read very long ones.
    return " and ".join(
        f"{count[:9]} {name}"
        for count, name in counts
        if count.lower() not in _NONE and not _ZERO.fullmatch(count)
    )


_NONE = {"", "none", "no", "null", "nil", "nan", "n/a", "-", "undefined", "false"}
_ZERO = re.compile(r"[+-]?0+([.,]0*)*")


def seconds_of(text: str) -> float | None:
    """A duration as producers write it: ``0.255``, ``0,255``, ``1,234.5``, ``1.234,5``. The last
    sign parts the decimals, unless it stands there more than once. None for what is no number."""
    plain = _GROUPS.sub("", text[:64])
    last = max(plain.rfind("."), plain.rfind(","))
    if last >= 0:
        sign = plain[last]
        whole, decimals = plain[:last], plain[last + 1 :]
        if sign in whole:
            whole, decimals = whole + decimals, ""
        whole = whole.replace(".", "").replace(",", "")
        plain = f"{whole}.{decimals or '0'}" if whole or decimals else ""
    value = float(plain) if _SECONDS.fullmatch(plain) else SECONDS_MAX
    return value if value < SECONDS_MAX else None


def _shortened(text: str) -> str:
    encoded = text[:MESSAGE_BYTES_MAX].strip().encode()
    return encoded[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")


@hookimpl
def cxlocal_register_report_readers() -> Iterable[ReportReader]:
    """JUnit XML."""
    return [JUnit()]


ENCODINGS = frozenset(
    codecs.lookup(name).name
    for name in (
        "utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "ascii",
        *(f"iso8859-{part}" for part in range(1, 17) if part != 12),
        *(f"cp125{part}" for part in range(9)),
        "cp437", "cp850", "cp866", "cp932", "koi8-r", "koi8-u", "mac-roman", "shift_jis", "euc_jp",
        "iso2022_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr",
    )
)  # fmt: skip
"""What a file may say it is written in. Python knows more, among them codecs that are no encodings
of text, or that take quadratic time."""

MARKS = (
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"), (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"), (b"<\0\0\0", "utf-32-le"), (b"\0\0\0<", "utf-32-be"),
    (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"),
)  # fmt: skip
"""How a file begins (https://www.w3.org/TR/xml/#sec-guessing); the longer marks come first."""

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,200}?\sencoding\s*=\s*["']([\w.:-]{1,40})["']""")
_CONTROLS = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class UnknownEncoding(Exception):
    """The file says it is written in something that is not known here."""


class Cleaner:
    """Takes a file chunk by chunk and gives it back as clean UTF-8."""

    def __init__(self) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None
        self._plain = False
        """UTF-8 with nothing begun: a chunk of ASCII may pass as it is."""
        self._started = False

    def feed(self, chunk: bytes) -> bytes:
        """The next part. Raises UnknownEncoding."""
        if self._decoder is None:
            self._decoder, chunk = self._open(chunk)
        # By far the most common case, and the reason that big files are read in seconds.
        if self._plain and chunk.isascii() and self._decoder.getstate()[0] == b"":
            return self._begun(_CONTROLS.sub(b"?", chunk))
        return self._begun(_clean(self._decoder.decode(chunk)))

    def end(self) -> bytes:
        """What was still held back."""
        return _clean(self._decoder.decode(b"", True)) if self._decoder else b""

    def _open(self, chunk: bytes) -> tuple[codecs.IncrementalDecoder, bytes]:
        name = "utf-8"
        for mark, meant in MARKS:
            if chunk.startswith(mark):
                name = meant
                chunk = chunk if b"<" in mark else chunk[len(mark) :]
                break
        else:
            declared = _DECLARED.match(chunk)
            if declared is not None:
                name = _known(declared[1].decode("ascii"))
        self._plain = name == "utf-8"
        return codecs.getincrementaldecoder(name)("replace"), chunk

    def _begun(self, data: bytes) -> bytes:
        """Without the white space that some tools write before the XML declaration."""
        if not self._started:
            data = data.lstrip()
            self._started = bool(data)
        return data


def _known(name: str) -> str:
    try:
        found = codecs.lookup(name).name
    except LookupError:
        found = ""
    # A declaration that was readable as ASCII is no UTF-16, whatever it says.
    if found.startswith(("utf-16", "utf-32")) or found == "ascii":
        return "utf-8"
    if found not in ENCODINGS:
        raise UnknownEncoding(f"its encoding {name[:40]!r} is not known")
    return found


def _clean(text: str) -> bytes:
    return _NOT_XML.sub("?", text).encode("utf-8")
