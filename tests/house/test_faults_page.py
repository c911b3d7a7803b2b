"""docs/faults.md: every promise and every fault stands there, with tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
BETWEEN = "Faults between machines and stores"
PROMISES = [f"P{number}" for number in range(1, 21)]
FAULTS = {
    "A store that moved away is served or backed up",
    "The folder of a running server is gone",
    "Requests are under way at an instance, and whoever was to drain it is killed, or gets a signal on the way back",
    "A service lives in the home of one machine, and another one deploys in its place",
    "Killed while new instances have the traffic, and `env reap` comes first",
    "A machine that deploys stands still, and another one goes on",
    "The journal of who deployed is lost",
    "An environment is repaired that needs none, or a way back is advised that does",
    "Only some of the instances that served before are still kept at a rollback",
    "A deployment of components fails, is killed or cancelled at any step",
    "The turn is taken from a machine that waits",
    "A verb of a component says no, or breaks",
    "Two commands take away the same thing, or one what serves again",
    "What is to be stopped, started or taken away needs a secret that the new file lists no more",
    "The checkout of another run cannot be made whole: a full disk, a stamp that fails",
    "The turn is taken, or something else goes wrong, amid what is taken away",
    "A balancer says that it was turned, and was not",
    "Something writes into an artifact after it was made",
    "A balancer was restarted, or turned by hand",
    "What serves is not well, and only its environment can tell",
    "A host cannot be reached",
    "A tool says that it made an instance, and it is not well",
    "A tool gives what its verb does not give",
    "An environment cannot be asked what runs there",
    "Instances of a component that left the file, or is called otherwise, still get traffic",
    "A database leaves the file",
    "A deployment fails, is killed or cancelled where a component rotates itself (Compose, Helm)",
    "One component of an environment is destroyed, and the next deployment fails",
    "`apply` of a component that rotates itself ends in 0 and did nothing, or somebody changed it by hand",
    "A deployment is refused only when it counts",
    "Two versions of a worker do the same work twice",
    "A change in place would destroy something, or fails in part",
    "Broken or unknown keys",
    "Cycles",
    "A missing tool",
    "A tool that hangs",
    "A plugin made for an interface of another release",
    "Two plugins bring a tool, a reader, a sink, a scheme or a store of one name",
    "A tool that dies or lies",
    "A tool that spoils or ends what its workers come of",
    "A run that fails is kept, and a tool wrote a secret down",
    "A plugin that ends the process at once",
    "A tool that prints gigabytes or binary",
    "Malformed, huge or hostile JUnit XML",
    "Tests that bear one name, are run again, or go wrong with their suite",
    "A test that was aborted, or says what nobody knows",
    "A report that speaks against a stage whose program succeeded",
    "A served store answers what no store would",
    "More machines come at once than the store answers",
    "A reader of reports that answers nonsense",
    "A success that is none",
    "A stage of a rehearsal pushes, publishes or deploys",
    "A place that takes no rehearsal's version",
    "A run goes on and what done stages left is not there",
    "A cache that never meets its key, or is emptied by its command",
    "A module that tests need is not installed",
    "Jobs of a matrix that report one stage",
    "A part of a stage is lost, and something else reports the stage",
    "A CI server gives jobs the ids of others",
    "A job elsewhere fails after the promotion",
    "A CI server whose ids come twice, or whose jobs hold other commits",
    "Two CI servers count alike",
    "Jobs that share no home",
    "A variable or a file that names a run of another commit, or one that is over",
    "A guarded stage outside of any run",
    "`kill -9` of a `stage` command",
    "A question that hangs (git, a secret's command)",
    "Jobs that are run again",
    "A report reader that hangs or fails",
    "A report reader prints a secret, or what moves a cursor",
    "Disk full",
    "EIO at any write",
    "Journal locked by a forgotten reader",
    "Journal read-only",
    "A home folder that cannot be written, or is a file",
    "A long history",
    "Journal damaged",
    "Journal deleted or moved",
    "Two runs of one deliverable at once",
    "Clock set back and forward",
    "SIGINT, SIGTERM, SIGHUP",
    "kill -9",
    "What a tool made is not known where it is needed",
    "A log is another machine's, or a peer's word for one is a path out of the folder of logs",
    "Two machines deploy into one place at once",
    "A publication stops half way",
    "A target holds other bytes, or a tag is elsewhere",
    "A target is away, read-only, or hangs up after taking the bytes; a token has expired",
    "A put goes well and what was put is not there; a message of a command is like its answer",
    "A target answers with a page of somebody before it, half an answer, one without end, or of another project",
    "A release is seen before its files are there",
    "What was published is gone",
    "A repository names another target",
    "A CI runner goes with the bytes that others are to deploy",
    "The bytes of a version are neither here nor at the store",
    "Somebody says where bytes of another deliverable are",
    "A build of a CI server is cut off",
    "A CI runner is killed and lost with its home",
    "A receiver of logs, figures or events is away, slow, silent or cut off",
    "A job ends, its home goes, and the log server was down all the while",
    "A log is cut off, grows or goes, an event is odd, a disk is full or a clock goes back while sinks are delivered to",
    "A secret got into a log",
    "A receiver repeats the credential it was given",
    "A sink raises, hangs, dies or lies",
    "An environment was made with a secret",
    "A plain command leaves something behind in an environment",
    "Somebody takes an environment down, or says what became of it, while another machine deploys there",
    "A tool without `destroy` made something, or the preview failed before anything was made",
    "An environment is destroyed in part",
    "A run of a machine that told nobody what it made is given up elsewhere",
    "What a stage began hides",
    "A deployment fails, is cancelled or cut off",
    "One service of an environment is new and another old",
    "A deployment is killed and goes on by itself",
    "The terminal or the reader of a pipe goes away",
    "A plugin prints",
    "cxlocal is called inside a stage",
    "Power cut at any system call of a spend",
    "A registry overwrites a tag, or gives back other bytes",
    "A balancer is killed, its machine restarts, or its folder is lost",
    "Somebody starts a balancer by hand, or another process has its port",
    "What serves is killed by hand, and nobody deploys",
    "A balancer restarts, or a machine with an older turn turns it",
    "A container is half made, or holds a secret",
    "A migration fails, waits for a lock, is applied twice at once, or was changed",
    "One of several hosts is away, or does not come up",
    "A plugin that raises, hangs or registers nonsense",
    "A gate that cannot be loaded, is hidden or was left out",
    "A gate that refuses a deployment or a rollback",
    "Single commands or a program deploy past a gate",
    "Bundles that are torn, changed or hostile",
    "The store is away and the machine goes",
    "A reserve, a grant or another table of this machine alone is edited",
    "Rows that a newer cxlocal made, or that say so",
    "A journal or a store is rewritten, every hash with it",
    "An event says what cannot be so",
    "A store that answers and cannot serve us, or hands out what it may not",
    "A plan that another machine recorded is not what its commit says",
    "History says that a tool made something with other options than the commit names",
    "Another machine says a run again: from another commit, with another plan, other bytes or names of its artifacts",
    "A run of another machine is one of a commit that nobody pushed",
    "Another machine says where an environment answers",
    "Somebody writes events under the id of this machine",
    "A handle of history names a folder or a path",
    "A value would be read by a shell",
    "A stage was carried out at another commit than its run's",
    "The store is away and a CI job needs a number",
    "One deliverable moves to another store, and is killed on the way",
    "Projects of several stores share a home",
    "Two commands agree at once",
    "Moving to another store is cut off",
    "Killed during an import",
    "A copy or a backup meets a receipt",
    "A working tree that is not the commit, and git says it is",
    "A person's or the system's git changes bytes",
    "A repository from an archive names programs in its `.git`",
    "A remote with a relative or a rewritten address",
    "A submodule that is not here",
    "`cx.toml` is a link",
    "A link in the checkout leads out of it",
    "A stamp that would damage its file",
    "A clone without tags, and tags of neighbours",
    "Non-UTF-8 paths and output",
    "A deliverable name with awkward characters",
    "A newer and an older cxlocal on one journal",
    "A file is put back where it lay",
    "A store that is not where it should be",
    "A checkout names a store, a token, secrets or a home",
    "A store is somewhere else, or another store is where it was",
    "The database server of the store is lost",
    "The database of the store is restored, copied or loaded from a dump",
    "A store is restored twice from one backup",
    "A member may not push or take a deliverable",
    "An agreed address sends the client elsewhere",
    "A variable, certificate or proxy keeps a contact from being set up",
    "The source of the store's token gives none",
    "A pooler stands before PostgreSQL",
    "A proxy refuses large bodies",
    "Line ends of a bundle are changed on the way",
    "A Datasette plugin of others raises",
    "A part of a page takes too long, or the question of a person",
    "A Datasette of one's own is told to close the journal, its views or the server",
    "Another user of the machine asks for the pages",
    "A member asks the pages of a store for what it may not read",
    "Readers of a store's pages ask without end, or their server hangs",
    "The store is put back while its pages are shown",
    "What others wrote is an attack on a page",
    "The last lines of a failed stage hold what should not be there",
    "A secret is printed in an encoded form",
    "A stage or a wrapped command prints the token or password that `CXLOCAL_STORE…` or `CXLOCAL_LENDER…` holds",
    "`deploy`, `promote`, `publish`, `rollback` or `env repair` on a machine that does not know yet what others did",
    "The address of the store holds a password, and stages run",
    "The last line of a program looks like the beginning of a secret",
    "A placeholder stands for what nobody says, or for a variable that is not set",
    "A secret stands in the name of an artifact",
    "An address of a store that cannot be used holds a password",
    "The home was made by somebody else, or with another umask",
    "The token of a CI job is stolen",
    "A machine recorded while its member was revoked",
    "A server begins with a certificate that no machine would take",
    "The last that may invite is revoked",
    "The libraries of a shipped plugin are not installed",
    "A query would fill the memory",
    "Machines are in contact with a folder again and again",
}


def rows(section: str) -> dict[str, tuple[str, list[str]]]:
    """The table of a section: its bold words, with what the tool does and the tests named."""
    text = PAGE.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = {}
    for line in text.splitlines():
        if line.startswith("| **"):
            subject, deed, shown = (cell.strip() for cell in line.strip("|").split(" | "))
            named = re.match(r"\*\*(.+?)\*\*", subject)
            assert named is not None and named[1] not in found, line
            found[named[1]] = (deed, re.findall(r"`([^`]+)`", shown))
    return found


@cache
def defined(path: Path) -> set[str]:
    """Names a test file gives to tests: functions, classes and their functions, and classes made by assignment."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            inner = node.body if isinstance(node, ast.ClassDef) else []
            names |= {
                f"{node.name}::{one.name}" for one in inner if isinstance(one, ast.FunctionDef)
            }
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if name.lower().startswith("test")}


