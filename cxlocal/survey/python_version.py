"""Where a Python project keeps its version, in whichever of its build systems' ways."""

from __future__ import annotations

import re

from cxlocal.patterns import compile_late
from cxlocal.survey.recipe import PLAIN, Inline, Place, by_key, by_pattern, version_file
from cxlocal.survey.tree import Survey, first_match, part, table, texts, words

FROM_GIT = compile_late(
    r"setuptools[-_]scm|hatch-vcs|use_scm_version|vcs-versioning|\bpbr\b|poetry-dynamic-versioning"
    r"|source\s*=\s*[\"']scm[\"']|versioningit|dunamai|versioneer|setuptools-git-versioning"
)
"""What takes the version from git while building: then no file can be stamped."""

TOLD = compile_late(
    r"setuptools[-_]scm|hatch-vcs|use_scm_version|vcs-versioning|\bpbr\b|poetry-dynamic-versioning"
    r"|source\s*=\s*[\"']scm[\"']"
)
"""Those of them that the tool ``wheel`` can tell the version (its variables)."""

ASSIGNED = r"^{name}\s*(?::\s*[\w\[\]., ]+)?=\s*[\"']([^\"']*)[\"']"
IN_METADATA = r"^Version: (\d\S*)"
IN_CFG = r"^version\s*=\s*(\d\S*)"
IN_SETUP = r"\bversion\s*=\s*[\"']([^\"']*)[\"']"
MODULES = ("__init__.py", "__about__.py", "_version.py", "version.py", "__version__.py", "about.py")
"""Where Python packages keep ``__version__``."""


MODULES_MAX = 3
"""More modules that repeat the version are hardly all of the package."""


def place(survey: Survey) -> Place:
    """Where the version is, and the modules that say it once more. A place that a stamp cannot write
    is said in a note."""
    found = _first_place(survey)
    stamped = {one["file"] for one in found.stamp}
    repeated: list[Inline] = []
    for file in _modules(survey) if found.said else ():
        again = by_pattern(survey, file, ASSIGNED.format(name="__version__"))
        if again and file not in stamped and again.said[0].text == found.said[0].text:
            repeated += again.stamp
    return found._replace(stamp=(*found.stamp, *repeated[:MODULES_MAX])) if found.stamp else found


def _first_place(survey: Survey) -> Place:
    project = survey.toml("pyproject.toml")
    for keys in (("project", "version"), ("tool", "poetry", "version")):
        found = words(part(project, *keys))
        by_poetry = keys[0] == "tool" and table(project, "tool", "poetry-dynamic-versioning")
        if found and not by_poetry:
            return by_key("pyproject.toml", ".".join(keys), found)
    named = _named(survey)
    if named is not None:
        return _with_own_metadata(survey, named)
    sources = survey.text("pyproject.toml") + survey.text("setup.py") + survey.text("setup.cfg")
    if FROM_GIT.search(sources):
        note = "" if TOLD.search(sources) else "The build takes its version from git's tags alone."
        # A source archive says it there, and hatchling believes that before all else.
        said = by_pattern(survey, "PKG-INFO", IN_METADATA) or Place()
        return said._replace(note=note)
    return _searched(survey)


