"""The tool ``postgresql``: a database for each environment, or one that is given; and its migrations.

What it does stands in ``postgresql_database``, which needs a library that not everybody has.
"""

from __future__ import annotations

from typing import ClassVar, TypeVar

from cxlocal.extras import module_of
from cxlocal.hooks.specs import hookimpl
from cxlocal.hooks.tool import Applied, Context, Done, Observed, Previewed, Tool

Answer = TypeVar("Answer", Done, Previewed, Applied, Observed)


class Postgresql(Tool):
    """A database in PostgreSQL."""

    name = "postgresql"
    api = 2
    title = "Database (PostgreSQL)"
    outputs: ClassVar[tuple[str, ...]] = ("url", "host", "port", "database", "user")

    class Options(Tool.Options, frozen=True):
        """``url``: a database that is given: migrated, never made or destroyed. ``server``: else the
        address of a server on which each environment gets a database, called ``database`` and the environment.
        ``password``: the name of the secret for either. ``migrations``: the folder with ``*.sql``.
        ``out_of_order``, ``schema_ahead``: what is refused otherwise. ``limit``: seconds to wait for a lock."""

        url: str = ""
        server: str = ""
        database: str = ""
        password: str = ""
        migrations: str = ""
        out_of_order: bool = False
        schema_ahead: bool = False
        limit: float = 10.0

        def __post_init__(self) -> None:
            """Raises ValueError unless it says where the database is."""
            if not self.url and not self.server:
                raise ValueError("give url or server")

    def provision(self, ctx: Context) -> Done:
        """Make the environment's database. Raises ToolFailure where one of that name is somebody else's."""
        return _carry_out(ctx, "provision", Done)

    def destroy(self, ctx: Context) -> Done:
        """Take the environment's database away, whoever uses it. Raises ToolFailure for somebody else's."""
        return _carry_out(ctx, "destroy", Done)

    def preview(self, ctx: Context) -> Previewed:
        """The migrations that are still to be applied, or why they may not be."""
        return _carry_out(ctx, "preview", Previewed)

    def apply(self, ctx: Context) -> Applied:
        """Apply what is still to be applied. Raises ToolFailure with the last whole and the first open one."""
        return _carry_out(ctx, "apply", Applied)

    def observe(self, ctx: Context) -> Observed:
        """What was applied last, and by which version."""
        return _carry_out(ctx, "observe", Observed)


def _carry_out(ctx: Context, verb: str, kind: type[Answer]) -> Answer:
    module = module_of("postgresql", "cxlocal_plugins.postgresql_database", "the tool postgresql")
    answer = getattr(module, verb)(ctx)
    assert isinstance(answer, kind)
    return answer


@hookimpl
def cxlocal_register_tools() -> list[type[Tool]]:
    """The tool."""
    return [Postgresql]