def test_each_named_test_exists() -> None:
    wrong = []
    for section in ("Promises", "Faults", BETWEEN):
        for subject, (_, tests) in rows(section).items():
            for test in tests:
                file, _, name = test.partition("::")
                if not (ROOT / file).is_file() or name not in defined(ROOT / file):
                    wrong.append(f"{subject}: {test}")
    assert wrong == []


def test_every_promise_has_a_test_or_is_said_not_to_be_built() -> None:
    found = rows("Promises")
    assert [name for name, (deed, tests) in found.items() if not deed or not tests] == []
    text = PAGE.read_text(encoding="utf-8")
    waiting = re.findall(r"^\*\*(P\d+)\*\* [^|]*?not built yet", text, re.MULTILINE)
    assert sorted([*found, *waiting]) == sorted(PROMISES)


def test_every_fault_has_a_test() -> None:
    found = rows("Faults")
    assert set(found) == FAULTS
    assert [name for name, (deed, tests) in found.items() if not deed or not tests] == []


def test_every_fault_between_machines_has_a_test() -> None:
    found = rows(BETWEEN)
    assert list(found) == [f"F{number}" for number in range(1, 46)]
    assert [name for name, (deed, tests) in found.items() if not deed or not tests] == []


# the table of docs/environments.md: which test tells of each step of a deployment and each fault