def _named(survey: Survey) -> Place | None:
    """A place that the build system itself is told of; None where it is told of none."""
    project = survey.toml("pyproject.toml")
    tool = table(project, "tool")
    hatch = table(tool, "hatch", "version")
    path = words(hatch.get("path"))
    if path and hatch.get("source", "regex") in ("regex", "code"):
        return _in_file(survey, path, words(hatch.get("pattern")))
    for way in (("pdm", "version"), ("flit", "metadata", "version")):
        path = words(part(tool, *way, "path"))
        if path:
            return _in_file(survey, path, "")
    path = words(part(tool, "scikit-build", "metadata", "version", "input"))
    if path:
        return _in_file(survey, path, "")
    dynamic = table(tool, "setuptools", "dynamic", "version")
    attr, file = words(dynamic.get("attr")), next(iter(texts(dynamic.get("file"))), "")
    written = survey.ini("setup.cfg").get("metadata", {}).get("version", "")
    if written.startswith("attr:"):
        attr = written[5:].strip()
    if written.startswith("file:"):
        file = written[5:].split(",")[0].strip()
    if file:
        return by_pattern(survey, file, PLAIN)
    if attr:
        return _attribute(survey, attr)
    backend = words(part(project, "build-system", "build-backend"))
    if backend == "maturin":
        key = first_match(r"^version\s*=\s*\"(\d[^\"]*)\"", survey.text("Cargo.toml"))
        if key:
            return by_key("Cargo.toml", "package.version", key)
    if backend == "mesonpy":
        pattern = r"\bversion\s*:\s*'(\d[^']*)'"
        return by_pattern(survey, "meson.build", pattern)
    return None


def _attribute(survey: Survey, attr: str) -> Place | None:
    """``package.module.NAME`` of setuptools, whose sources may lie in ``src`` or elsewhere."""
    module, _, name = attr.rpartition(".")
    way = module.replace(".", "/")
    files = survey.below(f"{way}.py", f"{way}/__init__.py", f"*/{way}.py", f"*/{way}/__init__.py")
    for file in files:
        found = by_pattern(survey, file, ASSIGNED.format(name=re.escape(name)))
        if found is not None:
            return found
    return None


def _in_file(survey: Survey, path: str, pattern: str) -> Place | None:
    """A file that hatch, pdm and others are told of: ``__version__``, ``VERSION``, or their
    pattern, whose group is called ``version``."""
    ours = re.sub(r"\(\?P<version>", "(", pattern) if pattern.count("(") == 1 else ""
    usual = [ASSIGNED.format(name=name) for name in ("__version__", "VERSION", "version")]
    plain = [] if path.endswith(".py") else [PLAIN]
    return by_pattern(survey, path, *filter(None, [ours, *usual, *plain]))


def _searched(survey: Survey) -> Place:
    """The usual places, where nothing names one: setup.cfg, setup.py, ``__version__`` (flit)."""
    tries = [("setup.cfg", IN_CFG), ("setup.py", IN_SETUP)]
    names = ("__version__", "version", "VERSION")
    tries += [("setup.py", ASSIGNED.format(name=name)) for name in names]
    tries += [(path, ASSIGNED.format(name="__version__")) for path in _modules(survey)]
    for path, pattern in tries:
        found = by_pattern(survey, path, pattern)
        if found is not None:
            return _with_own_metadata(survey, found)
    return version_file(survey) or Place()


def _with_own_metadata(survey: Survey, found: Place) -> Place:
    """hatchling believes the PKG-INFO of a source archive before its own configuration."""
    if "hatchling" not in survey.text("pyproject.toml") or not survey.has("PKG-INFO"):
        return found
    metadata = by_pattern(survey, "PKG-INFO", IN_METADATA) or Place()
    return found._replace(stamp=(*found.stamp, *metadata.stamp))


def _modules(survey: Survey) -> list[str]:
    """Where packages keep ``__version__``, the outermost first, and modules of one file, as flit has
    them."""
    found = [name for one in MODULES for name in survey.below(f"*/{one}")]
    found = [name for name in found if not re.search(r"(^|/)(tests?|docs?|examples?)/", name)]
    return [*sorted(found, key=_depth), *_single(survey)]


def _depth(name: str) -> int:
    return name.count("/")


def _single(survey: Survey) -> list[str]:
    project = survey.toml("pyproject.toml")
    named = words(part(project, "tool", "flit", "module", "name"))
    name = named or words(part(project, "project", "name"))
    module = re.sub(r"[-.]+", "_", name)
    names = (f"{module}.py", f"src/{module}.py", f"{module.lower()}.py")
    return [one for one in names if module and survey.has(one)]
