"""``cxlocal completion SHELL``: the completion script, made by click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from cxlocal.commands.frame import command
from cxlocal.processes.stdout import data

COMPLETE_VARIABLE = "_CXLOCAL_COMPLETE"


@command(
    examples=[
        ('eval "$(cxlocal completion bash)"', "in ~/.bashrc"),
        ('eval "$(cxlocal completion zsh)"', "in ~/.zshrc"),
        ("cxlocal completion fish | source", "in ~/.config/fish/config.fish"),
    ]
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the three shells of the choice"
    script = kind(ctx.find_root().command, {}, "cxlocal", COMPLETE_VARIABLE).source()
    data().write(f"{script}\n")
