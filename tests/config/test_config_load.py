"""Reading cx.toml: what is accepted, and the words for everything that is not."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pytest

from cxlocal.config.load import SIZE_MAX_BYTES, parse, parse_local, read
from cxlocal.config.types import Config
from cxlocal.domain import path_part
from cxlocal.errors import ConfigError

EXAMPLE = """\
cx = 1

[deliverable]
name = "webshop"
title = "Web shop"
owner = "team-shop@example.com"
paths = ["services/shop", "libs/common"]

[version]
scheme = "semver"
line = "2.7"
from = 0
reserve = 3
ahead = 100
when_empty = "stop"
stamp = [{ file = "package.json", key = "version" }]

[scm]
remotes = ["origin", "backup"]

[store]
url = "https://cx.example.com"
token = { env = "CX_TOKEN" }
patience = "60s"

[defaults]
timeout = "15m"

[stages]
build  = { tool = "wheel", produces = ["wheel"] }
unit   = { tool = "pytest", needs = ["build"], with = { args = ["-q"] }, reports = { junit = "junit.xml" } }
up     = { kind = "deploy", needs = ["build"], environment = "test", tool = "local-service", with = { module = "webshop" } }
smoke  = { command = ["pytest", "-q", "tests/smoke", "--junitxml=smoke.xml"], needs = ["up", "unit"], environment = "test", reports = { junit = "smoke.xml" }, retries = 1 }
live   = { kind = "deploy", environment = "production", requires = "PASSED_TEST", tool = "local-service", with = { module = "webshop" }, secrets = ["DEPLOY_TOKEN"] }

[promotions]
PASSED_TEST = { title = "Tested", after = ["unit", "smoke"] }

[environments.test]
lifetime = "per-run"
[environments.production]
title = "Live"
lifetime = "lasting"

[secrets]
DEPLOY_TOKEN = { env = "DEPLOY_TOKEN" }

