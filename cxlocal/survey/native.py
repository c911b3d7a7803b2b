"""C and C++ projects: CMake, Meson, autotools, plain make.

What is released is what is *installed* (programs, libraries, headers, and where they go), never
the folder of a build.
"""

from __future__ import annotations

import re
import shlex

from cxlocal.survey.counting import Said
from cxlocal.survey.recipe import Inline, Place, Recipe, archive, by_pattern, needs, version_file
from cxlocal.survey.tree import Survey, slug

COMPILER = ["CC", "CXX", "CFLAGS", "CXXFLAGS", "LDFLAGS"]
STAGED = "stage"
"""The folder into which is installed (``DESTDIR``)."""
CMAKE_MAX, SOURCES_MAX = 60, 40
"""Files that are looked into, the nearest to the top first."""


def _installed(name: str, install: str, *before: str) -> dict[str, object]:
    """Install into a folder, pack that folder."""
    return {**archive(name, folder=STAGED, before=install), **needs(*before), "pass_env": COMPILER}


def cmake(survey: Survey) -> Recipe | None:
    """A CMake project: configure, build, ``ctest``, then ``cpack`` or ``cmake --install``."""
    text = _uncommented(survey.text("CMakeLists.txt"))
    if not text:
        return None
    match = re.search(r"(?i)\bproject\s*\(\s*\"?([A-Za-z0-9_.+-]+)", text)
    name = match[1] if match else ""
    files = survey.below("CMakeLists.txt", "*/CMakeLists.txt", "*.cmake")[:CMAKE_MAX]
    everything = text + "\n".join(_uncommented(survey.text(one)) for one in files[1:])
    tested = bool(
        re.search(r"(?i)\b(?:enable_testing|include\s*\(\s*CTest|add_test)\b", everything)
    )
    options = _test_options(everything) if tested else ""
    place = _cmake_version(survey, text)
    stages: dict[str, Inline] = {
        "build": {
            "kind": "build", "pass_env": COMPILER,
            "command": "cmake -S . -B build -DCMAKE_BUILD_TYPE=Release"
            f" -DCMAKE_INSTALL_PREFIX=/usr{options} && cmake --build build --parallel",
        }
    }  # fmt: skip
    if tested:
        stages["unit"] = {
            "kind": "test", "needs": ["build"], "reports": {"junit": "build/junit.xml"},
            "command": "ctest --test-dir build --output-on-failure --output-junit junit.xml",
        }  # fmt: skip
    stages |= _cmake_pack(survey, text, everything, slug(name or survey.name), list(stages)[-1])
    return Recipe(
        "a CMake project", stages, name=name, place=place,
        tests=("unit",) if tested else (), needs=("cmake",),
    )  # fmt: skip


def _uncommented(text: str) -> str:
    return re.sub(r"#(?!\[\[)[^\n]*", "", text)


def _cmake_pack(
    survey: Survey, text: str, everything: str, name: str, last: str
) -> dict[str, Inline]:
    """The stage that packs, or what the build makes where nothing is installed."""
    if re.search(r"(?i)\binclude\s*\(\s*CPack\b", text):
        return {"pack": {
            "kind": "build", **needs(last),
            "command": 'cpack --config build/CPackConfig.cmake -G TGZ -B dist'
            f' -D "CPACK_PACKAGE_FILE_NAME={name}-$CXLOCAL_VERSION"',
            "produces": {"package": f"dist/{name}-[0-9]*.tar.gz"},
        }}  # fmt: skip
    if re.search(r"(?i)\binstall\s*\(", everything):
        return {"pack": _installed(name, f'DESTDIR="$PWD/{STAGED}" cmake --install build', last)}
    programs = re.findall(
        r"(?im)^\s*add_executable\s*\(\s*([\w.+-]+)(?!\s+(?:ALIAS|IMPORTED))", text
    )
    own = [one for one in programs if not re.search(r"(?i)test|example|bench", one)]
    if own:
        copied = " ".join(shlex.quote(f"build/{one}") for one in own)
        return {"pack": _installed(name, f"mkdir -p {STAGED} && cp {copied} {STAGED}", last)}
    headers = " && cp -R include stage" if survey.below("include/*") else ""
    found = f"find build -name 'lib*.a' -o -name 'lib*.so*' | xargs -I{{}} cp -P {{}} {STAGED}"
    return {"pack": _installed(name, f"mkdir -p {STAGED} && {found}{headers}", last)}


def _test_options(text: str) -> str:
    """Options that switch tests on where they are off."""
    found = re.findall(
        r"(?is)\b(?:cmake_dependent_)?option\s*\(\s*(\w*(?:TESTS?|TESTING))\b\s*(?:\"[^\"]*\")?\s*(\S*?)\s*[\s)]",
        text,
    )
    off = [
        name
        for name, default in found
        if default.upper() not in ("ON", "TRUE", "1")
        and not re.search(r"WITHOUT|DISABLE|SKIP|(?:^|_)NO_", name.upper())
    ]
    return "".join(f" -D{one}=ON" for one in dict.fromkeys(off[:4]))