STEPS_PAGE = ROOT / "docs" / "environments.md"
COLUMNS = ("failure", "error", "kill -9", "signal", "another machine goes on")


def cells(line: str) -> list[str]:
    return [one.strip() for one in line.strip("|\n").split("|")]


def tables() -> tuple[dict[str, list[str]], dict[str, str]]:
    """The letters of each step, and the test that each letter stands for."""
    text = STEPS_PAGE.read_text(encoding="utf-8")
    head = f"| step | {' | '.join(COLUMNS)} |"
    assert text.count(head) == 1
    lines = text[text.index(head) :].splitlines()
    first = lines.index("| | test |")
    steps = {cells(line)[0]: cells(line)[1:] for line in lines[2 : first - 1]}
    legend = {}
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        letter, test = cells(line)
        legend[letter] = test.strip("`")
    return steps, legend


def test_each_cell_has_a_test_and_each_test_a_cell() -> None:
    steps, legend = tables()
    assert len(steps) == 12
    empty = [
        (step, COLUMNS[n]) for step, row in steps.items() for n, one in enumerate(row) if not one
    ]
    assert empty == [] and {len(row) for row in steps.values()} == {len(COLUMNS)}
    used = {letter for row in steps.values() for one in row for letter in one.split()}
    assert used == set(legend)


def test_each_of_these_tests_exists() -> None:
    for letter, test in tables()[1].items():
        file, _, name = test.partition("::")
        assert name in defined(ROOT / file), (letter, test)


@pytest.mark.parametrize("large", ["W", "S"])
def test_what_needs_all_is_said_of_the_large_ones(large: str) -> None:
    file = ROOT / tables()[1][large].partition("::")[0]
    assert "pytest.mark.heavy" in file.read_text(encoding="utf-8")


def test_what_the_search_visits_is_what_the_table_says_of_it() -> None:
    """It has every step of its own, with every fault, and no other ones."""
    source = (ROOT / "tests/components/test_component_faults.py").read_text(encoding="utf-8")
    found = re.search(r"^STEPS = \{(.*?)^\}", source, re.MULTILINE | re.DOTALL)
    assert found is not None
    visited = set(re.findall(r'^    "([^"]+)":', found[1], re.MULTILINE))
    steps, legend = tables()
    [letter] = [one for one, test in legend.items() if "test_every_step_every_fault" in test]
    whole = {step for step, row in steps.items() if all(letter in one.split() for one in row)}
    brought = {"the bytes are brought"}  # they are there, or are not: no tool can say no
    assert whole == visited - brought and visited <= set(steps)