[keep]
logs = "90d"
artifacts = 5
"""

HEAD = 'cx = 1\n[deliverable]\nname = "shop"\n'
STAGES = HEAD + "[stages]\n"


def refused(text: str | bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert caught.value.exit_code == 2
    return caught.value


def test_the_example_is_accepted() -> None:
    config = parse(EXAMPLE)
    assert config.deliverable.paths == ["services/shop", "libs/common"]
    assert config.stages["smoke"].command == ["pytest", "-q", "tests/smoke", "--junitxml=smoke.xml"]
    assert config.stages["unit"].options == {"args": ["-q"]}
    assert config.stages["live"].requires == "PASSED_TEST"
    assert config.promotions["PASSED_TEST"].after == ["unit", "smoke"]
    assert config.environments["test"].lifetime == "per-run"
    assert config.version.stamp[0].key == "version"
    assert list(config.stages) == ["build", "unit", "up", "smoke", "live"]


def test_the_smallest_file() -> None:
    config = parse(HEAD)
    assert config == Config(cx=1, deliverable=config.deliverable)
    assert (config.version.reserve, config.version.ahead) == (None, 100)
    assert config.defaults.timeout == "1h"


def test_a_byte_order_mark_is_no_trouble() -> None:
    assert parse(b"\xef\xbb\xbf" + HEAD.encode()).deliverable.name == "shop"


BAD = [
    # text, what, hint
    ("", "cx.toml: the key 'cx' is missing", "add cx = 1 as the first line"),
    ("cx = 2", "cx.toml: cx must be 1, not 2", "use a newer cxlocal"),
    ("cx = true", "cx.toml: cx must be 1, not True", "write cx = 1"),
    ("cx = '1'", "cx.toml: cx must be 1, not '1'", "write cx = 1"),
    (
        "cx = 1",
        "cx.toml: the table [deliverable] is missing",
        'add [deliverable] with name = "…"; cxlocal init writes a whole file',
    ),
    (
        "cx = 1\n[deliverable]\ntitle = 'x'",
        "cx.toml, [deliverable]: the key 'name' is missing",
        "add name = …",
    ),
    (
        "cx = 1\ndeliverable = 'shop'",
        "cx.toml, [deliverable]: this must be a table, not 'shop'",
        "",
    ),
    (
        HEAD + "[stage]\n",
        "cx.toml: there is no key 'stage'",
        "did you mean 'stages'?",
    ),
    (
        HEAD + "[version]\nwhen_emtpy = 'stop'",
        "cx.toml, [version]: there is no key 'when_emtpy'",
        "did you mean 'when_empty'?",
    ),
    (
        HEAD + "[version]\nwhen_empty = 'suffx'",
        "cx.toml, [version]: when_empty cannot be the text 'suffx'",
        "did you mean 'suffix'?",
    ),
    (
        HEAD + "[version]\nreserve = -1",
        "cx.toml, [version]: reserve must be at least 0, not -1",
        "",
    ),
    (
        HEAD + "[version]\nstamp = [{ file = 'a', kee = 'b' }]",
        "cx.toml, [version]: stamp[1] has no key 'kee'",
        "did you mean 'key'?",
    ),
    (
        HEAD + "[version]\nstamp = [{ file = 'a' }]",
        "cx.toml, [version]: stamp of 'a' needs either key or pattern",
        'write key = "version" for JSON and TOML, else pattern = \'version: "(.*)"\'',
    ),
    (
        HEAD + "[version]\nstamp = [{ file = 'a', pattern = 'v' }]",
        "cx.toml, [version]: stamp: 'v' has 0 groups",
        "use (?: ) for further groups",
    ),
    (
        HEAD + "[version]\nstamp = [{ file = 'a', pattern = '(' }]",
        "cx.toml, [version]: stamp: '(' is not a regular expression",
        "",
    ),
    (
        HEAD + "[version]\nstamp = [{ file = '../a', key = 'v' }]",
        "cx.toml, [version]: stamp: '../a' is not a path in the checkout",
        "write a path such as 'dist/app.tar.gz'",
    ),
    (
        HEAD + "[scm]\nremotes = ['https://example.com/a.git']",
        "cx.toml, [scm]: remotes: 'https://example.com/a.git' is not the name of a git remote",
        "git remote add NAME URL, then use NAME here",
    ),
    (
        HEAD + "[scm]\nremotes = 'origin'",
        "cx.toml, [scm]: remotes must be a list, not the text 'origin'",
        "",
    ),
    (
        HEAD + "[store]\npatience = '60 sec'",
        "cx.toml, [store]: patience must be a duration, not the text '60 sec'",
        "write it like '90s', '15m', '1h 30m' or '90d'",
    ),
    (
        HEAD + "[store]\ntoken = { env = 'T' }",
        "cx.toml, [store]: token is given, but no address that asks for it",
        "take token out, or give the address beside it",
    ),
    (
        STAGES + 'unit = "pytest"',
        "cx.toml, stage \"unit\": this must be a table, not 'pytest'",
        "",
    ),
    (
        STAGES + "unit = { }",
        'cx.toml, stage "unit": there is nothing to run',
        'add command = "…" or tool = "…"',
    ),
    (
        STAGES + "unit = { command = 'x', tool = 'y' }",
        'cx.toml, stage "unit": command and tool exclude each other',
        "keep one of them",
    ),
    (
        STAGES + "unit = { command = '' }",
        'cx.toml, stage "unit": command is empty',
        "",
    ),
    (
        STAGES + "unit = { command = ['a', 3] }",
        'cx.toml, stage "unit": command[2] must be text, not 3',
        "",
    ),
    (
        STAGES + "unit = { command = 'x', retries = '3' }",
        "cx.toml, stage \"unit\": retries must be a whole number, not the text '3'",
        "",
    ),
    (
        STAGES + "unit = { command = 'x', retries = 11 }",
        'cx.toml, stage "unit": retries must be at most 10, not 11',
        "",
    ),
    (
        STAGES + "unit = { command = 'x', isolated = 1 }",
        'cx.toml, stage "unit": isolated must be true or false, not 1',
        "",
    ),
    (
        STAGES + "unit = { command = 'x', timeout = 900 }",
        'cx.toml, stage "unit": timeout must be text, not 900',
        "write it like '90s', '15m', '1h 30m' or '90d'",
    ),
    (
        STAGES + "unit = { command = 'x', kind = 'bild' }",
        "cx.toml, stage \"unit\": kind cannot be the text 'bild'",
        "did you mean 'build'?",
    ),
    (
        STAGES + "unit = { tool = 'x', kind = 'task' }",
        'cx.toml, stage "unit": kind = "task" is for commands',
        "take kind out: the tool knows what it does",
    ),
    (
        STAGES + "unit = { command = 'x', kind = 'deploy' }",
        'cx.toml, stage "unit": a deploy needs an environment',
        'add environment = "…"',
    ),
    (
        STAGES + "unit = { command = 'x', with = { a = 1 } }",
        "cx.toml, stage \"unit\": 'with' needs a tool",
        "add tool = \"…\", or take 'with' out",
    ),
    (
        STAGES + "unit = { tool = 'x', with = { a = [2026-11-23] } }",
        'cx.toml, stage "unit": with.a cannot be kept',
        "",
    ),
    (
        STAGES + "unit = { tool = 'x', with = { a = { b = nan } } }",
        'cx.toml, stage "unit": with.a cannot be kept',
        "",
    ),
    (
        STAGES + "unit = { command = 'x', produces = ['a', 'b'] }",
        'cx.toml, stage "unit": produces must say where the artifacts are',
        'write produces = { a = "dist/…" }',
    ),
    (
        STAGES + "unit = { tool = 'x', produces = { a = 'b' } }",
        'cx.toml, stage "unit": produces must be a list of names',
        "write produces = ['a']",
    ),
    (
        STAGES + "unit = { command = 'x', produces = { a = '/etc/passwd' } }",
        "cx.toml, stage \"unit\": produces: '/etc/passwd' is not a path in the checkout",
        "write a path such as 'dist/app.tar.gz'",
    ),
    (
        STAGES + "unit = { command = 'x', produces = { a = '.git/config' } }",
        "cx.toml, stage \"unit\": produces: '.git/config' is not a path in the checkout",
        "write a path such as 'dist/app.tar.gz'",
    ),
    (
        STAGES + "unit = { command = 'x', reports = { junit = 3 } }",
        'cx.toml, stage "unit": reports must be text or a list',
        "",
    ),
    (
        STAGES + "unit = { command = 'x', caches = [{ path = 'a' }] }",
        "cx.toml, stage \"unit\": the key 'caches[1].key_files' is missing",
        "add caches[1].key_files = …",
    ),
    (
        STAGES + "unit = { command = 'x', pass_env = ['A B'] }",
        "cx.toml, stage \"unit\": pass_env: 'A B' is not the name of a variable",
        "write names, or a group such as 'LC_*'",
    ),
    (
        STAGES + "unit = { command = 'x', pass_env = ['CXLOCAL_VERSION'] }",
        'cx.toml, stage "unit": CXLOCAL_VERSION is set by cxlocal itself',
        "choose another name",
    ),
    (
        STAGES + "'a/b' = { command = 'x' }",
        "cx.toml, [stages]: 'a/b' cannot name a stage",
        "give it a plain name; `title` takes any text",
    ),
    (
        STAGES + "unit = { command = 'x' }\nUnit = { command = 'x' }",
        "cx.toml, [stages]: stages 'unit' and 'Unit' differ only in case",
        "rename one of them",
    ),
    (
        HEAD + "[environments]\n'' = {}",
        "cx.toml, [environments]: '' cannot name an environment",
        "give it a plain name; `title` takes any text",
    ),
    (
        HEAD + "[environments.test]\nlifetime = 'per-run'\nprotected = true",
        'cx.toml, environment "test": a per-run environment cannot be protected',
        "take protected out",
    ),
    (
        HEAD + "[environments.test]\ntool = 'x'",
        'cx.toml, environment "test": a lasting environment takes no tool',
        'write lifetime = "per-run", or give the tool to a deploy stage',
    ),
    (
        HEAD + "[secrets]\nTOKEN = 'abc'",
        "cx.toml, secret \"TOKEN\": this must be a table, not 'abc'",
        "",
    ),
    (
        HEAD + "[secrets]\nTOKEN = { env = 'A', file = 'b' }",
        'cx.toml, secret "TOKEN": a secret has one source, not env and file',
        'write { env = "NAME" }, { cmd = ["…"] }, { file = "…" } or { keyring = "…" }',
    ),
    (
        HEAD + "[secrets]\nTOKEN = {}",
        'cx.toml, secret "TOKEN": a secret has one source, not none',
        'write { env = "NAME" }, { cmd = ["…"] }, { file = "…" } or { keyring = "…" }',
    ),
    (
        HEAD + "[store]\nurl = 'https://s'\ntoken = { cmd = ['pass', 'x'] }",
        "cx.toml, [store]: token must be a variable in this file",
        'write token = { env = "NAME" }, or both keys into cx.local.toml',
    ),
    (
        HEAD + "[store]\nlender_token = { env = 'T' }",
        "cx.toml, [store]: lender_token is given, but no address that asks for it",
        "take lender_token out, or give the address beside it",
    ),
    (
        HEAD + "[store]\nlender = 'https://s'\nlender_token = { file = 'x' }",
        "cx.toml, [store]: lender_token must be a variable in this file",
        'write lender_token = { env = "NAME" }, or both keys into cx.local.toml',
    ),
    (
        HEAD + "[secrets]\n'MY-TOKEN' = { env = 'A' }",
        "cx.toml, [secrets]: 'MY-TOKEN' cannot name a secret",
        "use a name such as DEPLOY_TOKEN",
    ),
    (
        'cx = 1\n[deliverable]\nname = " "',
        "cx.toml, [deliverable]: ' ' cannot name a deliverable: it is empty",
        "choose a name a person can read, such as 'webshop'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what", "hint"), BAD, ids=[one[1] for one in BAD])
def test_what_is_wrong_is_said(text: str, what: str, hint: str) -> None:
    error = refused(text)
    assert (error.what, error.hint) == (what, hint)
    assert error.data["file"] == "cx.toml"


@pytest.mark.parametrize(
    "name",
    ["service", "passfile", "sslkey", "sslcert", "sslpassword", "options", "%6Fptions",
     "gssdelegation", "krbsrvname", "oauth_issuer", "sslkeylogfile", "SERVICE"],
)  # fmt: skip
def test_a_database_of_cx_toml_reads_nothing_of_this_machine(name: str) -> None:
    url = f"postgresql://db.example.org/cx?sslmode=require&{name}=x"
    error = refused(f"{HEAD}[store]\nurl = '{url}'")
    assert "cannot stand in this file" in error.what
    assert parse_local(f"[store]\nurl = '{url}'").store.url == url


SYNTAX = [
    ("cx = 1\nname = x", "line 2, column 8", "Invalid value: name = x", "put quotes around text"),
    ("cx = 1\na = True", "line 2, column 5", "Invalid value: a = True", "write true or false"),
    ("cx = 1\ncx = 2\n", "line 2, column 7", "Cannot overwrite a value: cx = 2", None),
    ("[a\n", "line 1, column 3", "Expected ']' at the end of a table declaration: [a", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "why", "hint"), SYNTAX, ids=[one[1] for one in SYNTAX])
def test_broken_toml_is_shown_with_its_line(
    text: str, place: str, why: str, hint: str | None
) -> None:
    error = refused(text)
    assert error.what == f"cx.toml: {place} is not valid TOML"
    assert error.why == why
    assert error.hint == (hint or "see https://toml.io/en/v1.0.0")


def test_a_file_that_breaks_off() -> None:
    assert refused('cx = 1\nname = """abc').what == "cx.toml: the end of the file is not valid TOML"