def _cmake_version(survey: Survey, text: str) -> Place:
    """``project(… VERSION 1.2.3)``, or the variable that stands there, or a header."""
    file, number = "CMakeLists.txt", r"\s+\"?([0-9][0-9.]*)"
    tries = [rf"\b(?:project|PROJECT)\s*\([^)]*\bVERSION{number}"]
    variable = re.search(r"(?i)\bproject\s*\([^)]*\bVERSION\s+\"?\$\{(\w+)\}", text)
    names = [variable[1]] if variable else []
    names += re.findall(r"(?i)\bset\s*\(\s*((?:\w*_)?VERSION(?:_STRING)?)\s+\"?\d", text)[:3]
    tries += [rf"\b(?:set|SET)\s*\(\s*{re.escape(one)}{number}" for one in names]
    found = by_pattern(survey, file, *tries)
    if found is not None:
        return found
    parts = [
        re.search(rf"(?i)\bset\s*\(\s*\w*VERSION_{one}\s+\"?(\d+)", text)
        for one in ("MAJOR", "MINOR", "(?:PATCH|MICRO|REVISION|RELEASE)")
    ]
    if parts[0] and parts[1]:
        joined = ".".join(one[1] for one in parts if one)
        note = "CMakeLists.txt has the version in parts (MAJOR, MINOR …): raise them by hand."
        return Place((Said(joined, file),), note=note)
    return header_version(survey)


_DEFINE = r"^[ \t]*#[ \t]*define[ \t]+"
DEFINED = (
    _DEFINE + r"\w*VERSION(?:_STRING|_STR|_TEXT)?[ \t]+\"v?(\d+\.\d[^\"\s]*)\"",
    # With the name before it, and perhaps more behind it: "httpd/1.30 26Oct2018", "shop 1.4.0".
    _DEFINE + r"\w*(?:VERSION|SOFTWARE|AGENT|SERVER|PROGRAM|PACKAGE|BANNER)\w*[ \t]+"
    r"\"(?!HTTPS?\b|TLS|SSL)[A-Za-z][\w.+-]*[/ ]v?(\d+\.\d[\w.+-]*)[^\"\n]*\"",
)
"""Where C sources say their version, the plainest first."""


def header_version(survey: Survey) -> Place:
    """``VERSION``, or ``#define …VERSION "1.2.3"`` in a source near the top."""
    files = [
        one
        for one in survey.below("*.h", "*.hpp", "*.hh", "*.c", "*.cpp", "*.cc")
        if not re.search(r"(?i)(^|/)(tests?|examples?|bench\w*|docs?)/", one)
    ]
    near = [one for one in files if one.count("/") <= 2][:SOURCES_MAX]
    found = (by_pattern(survey, one, pattern) for pattern in DEFINED for one in near)
    return version_file(survey) or next(filter(None, found), None) or Place()


def meson(survey: Survey) -> Recipe | None:
    """A Meson project."""
    text = survey.text("meson.build")
    match = re.search(r"^project\s*\(\s*'([^']+)'", text, re.MULTILINE)
    if not match:
        return None
    pattern = r"^project\s*\([^)]*?\bversion\s*:\s*'(\d[^']*)'"
    tested = any(
        re.search(r"^\s*(?:test|gtest)\s*\(", survey.text(one), re.MULTILINE)
        for one in survey.below("meson.build", "*/meson.build")[:CMAKE_MAX]
    )
    stages: dict[str, Inline] = {
        "build": {
            "kind": "build", "pass_env": COMPILER,
            "command": "meson setup build --prefix=/usr --buildtype=release && meson compile -C build",
        }
    }  # fmt: skip
    if tested:
        stages["unit"] = {
            "kind": "test", "command": "meson test -C build --print-errorlogs", "needs": ["build"],
            "reports": {"junit": "build/meson-logs/testlog.junit.xml"},
        }  # fmt: skip
    install = f'DESTDIR="$PWD/{STAGED}" meson install -C build'
    stages["pack"] = _installed(slug(match[1]), install, list(stages)[-1])
    return Recipe(
        "a Meson project", stages, name=match[1],
        place=by_pattern(survey, "meson.build", pattern) or Place(),
        tests=("unit",) if tested else (), needs=("meson",),
    )  # fmt: skip


