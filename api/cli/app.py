"""The command line as a whole: its commands, and how it fails.

Exit codes: 0 done, 1 refused or failed (a sentence says why), 2 wrong usage, 3 the key that was
verified is not valid, 130 interrupted.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from api.cli import (
    account_lives,
    accounts,
    credits,
    documents,
    events,
    followers,
    history,
    key_lineage,
    keys,
    output,
    passwords,
    plans,
    purchases,
    quotas,
    rebuild,
    running,
    secrets,
    sql,
    staff,
    tokens,
    verification,
)
from api.cli.wiring import Wiring
from application.deciding import OPERATOR, Context
from application.errors import ApplicationError
from application.ports import Ports
from domain.errors import DomainError

T = TypeVar("T")


class Session:
    """One use of the command line: how to get in, and under which name."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring

    def context(self) -> Context:
        """The context of an operator's command."""
        return Context(principal=OPERATOR, command_id=f"cli-{os.urandom(8).hex()}")

    def act(self, use: Callable[[Ports], Awaitable[T]]) -> T:
        """Open the house, do this in it, close it."""

        async def inside() -> T:
            async with self.wiring.opened() as house:
                return await use(house.ports)

        return asyncio.run(inside())


def build() -> typer.Typer:
    """Every command there is."""
    app = typer.Typer(
        name="tollhouse",
        help="An event-sourced auth server: accounts, keys, exact quotas.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        add_completion=True,
    )
    for commands in (running, verification, events, followers, rebuild, sql, documents):
        commands.register(app)
    key_lineage.register(keys.app)
    history.register(app, keys.app, accounts.app, events.events)
    account_lives.register(accounts.app)
    app.add_typer(keys.app, name="keys")
    app.add_typer(accounts.app, name="accounts")
    app.add_typer(passwords.app, name="passwords")
    app.add_typer(staff.app, name="staff")
    app.add_typer(tokens.app, name="tokens")
    app.add_typer(plans.app, name="plans")
    app.add_typer(quotas.app, name="quotas")
    app.add_typer(credits.app, name="credits")
    app.add_typer(purchases.app, name="purchases")
    app.add_typer(secrets.app, name="secrets")
    return app


def run(wiring: Wiring) -> int:
    """Run the command of this process's arguments; answers its exit code, or exits with it."""
    try:
        build()(obj=Session(wiring), prog_name="tollhouse")
    except Exception as error:
        if not isinstance(error, (*wiring.refusals(), DomainError, ApplicationError)):
            raise
        output.complain(_sentence(error))
        return 1
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, DomainError):
        # Here, because it brings the web framework along, and `up` stays in memory.
        from api.http.problems import problem_for

        problem, _ = problem_for(error, "")
        place = f" ({problem.param})" if problem.param else ""
        return f"{problem.code}: {problem.detail}{place}"
    return str(error)