LATER = [
    ("gates = []", "cx.toml: the key 'gates' belongs to a later version of cxlocal"),
    ("[approvals]", "cx.toml: the key 'approvals' belongs to a later version of cxlocal"),
    ("[[freezes]]", "cx.toml: the key 'freezes' belongs to a later version of cxlocal"),
    ("[emergency]", "cx.toml: the key 'emergency' belongs to a later version of cxlocal"),
    (
        "[store]\nca = 'x'",
        "cx.toml, [store]: the key 'ca' belongs to a later version of cxlocal",
    ),
    (
        "[plugins]\nlocal = true",
        "cx.toml, [plugins]: the key 'local' belongs to a later version of cxlocal",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "what"), LATER, ids=[one[0] for one in LATER])
def test_keys_of_a_later_version_are_refused_by_name(text: str, what: str) -> None:
    lines = ["cx = 1", text] if "=" in text.partition("\n")[0] else ["cx = 1"]
    whole = "\n".join([*lines, '[deliverable]\nname = "shop"'])
    if len(lines) == 1:
        whole += "\n" + text
    error = refused(whole)
    assert (error.what, error.name) == (what, "later-key")
    assert "a key that is accepted must be obeyed" in error.why


def test_text_that_is_not_utf8() -> None:
    error = refused(HEAD.encode() + b'title = "caf\xe9"')
    assert error.what == "cx.toml: line 4 is not UTF-8"
    assert error.why == "byte 48 of the file is 0xe9"
    assert error.hint == "save the file as UTF-8"


