"""Every command of cxlocal: its name, where it is, one sentence, and its section in the help.

Plain data, so that ``--help``, completion and "did you mean" import no command module. A command
stands here when it is built, and not before; the docstring of the command begins with the same
sentence (a test compares them).
"""

from __future__ import annotations

from cxlocal.values import NamedTuple

SECTIONS = ("Start", "Release", "Look", "Places and copies", "Journal", "Set-up")


class Row(NamedTuple):
    """One command: ``target`` is ``module:attribute`` below ``cxlocal.commands``."""

    name: str
    target: str
    help: str
    section: str


# One row a line, in the order of the help. `target` is looked up in cxlocal.commands.
# fmt: off
ROWS = (
    Row("run", "run:run", "Release a pushed revision, as far as it may go.", "Release"),
    Row("rehearse", "rehearse:rehearse", "Try the process on the working tree, without a release.", "Release"),
    Row("drill", "drill:drill", "Rehearse an outage: time it, and say what would have failed.", "Release"),
    Row("demo", "demo:demo", "Release a small web service twice, once without the store.", "Start"),
    Row("stage", "stage:stage", "Run a command as a stage of the current run, and record it.", "Release"),
    Row("promote", "promote:promote", "Decide about a version: give it a promotion, or refuse it.", "Release"),
    Row("deploy", "deploy:deploy", "Deploy a version that was built before; nothing is built again.", "Release"),
    Row("publish", "publish:publish", "Bring a version to its targets, and finish what was half done.", "Release"),
    Row("withdraw", "publish:withdraw", "Take a version back from its targets, as far as they let us.", "Release"),
    Row("rollback", "rollback:rollback", "Put the version before back, or the one that is named.", "Release"),
    Row("status", "status:status", "Show what is live, what was released last and what waits.", "Look"),
    Row("log", "log:log", "Show the runs this machine knows of, newest first.", "Look"),
    Row("show", "show:show", "Tell the story of one run: why, what, where, and how it went.", "Look"),
    Row("notes", "notes:notes", "Write the notes of a version, or of what would go out next.", "Look"),
    Row("artifact", "artifact:artifact", "List the artifacts of a run, and copy them out.", "Look"),
    Row("review", "review:review", "Answer for a run that was out of the ordinary.", "Look"),
    Row("incident", "incident:incident", "Say that what is live is at fault, and when it is over.", "Look"),
    Row("browse", "browse:browse", "Look at the history of this machine in the browser.", "Look"),
    Row("sql", "sql:sql", "Ask the journal in SQL; nothing can be changed by it.", "Look"),
    Row("version", "version:version", "Hand out, list and explain version numbers.", "Look"),
    Row("prepare", "prepare:prepare", "Fetch what an outage needs: history, numbers, artifacts.", "Places and copies"),
    Row("sync", "sync:sync", "Send and fetch history, and refresh the reserve of numbers.", "Places and copies"),
    Row("store", "store:store", "Look after the store: begin one, members, status, recovery.", "Places and copies"),
    Row("sinks", "sinks:sinks", "Show how far each sink is, where logs, figures and events go.", "Places and copies"),
    Row("serve", "serve:serve", "Serve a store to other machines.", "Places and copies"),
    Row("export", "export:export", "Print events, or write them into a file for another machine.", "Places and copies"),
    Row("import", "import_:import_", "Take in a bundle, a receipt, or versions from tags.", "Places and copies"),
    Row("verify", "verify:verify", "Check that the journal holds what was written.", "Journal"),
    Row("journal", "journal:journal", "Find the journal of this machine, rebuild, recover or redact it.", "Journal"),
    Row("doctor", "doctor:doctor", "Try everything a release needs, also one without the store.", "Set-up"),
    Row("init", "init:init", "Describe the release of this repository: write a first cx.toml.", "Start"),
    Row("env", "env:env", "Show what is where, settle disputes, clear what is left.", "Places and copies"),
    Row("prune", "prune:prune", "Remove checkouts, logs and artifacts not to be kept.", "Places and copies"),
    Row("mirror", "mirror:mirror", "Keep a remote of this machine for when the git host is down.", "Places and copies"),
    Row("config", "config:config", "Show the configuration, where it comes from, and its schema.", "Set-up"),
    Row("plugins", "plugins:plugins", "List plugins, shipped, installed and of this project.", "Set-up"),
    Row("trust", "trust:trust", "Agree to what this project asks of this machine.", "Set-up"),
    Row("completion", "completion:completion", "Print the completion script of a shell.", "Set-up"),
)
# fmt: on

COMMANDS = {row.name: row for row in ROWS}

OUTWARD = frozenset({
    "prepare", "sync", "sinks", "import", "review", "incident open", "incident close", "journal settle",
    "journal redact", "mirror add",
    "mirror remove",
    "store create", "store join", "store adopt", "store follow", "store moved", "store move", "store backup",
    "store recover", "store invite", "store grant", "store revoke",
    "env confirm", "env take", "env reap", "env repair", "env forget", "env release", "env settle", "env destroy",
})  # fmt: skip
"""Commands that change something beside a run: a store, a remote, an environment, the word of a person.
What releases, deploys and promotes has its own rules for where it may be called."""
