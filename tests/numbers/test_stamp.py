"""The version reaches the bytes: only the value changes, and only where it is meant."""

from __future__ import annotations

import codecs
import json
import tomllib
from pathlib import Path

import pytest

from cxlocal.errors import ConfigError
from cxlocal.numbers.stamp import Stamp, Stamped, apply_stamps, check_stamps

PACKAGE = """{
    "name": "web",   "dependencies": { "version": "1.0", "x": {"version": "9"} },
  "description": "a \\"version\\": \\"8\\" of sorts",
  "version" :  "0.0.0"
}\r\n"""
PROJECT = """# version = "not this one"
[tool.other]
version = "7"  # nor this
[project]
name = 'x'
version = '0.0.0' # this one
text = \"\"\"
version = "9"
\"\"\"
inline = { version = "5" }
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    folder.mkdir()
    (folder / "package.json").write_bytes(PACKAGE.encode())
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "version.h").write_text('#define NAME "x"\n#define VERSION "0.0.0"\n')
    return folder


def test_json_toml_and_pattern(checkout: Path) -> None:
    stamps = [
        Stamp("package.json", key="version"),
        Stamp("pyproject.toml", key="project.version"),
        Stamp("pyproject.toml", key="project.inline.version"),
        Stamp("version.h", pattern=r'^#define VERSION "([^"]*)"'),
    ]
    assert [each.old for each in check_stamps(checkout, stamps)] == ["0.0.0", "0.0.0", "5", "0.0.0"]
    done = apply_stamps(checkout, stamps, "2.7.114")
    assert done[0] == Stamped("package.json", "version", "0.0.0", "2.7.114")
    package = (checkout / "package.json").read_bytes().decode()
    assert package == PACKAGE.replace('"version" :  "0.0.0"', '"version" :  "2.7.114"')
    assert json.loads(package)["dependencies"]["version"] == "1.0"
    project = (checkout / "pyproject.toml").read_text()
    assert tomllib.loads(project)["project"]["version"] == "2.7.114"
    assert tomllib.loads(project)["project"]["inline"]["version"] == "2.7.114"
    assert project == PROJECT.replace("'0.0.0'", '"2.7.114"').replace('"5"', '"2.7.114"')
    assert '#define VERSION "2.7.114"' in (checkout / "version.h").read_text()
    assert apply_stamps(checkout, stamps, "2.7.114")[0].old == "2.7.114", "again is no error"


@pytest.mark.parametrize(
    ("stamp", "name"),
    [
        (Stamp("gone.json", key="version"), "stamp-missing"),
        (Stamp("package.json", key="dependencies"), "stamp-missing"),
        (Stamp("package.json", key="nowhere.version"), "stamp-missing"),
        (Stamp("pyproject.toml", key="version"), "stamp-missing"),
        (Stamp("version.h", key="VERSION"), "stamp-no-key"),
        (Stamp("version.h", pattern="nothing (x)"), "stamp-ambiguous"),
        (Stamp("version.h", pattern='"([^"]*)"'), "stamp-ambiguous"),
        (Stamp("version.h", pattern='^#define VERSION (?:"0.(9)"|.*)'), "stamp-ambiguous"),
        (Stamp("version.h", pattern="VERSION (?:x(.*))?"), "stamp-ambiguous"),
        (Stamp("zeros.h", pattern="(0)"), "stamp-unreadable"),
        (Stamp("half.h", pattern="(0)"), "stamp-unreadable"),
        (Stamp("latin.json", key="version"), "stamp-unreadable"),
        (Stamp("version.h", pattern="VERSION"), "stamp-pattern"),
        (Stamp("version.h", pattern="("), "stamp-pattern"),
        (Stamp("../outside.json", key="version"), "stamp-outside"),
        (Stamp("link.json", key="version"), "stamp-outside"),
        (Stamp("binary.json", key="version"), "stamp-unreadable"),
        (Stamp("broken.json", key="version"), "stamp-unreadable"),
        (Stamp("deep.json", key="version"), "stamp-unreadable"),
        (Stamp("deep.toml", key="version"), "stamp-unreadable"),
    ],
)
def test_errors_name_the_file_and_change_nothing(checkout: Path, stamp: Stamp, name: str) -> None:
    (checkout.parent / "outside.json").write_text('{"version": "1"}')
    (checkout / "link.json").symlink_to(checkout.parent / "outside.json")
    (checkout / "binary.json").write_bytes(b"\xff\xfe")
    (checkout / "broken.json").write_text('{"version": ')
    (checkout / "zeros.h").write_bytes(b"v=0\0")
    (checkout / "half.h").write_bytes(codecs.BOM_UTF16_LE + "v=0".encode("utf-16-le")[:-1])
    (checkout / "latin.json").write_bytes('{"version": "1", "x": "ü"}'.encode("latin-1"))
    deep = "[" * 300_000 + "]" * 300_000
    (checkout / "deep.json").write_text(f'{{"version": "1", "x": {deep}}}')
    (checkout / "deep.toml").write_text(f'version = "1"\nx = {deep}\n')
    before = {path: path.read_bytes() for path in checkout.iterdir()}
    good = Stamp("package.json", key="version")
    for check in (
        lambda: apply_stamps(checkout, [good, stamp], "1.0.0"),
        lambda: check_stamps(checkout, [stamp]),
    ):
        with pytest.raises(ConfigError) as caught:
            check()
        assert caught.value.name == name
        assert stamp.file in caught.value.what
        assert caught.value.hint
    assert before == {path: path.read_bytes() for path in checkout.iterdir()}


def test_numbers_that_do_not_equal_themselves(checkout: Path) -> None:
    toml = 'version = "1"  # version\nlow = -inf\nnothing = nan\n'
    (checkout / "odd.toml").write_text(toml)
    (checkout / "odd.json").write_text('{"x": [NaN, {"version": "1"}], "version": "1"}')
    stamps = [Stamp("odd.toml", key="version"), Stamp("odd.json", key="version")]
    assert [each.old for each in apply_stamps(checkout, stamps, "2.0.0")] == ["1", "1"]
    assert (checkout / "odd.toml").read_text() == toml.replace('"1"', '"2.0.0"')
    assert (checkout / "odd.json").read_text() == (
        '{"x": [NaN, {"version": "1"}], "version": "2.0.0"}'
    )


MARKS = {
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}
FILES = [
    ("package.json", '{"x": "ü",\n "version": "0.0.0"}\n', "version", ""),
    ("Cargo.toml", '# ü\n[package]\nversion = "0.0.0" # one\nedition = "2021"\n', "package.version", ""),
    ("v.py", '# ü\nversion = "0.0.0"\nname = "x"\n', "", '^version = "(.*)"$'),
    ("a.properties", "version=0.0.0\n\nname=Grüße\n", "", "^version=(.*)$"),
    ("b.properties", "# Grüße\nversion=0.0.0", "", r"^version=([0-9.]+)$"),
    ("c.rc", "A\nB\nFILEVERSION 0.0.0\nC", "", r"A\nB\nFILEVERSION (\S+)\nC"),
]  # fmt: skip


# JSON and TOML are Unicode by their definitions: another encoding is refused, see above.
ENCODED = [
    (*file, encoding)
    for file in FILES
    for encoding in ("utf-8", *MARKS, *(() if file[2] else ("latin-1",)))
]


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize(("name", "text", "key", "pattern", "encoding"), ENCODED)
def test_mark_encoding_and_line_ends_stay(
    tmp_path: Path, name: str, text: str, key: str, pattern: str, encoding: str, ends: str
) -> None:
    mark, plain = MARKS.get(encoding, b""), encoding.removesuffix("-sig")

    def written(content: str) -> bytes:
        return mark + content.replace("\n", ends).encode(plain)

    (tmp_path / name).write_bytes(written(text))
    done = apply_stamps(tmp_path, [Stamp(name, key, pattern)], "2.7.114")
    assert [one.old for one in done] == ["0.0.0"]
    assert (tmp_path / name).read_bytes() == written(text.replace("0.0.0", "2.7.114"))


@pytest.mark.parametrize(
    "pattern", [r"^version=(.*)\r$", r"version=([^\r]*)\r\n", r"version=(.*?)\s"]
)
def test_a_pattern_that_knows_of_both_halves_of_a_line_end(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "v").write_bytes(b"a=1\r\nversion=1.0.0\r\nb=\n")
    apply_stamps(tmp_path, [Stamp("v", pattern=pattern)], "2.0.0")
    assert (tmp_path / "v").read_bytes() == b"a=1\r\nversion=2.0.0\r\nb=\n"


def test_the_group_of_a_long_file_is_found_at_its_place(tmp_path: Path) -> None:
    lines = [f"line {number}\r\n" if number % 3 else f"line {number}\n" for number in range(999)]
    lines[500] = "version=1.0.0\r\n"
    (tmp_path / "v").write_bytes("".join(lines).encode())
    apply_stamps(tmp_path, [Stamp("v", pattern="^version=(.*)$")], "2.0.0")
    lines[500] = "version=2.0.0\r\n"
    assert (tmp_path / "v").read_bytes() == "".join(lines).encode()