def test_a_huge_file_is_not_parsed() -> None:
    assert "larger than 1 MiB" in refused(b"#" * (SIZE_MAX_BYTES + 1)).what
    assert parse(HEAD + "#" * 1000).deliverable.name == "shop"


def test_a_file_nested_too_deeply() -> None:
    error = refused(HEAD + "[stages]\na = { tool = 'x', with = { a = " + "[" * 5000 + "]" * 5000)
    assert error.what == "cx.toml: this is not valid TOML"
    assert error.why == "it is nested too deeply"


def test_options_nested_too_deeply_for_the_journal() -> None:
    error = refused(STAGES + "a = { tool = 'x', with = { a = " + "[" * 30 + "]" * 30 + " } }")
    assert error.why == "it is nested more than 20 levels deep"


def test_too_many_stages() -> None:
    stages = "\n".join(f"s{index} = {{ command = 'x' }}" for index in range(501))
    assert refused(STAGES + stages).what == "cx.toml, [stages]: 501 stages are too many"


def test_control_characters_in_a_name_stay_harmless() -> None:
    error = refused(STAGES + '"a\\u001b[2J" = { command = "x" }')
    assert "\x1b" not in str(error)


def test_the_file_is_named_as_the_caller_says() -> None:
    with pytest.raises(ConfigError, match=r"^cx\.toml at 3f2a9c1: the key 'cx' is missing"):
        parse("", file="cx.toml at 3f2a9c1")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(str(tmp_path / "cx.toml"))
    assert caught.value.why == "No such file or directory"
    with pytest.raises(ConfigError, match="cannot be read"):
        read(os.fspath(tmp_path))


