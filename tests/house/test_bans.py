"""Calls that are allowed in one place only, so that one place can be looked at and tested."""

from __future__ import annotations

import ast
import re
from typing import Any

import pytest

CLOCKS = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "datetime.datetime.now",
    "datetime.datetime.utcnow", "datetime.date.today",
}  # fmt: skip
PROCESS_CALLS = {
    "os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp",
    "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.execl", "os.spawnv", "pty.fork",
    "pty.spawn",
}  # fmt: skip
PROCESS_CALLS |= {
    f"subprocess.{name}"
    for name in (
        "Popen",
        "run",
        "call",
        "check_call",
        "check_output",
        "getoutput",
        "getstatusoutput",
    )
}
# `subprocess` itself may be imported for its types and exceptions.
PROCESS_MODULES = ("multiprocessing", "pty", "concurrent")
SENT = "cxlocal_plugins.haproxy_agent"
"""A program that runs on other hosts as it stands: nothing of ours is there."""
BECOMES = "cxlocal_plugins.local_service.launch"
"""A program of its own that turns into a service; what plugins can import does not."""
CHANCE_MODULES = ("random", "secrets", "uuid")


def _below(name: str, *prefixes: str) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _calls(sources: list[Any], names: set[str], *allowed: str) -> list[str]:
    return [
        f"{source.path}:{node.lineno}: {name}"
        for source in sources
        if not _below(source.name, *allowed)
        for name, node in source.calls()
        if name in names
    ]


def _imports(sources: list[Any], modules: tuple[str, ...], *allowed: str) -> list[str]:
    return [
        f"{source.path}:{line}: {target}"
        for source in sources
        if not _below(source.name, *allowed)
        for target, line in source.imported()
        if _below(target, *modules)
    ]


def test_one_module_reads_the_clock(sources: list[Any]) -> None:
    assert _calls(sources, CLOCKS, "cxlocal.clock", SENT) == []


def test_one_module_draws_random_bytes(sources: list[Any]) -> None:
    assert _calls(sources, {"os.urandom", "os.getrandom"}, "cxlocal.clock") == []
    assert _imports(sources, CHANCE_MODULES, "cxlocal.clock") == []


def test_commands_write_data_in_one_way(sources: list[Any]) -> None:
    """``output.put`` and its like: what else goes to standard output is a plugin's, or help."""
    shown = ("cxlocal.commands.root", "cxlocal.commands.main")
    commands = [one for one in sources if _below(one.name, "cxlocal.commands", "cxlocal.runner")]
    wrong = [
        f"{source.path}:{node.lineno}: {name}"
        for source in commands
        if source.name not in shown
        for name, node in source.calls()
        if name in ("click.echo", "print", "sys.stdout.write")
        and not any(word.arg in ("err", "file") for word in node.keywords)
    ]
    assert wrong == []
    stdout = [
        f"{source.path}:{node.lineno}"
        for source in commands
        if source.name != "cxlocal.commands.main"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout"
    ]
    assert stdout == []


def test_one_package_starts_processes(sources: list[Any]) -> None:
    assert _imports(sources, PROCESS_MODULES, "cxlocal.processes") == []
    assert _calls(sources, PROCESS_CALLS, "cxlocal.processes", BECOMES) == []
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.module == "subprocess"
    ]
    assert wrong == []


def test_one_module_renames(sources: list[Any]) -> None:
    """Written, brought to the disk, renamed: once, so that nobody forgets one of the three."""
    named = {"os.rename", "os.replace", "os.renames", "shutil.move"}
    assert _calls(sources, named, "cxlocal.files", SENT) == []
    # ``Path.rename`` and ``Path.replace`` take one path; ``str.replace`` and ``tree.rename`` more.
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        if source.name != "cxlocal.files"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("rename", "replace")
        and len(node.args) == 1
        and not node.keywords
    ]
    assert wrong == []


def test_one_function_opens_stores(sources: list[Any]) -> None:
    """What plugins registered is asked for by the manager of plugins, and used in one module."""
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if (
            isinstance(node, ast.Constant)
            and node.value == "cxlocal_register_stores"
            and not _below(source.name, "cxlocal.hooks")
        )
        or (
            isinstance(node, ast.Attribute)
            and node.attr == "stores"
            and isinstance(node.value, ast.Name)
            and source.name != "cxlocal.exchange.open"
        )
    ]
    assert wrong == []


def test_only_commands_print(sources: list[Any]) -> None:
    assert _calls(sources, {"print", "input", "breakpoint"}, "cxlocal.commands", SENT) == []


def test_only_main_ends_the_process(sources: list[Any]) -> None:
    # A child between fork and exec, and the workers of tools and sinks, have no main to return to.
    allowed = (
        "cxlocal.commands.main", "cxlocal.processes", "cxlocal.hooks.worker", "cxlocal.sinks.worker",
        SENT,
    )  # fmt: skip
    assert _calls(sources, {"sys.exit", "os._exit", "exit", "quit"}, *allowed) == []


def test_nothing_is_run_from_text_or_pickles(sources: list[Any]) -> None:
    calls = {"eval", "exec", "pickle.loads", "pickle.load", "marshal.loads"}
    # A plugin of a project is run from exactly the bytes whose digest was trusted.
    assert _calls(sources, calls, "cxlocal.hooks.load") == []
    assert _imports(sources, ("pickle", "marshal", "shelve")) == []


def test_named_tuples_and_protocols_are_the_cheap_ones(sources: list[Any]) -> None:
    """Those of ``typing`` cost a start of ``run`` a seventh of its time."""
    named = {("typing", "NamedTuple"), ("typing", "Protocol"), ("collections", "namedtuple")}
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        if source.name != "cxlocal.values"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom)
        and named & {(node.module, alias.name) for alias in node.names}
    ]
    assert wrong == []


