"""The entry point, and the only function that turns errors into exit codes.

``cxlocal --version`` is answered before anything is imported. Everything else goes through the
click group of ``cxlocal.commands.root``; whatever a command raises ends here, as words on
standard error (``what``, ``why``, ``To do``) or, under ``--json``, as one JSON object there.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
import time

from cxlocal.errors import CxError, ExitCode, Interrupted, Trouble, UsageError
from cxlocal.processes import stdout
from cxlocal.version import VERSION

PROGRAM = "cxlocal"
COMPLETE_VARIABLE = "_CXLOCAL_COMPLETE"
# The shell's exit code for a program ended by SIGPIPE: 128 + 13. Said in numbers because the
# signal module is not needed for anything else here.
BROKEN_PIPE = 141
SIGINT = 2
THREADS_SECONDS = 1.0
"""How long threads that a plugin left at work may keep the process from ending."""
# Starting a run makes some 40,000 objects that stay. Python would look through them for cycles
# after every 700, which is a tenth of a start.
OBJECTS_BETWEEN_COLLECTIONS = 50_000


END = os._exit
"""As it is before any plugin is loaded: after that it is not a plugin's to call (``cxlocal.hooks.exits``)."""


class Bug(Trouble):
    """An exception nobody foresaw: our fault, not the caller's."""

    default_name = "bug"


def main() -> int:
    """Run the command line of this process and return its exit code."""
    arguments = sys.argv[1:]
    stdout.begin()
    if arguments == ["--version"]:
        print(PROGRAM, VERSION)
        return ExitCode.DONE
    code: int = ExitCode.DONE

    def leave() -> None:
        # Python would take all modules apart, which costs a short command as much as a durable write.
        _flush()
        END(code)

    atexit.register(leave)  # What is registered first is called last: plugins have had their say.
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    try:
        code = _carry_out(arguments)
        stdout.data().flush()
    except BaseException as error:  # noqa: BLE001 - this is where everything ends
        code = _end(error, arguments)
    _prepare_exit(code)
    return code


def _prepare_exit(code: int) -> None:
    """Let nothing change the exit code any more or hold it up: neither words that nobody hears nor a
    plugin's thread."""
    _flush()
    threading = sys.modules.get("threading")
    if threading is None or all(
        one.daemon or one is threading.main_thread() for one in threading.enumerate()
    ):
        return

    def end() -> None:
        time.sleep(THREADS_SECONDS)
        END(code)

    threading.Thread(target=end, name="cxlocal-exit", daemon=True).start()


def _flush() -> None:
    for stream in (stdout.data(), sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            stdout.let_go(stream)


def _carry_out(arguments: list[str]) -> int:
    """Run the command. Returns what the command returned if that is an exit code, else 0."""
    refuse_windows(sys.platform)
    # A stream that is not UTF-8 must not turn "…" into a crash.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    import click

    from cxlocal.commands.root import cli

    instruction = os.environ.get(COMPLETE_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, PROGRAM, COMPLETE_VARIABLE, instruction)
    try:
        with cli.make_context(PROGRAM, arguments.copy()) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        # A group called without a command: its help is the answer, though not the one asked for.
        print(error.format_message(), file=sys.stderr)
        return ExitCode.USAGE
    except click.ClickException as error:
        raise _from_click(error) from error
    except click.Abort as error:
        raise Interrupted("Stopped at the question; nothing was done") from error
    return result if isinstance(result, int) else ExitCode.DONE


def refuse_windows(platform: str) -> None:
    """Raises UsageError on Windows, where journal and processes would need other calls."""
    if platform in ("win32", "cygwin", "msys"):
        raise UsageError(
            "cxlocal does not run on Windows",
            why="its journal and its processes rely on calls of Linux and macOS",
            hint="use it inside WSL",
            name="windows",
        )


def _from_click(error: Exception) -> UsageError:
    """A complaint of click in the shape of our own."""
    context = getattr(error, "ctx", None)
    what = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    path = context.command_path if context is not None else PROGRAM
    hint = f"{path} --help"
    option = getattr(error, "option_name", "")
    root = context.find_root() if context is not None else None
    if option and root is not None and root is not context:
        for parameter in root.command.params:
            if option in parameter.opts:
                taken = getattr(parameter, "is_flag", False) or getattr(parameter, "count", False)
                value = "" if taken else f" {parameter.make_metavar(root)}"
                command = path.partition(" ")[2]
                hint = f"put it before the command: {PROGRAM} {option}{value} {command}"
    return UsageError(what, why="the command line is not one that cxlocal knows", hint=hint)


def _end(error: BaseException, arguments: list[str]) -> int:
    """Say what ended the command; return the exit code that says it to scripts."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, BrokenPipeError):
        return BROKEN_PIPE
    known = as_known(error)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        if "--debug" in own:
            import traceback

            traceback.print_exception(error, file=sys.stderr)
        _print_error(known, as_json="--json" in own or "--nl" in own)
    except OSError:
        pass  # No words can be written any more: only the exit code is left to tell.
    return int(known.exit_code)


def as_known(error: BaseException) -> CxError:
    """Any exception as an error with an exit code; unforeseen ones as a ``Bug``."""
    if isinstance(error, CxError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("Interrupted", signal_number=SIGINT)
    if isinstance(error, OSError) and error.errno is not None:
        where = f": {os.fsdecode(error.filename)}" if error.filename else ""
        return Trouble(
            f"{error.strerror}{where}",
            why="the operating system refused it",
            hint=_hint_of_the_system(error.errno),
            name="system",
            errno=error.errno,
        )
    return Bug(
        f"This is a bug in cxlocal: {type(error).__name__}: {error}",
        why="nobody foresaw this; what was recorded before is safe",
        hint="run it again with --debug and report the trace",
    )


def _hint_of_the_system(number: int) -> str:
    """What helps against an error of the operating system."""
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "free some space, for example with 'cxlocal prune', and run the command again"
    if number == errno.EIO:
        return "look at the disk; what was recorded is safe, and the command can be run again"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "let your user write and read there; what cxlocal keeps lies in CXLOCAL_HOME"
    return "run it again with --debug, which shows where in cxlocal it happened"


def _print_error(error: CxError, *, as_json: bool) -> None:
    if as_json:
        from cxlocal.commands.output import json_text

        print(json_text(error.as_json()), file=sys.stderr, flush=True)
        return
    from cxlocal.commands.terminal import harmless

    lines = [f"Error: {error.what}"]
    if error.why:
        lines.append(error.why)
    if error.hint:
        lines.append(f"To do: {error.hint}")
    print(*(harmless(line, keep="\n\t") for line in lines), sep="\n", file=sys.stderr, flush=True)