def test_local_files_set_only_what_belongs_to_a_machine() -> None:
    local = parse_local(
        'home = "~/cx"\njobs = 4\noutput = "json"\n[scm]\nmirrors = ["/media/usb/shop.git"]\n'
        '[store]\nurl = "sqlite:"\n[secrets]\nTOKEN = { file = "~/token" }'
    )
    assert (local.home, local.jobs, local.output) == ("~/cx", 4, "json")
    assert local.scm.mirrors == ["/media/usb/shop.git"]
    assert local.secrets["TOKEN"].file == "~/token"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cx = 1", "cx.local.toml: 'cx' cannot stand in this file"),
        ("[stages]", "cx.local.toml: 'stages' cannot stand in this file"),
        ("[keep]", "cx.local.toml: 'keep' cannot stand in this file"),
        ("job = 4", "cx.local.toml: there is no key 'job'"),
        ("jobs = 0", "cx.local.toml: jobs must be at least 1, not 0"),
        ("output = 'jsn'", "cx.local.toml: output cannot be the text 'jsn'"),
        ("[scm]\nremotes = []", "cx.local.toml, [scm]: there is no key 'remotes'"),
    ],
)
def test_what_local_files_cannot_say(text: str, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_local(text)
    assert caught.value.what == what


def test_a_file_that_was_read_before_is_the_same_and_one_that_is_wrong_is_said_each_time() -> None:
    """A run reads the file that lies here, and that of its commit."""
    assert parse(EXAMPLE.encode()) == parse(EXAMPLE.encode(), file="cx.toml at 1234abcd")
    other = parse(EXAMPLE.replace("webshop", "shop").encode())
    assert (other.deliverable.name, parse(EXAMPLE.encode()).deliverable.name) == ("shop", "webshop")
    for file in ("cx.toml", "cx.toml at 1234abcd"):
        with pytest.raises(ConfigError, match=f"^{file}"):
            parse(b"cx = 2", file=file)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("web-shop_2", "web-shop_2"), ("Web", "%57eb"), ("a/b", "a%2fb"), ("\u00fc", "%c3%bc"), ("", ""),
        ("x" * 120, "x" * 120), ("x" * 121, "x" * 80 + "%-" + sha256(b"x" * 121).hexdigest()[:32]),
        ("X" * 121, "%58" * 26 + "%5" + "%-" + sha256(b"X" * 121).hexdigest()[:32]),
    ],
)  # fmt: skip
def test_a_name_becomes_one_part_of_a_path(name: str, part: str) -> None:
    assert path_part(name) == part