def autotools(survey: Survey) -> Recipe | None:
    """``./configure``, made first where the repository does not have it."""
    script = survey.first("configure.ac", "configure.in")
    if not script and not (survey.has("configure") and survey.has("Makefile.in", "Makefile")):
        return None
    text = re.sub(r"\bdnl\b[^\n]*", "", survey.text(script))
    match = re.search(r"AC_INIT\s*\(\s*\[?\s*([^\],)]+?)\s*\]?\s*[,)]", text)
    name = slug(match[1]) if match else ""
    pattern = r"^AC_INIT\s*\(\s*\[?[^\],]+\]?\s*,\s*\[?\s*v?(\d[^\],)\s]*)"
    found, ready = by_pattern(survey, script, pattern) or Place(), survey.has("configure")
    if ready or not found.said:
        # A configure that is there is not made anew: what is compiled in is what a header says.
        header = header_version(survey)
        found = Place(found.said or header.said, header.stamp)
    generate = "./autogen.sh" if survey.has("autogen.sh") else "autoreconf -fi"
    begin = "" if ready else f"NOCONFIGURE=1 {generate} && "
    makefile = survey.text("Makefile.am") + survey.text("Makefile.in")
    tested = bool(
        re.search(r"^(?:TESTS|check_PROGRAMS|check(?:-local|-am)?)\b", makefile, re.MULTILINE)
    )
    tested = tested or any(
        "TESTS" in survey.text(one) for one in survey.below("*/Makefile.am", "*/Makefile.in")[:20]
    )
    stages: dict[str, Inline] = {
        "build": {
            "kind": "build", "command": f"{begin}./configure --prefix=/usr && make",
            "pass_env": COMPILER,
        }
    }  # fmt: skip
    if tested:
        stages["unit"] = {"kind": "test", "command": "make check", "needs": ["build"]}
    install = f'make DESTDIR="$PWD/{STAGED}" install'
    shown = slug(name or survey.name)
    stages["pack"] = _installed(shown, install, list(stages)[-1])
    return Recipe(
        "a project with configure", stages, name=shown if name else "", place=found,
        tests=("unit",) if tested else (), needs=("make",) if ready else ("make", "autoreconf"),
    )  # fmt: skip


MAKEFILES = ("GNUmakefile", "makefile", "Makefile")
"""In the order in which make looks for them."""


def make(survey: Survey) -> Recipe | None:
    """A Makefile: ``make``, its tests, and what it installs or links."""
    file = survey.first(*MAKEFILES)
    raw = survey.text(file)
    if not raw:
        return None
    text = _expanded(raw)
    targets = set(
        re.findall(
            r"^([A-Za-z0-9_.-]+)(?:[ \t]+[A-Za-z0-9_.-]+)*[ \t]*:(?![=:])", text, re.MULTILINE
        )
    )
    name = slug(survey.name)
    # A target that installs is asked for a folder by DESTDIR, where the Makefile knows it.
    stages: dict[str, Inline] = {
        "build": {"kind": "build", "command": "make", "pass_env": COMPILER}
    }
    test = next((one for one in ("test", "check", "tests") if one in targets), "")
    if test:
        stages["unit"] = {"kind": "test", "command": f"make {test}", "needs": ["build"]}
    program, last = _program(text), list(stages)[-1]
    if "install" in targets and "DESTDIR" in raw:
        prefix = " PREFIX=/usr" if re.search(r"^PREFIX\b", raw, re.MULTILINE) else ""
        install = f'mkdir -p {STAGED} && make DESTDIR="$PWD/{STAGED}"{prefix} install'
        stages["pack"] = _installed(name, install, last)
    elif program:
        stages["build"] = {**stages["build"], "produces": {"program": program}}
    else:
        stages["pack"] = {**archive(name), **needs(last)}
    return Recipe(
        "a Makefile", stages, place=_make_version(survey, file), tests=("unit",) if test else (),
        needs=("make",),
    )  # fmt: skip


def _make_version(survey: Survey, file: str) -> Place:
    pattern = r"^(?:\w+_)?(?:VERSION|version)[ \t]*[:?]?=[ \t]*v?(\d+\.\d[^\s#]*)"
    return by_pattern(survey, file, pattern) or header_version(survey)


def _expanded(text: str) -> str:
    """The Makefile with its plain variables replaced, so that ``$(PROGRAM): …`` has a name."""
    pairs = re.findall(r"^([A-Za-z_]\w*)[ \t]*[:?]?=[ \t]*([^\n#]*)", text, re.MULTILINE)
    values = {name: value.strip() for name, value in pairs}
    # Three rounds: a variable of a variable of a variable; each at most 200 characters long.
    for _ in range(3):
        text = re.sub(
            r"\$[({](\w+)[)}]",
            lambda match: values.get(match[1], match[0])[:200],
            text,
        )
    return text


def _program(text: str) -> str:
    """The file that a rule of the Makefile links (``-o $@`` or ``-o name``), or an empty text."""
    rules = re.finditer(
        r"^([A-Za-z0-9_-]+)\s*:(?![=:])[^\n]*\n((?:\t[^\n]*\n?)+)", text, re.MULTILINE
    )
    for rule in rules:
        target, recipe = rule[1], rule[2]
        if re.search(r"-o\s+(\$@|\$\(@\)|" + re.escape(target) + r")(?=\s|$)", recipe):
            return target
    return ""