def test_patterns_are_compiled_when_they_are_used(sources: list[Any]) -> None:
    """Compiling all that a run defines takes as long as reading twenty of its modules."""
    wrong = [
        f"{source.path}:{node.lineno}"
        for source in sources
        if _below(source.name, "cxlocal", "cxlocal_sync") and source.name != "cxlocal.patterns"
        for outer in ast.walk(source.tree)
        if isinstance(outer, ast.Module | ast.ClassDef)
        for statement in outer.body
        if isinstance(statement, ast.Assign | ast.AnnAssign)
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "re.compile"
    ]
    assert wrong == []


def test_no_loose_ends(sources: list[Any]) -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")
    wrong = [
        f"{source.path}:{number}: {line.strip()}"
        for source in sources
        for number, line in enumerate(source.text.splitlines(), 1)
        if words.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_reference_to_a_page_that_is_not_there(sources: list[Any], root: Any) -> None:
    """What binds stands in ``docs/``: a page that a comment names can be read."""
    named = re.compile(r"\b(?:docs|sync|tests)/[\w./-]+\.(?:md|py)\b|\bDESIGN\b")
    wrong = [
        f"{source.path}: {name}"
        for source in sources
        if not source.name.startswith("cxlocal.demo")  # it writes a project with files of its own
        for name in named.findall(source.text)
        if not (root / name).is_file()
    ]
    assert not wrong, "\n".join(wrong)


def test_no_test_is_skipped(root: Any) -> None:
    """A test that needs a program says so with the mark ``needs``; ``tests/run`` installs it."""
    words = re.compile(r"\b(pytest\.(skip|importorskip|mark\.skip\w*)|unittest\.skip\w*)\b")
    wrong = [
        f"{path}:{number}"
        for path in sorted((root / "tests").rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line) and path.name != "test_bans.py"
    ]
    assert not wrong, "\n".join(wrong)


def test_no_error_is_swallowed(sources: list[Any]) -> None:
    """``except …: pass`` needs a comment that says why."""
    wrong = []
    for source in sources:
        lines = source.text.splitlines()
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.ExceptHandler) or len(node.body) != 1:
                continue
            said = "".join(lines[node.lineno - 1 : node.body[0].end_lineno])
            if isinstance(node.body[0], ast.Pass) and "#" not in said:
                wrong.append(f"{source.path}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


SQL_START = re.compile(
    r"\s*(select\s|insert\s+(or\s+\w+\s+)?into\s|update\s.*\sset\s|delete\s+from\s|drop\s+\w+\s"
    r"|create\s+(table|view|index|unique|trigger|temp)|alter\s+table\s|pragma\s|attach\s|with\s.*\sas\s*\()",
    re.IGNORECASE | re.DOTALL,
)
EXECUTORS = {"execute", "executemany", "executescript", "query", "one"}
# Said beside SQL that is put together: what the varying part is, and why it is not a value.
REASON = re.compile(r"#\s*sql:\s*\S", re.IGNORECASE)


CONSTANT_NAME = re.compile(r"_?[A-Z][A-Z0-9_]*")


def _is_constant(node: ast.expr) -> bool:
    """Nothing in it varies: literals, and names of constants of the module."""
    return all(
        CONSTANT_NAME.fullmatch(inner.id) is not None
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name)
    )


def _put_together(node: ast.expr) -> bool:
    """An f-string, ``%`` or ``+`` with something that is not constant, or ``.format``."""
    if isinstance(node, ast.JoinedStr):
        return not all(map(_is_constant, node.values))
    if isinstance(node, ast.BinOp):
        return not (_is_constant(node.left) and _is_constant(node.right))
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "join")
        and isinstance(node.func.value, ast.Constant)
        and not _is_constant(node)
    )


def _begins_as_sql(node: ast.JoinedStr) -> bool:
    first = node.values[0] if node.values else None
    return (
        isinstance(first, ast.Constant)
        and isinstance(first.value, str)
        and SQL_START.match(first.value) is not None
    )


def _put_together_sql(tree: ast.Module) -> set[int]:
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and _put_together(node) and _begins_as_sql(node):
            lines.add(node.lineno)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in EXECUTORS
            and node.args
            and _put_together(node.args[0])
        ):
            lines.add(node.args[0].lineno)
    return lines


def _has_reason(text: list[str], line: int) -> bool:
    """A ``# sql:`` comment on the line, or in the five lines above it."""
    return any(REASON.search(above) for above in text[max(0, line - 6) : line])


def test_sql_is_not_put_together_from_values(sources: list[Any]) -> None:
    wrong = []
    for source in sources:
        text = source.text.splitlines()
        wrong += [
            f"{source.path}:{line}: {text[line - 1].strip()}"
            for line in sorted(_put_together_sql(source.tree))
            if not _has_reason(text, line)
        ]
    assert not wrong, "say why with '# sql: …' or use parameters:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("c.execute(f'select * from {t}')", True),
        ("x = f'delete from {t}'", True),
        ("c.execute(f'select {COLUMNS} from t')", False),
        ("c.execute('select ' + name)", True),
        ("c.execute(f'insert into t values ({marks})')", True),
        ('c.execute(f\'insert into t values ({", ".join("?" * 3)})\')', False),
        ("c.execute('select %s' % name)", True),
        ("c.execute('select ?', (f'{a}',))", False),
        ("c.execute('select 1 ' 'from t')", False),
        ("say(f'select one of {names}')", True),
        ("say(f'{count} selected')", False),
    ],
)
def test_the_sql_rule_sees(code: str, found: bool) -> None:
    assert bool(_put_together_sql(ast.parse(code))) is found
