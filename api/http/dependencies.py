"""What a route may ask for by name: the ports, who calls, and how its command is answered."""

from typing import Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from api.http.access import CallerOf, not_for_keys
from api.http.callers import principal
from api.http.commands import Commands
from application.deciding import Principal
from application.ports import Analytics, Ports
from application.verification import Verifier

ThePorts = NamedDependency[SkipValidation[Ports]]
TheAnalytics = NamedDependency[SkipValidation[Analytics | None]]
TheCommands = NamedDependency[SkipValidation[Commands]]

Caller = NamedDependency[SkipValidation[Principal]]
"""Ask for it as `caller` (whoever presents a credential that works), as `user` (an account,
signed in) or as `actor` (an account, staff or a service: whoever may act for accounts)."""


def callers(ports: Ports, verifier: Verifier) -> CallerOf:
    """Who makes a request; judged once, however often it is asked."""

    async def caller_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
        state: dict[str, Any] = connection.scope["state"]
        found: Principal | None = state.get("caller")
        if found is None:
            client = connection.scope["client"]
            address = None if client is None else client[0]
            headers = connection.scope["headers"]
            found = await principal(
                ports,
                verifier,
                headers,
                address,
                ports.clock(),
                unsafe=connection.scope.get("method") not in ("GET", "HEAD"),
                oauth=connection.scope["path"].startswith("/oauth/"),
            )
            state["caller"] = found
        return found

    return caller_of


def dependencies(
    ports: Ports, verifier: Verifier, analytics: Analytics | None = None
) -> dict[str, Provide]:
    """The providers, by the names that routes use."""
    in_flight: set[bytes] = set()
    caller_of = callers(ports, verifier)

    def provide_ports() -> Ports:
        return ports

    def provide_analytics() -> Analytics | None:
        return analytics

    def provide_commands(request: Request[Any, Any, State]) -> Commands:
        return Commands(ports, in_flight, request)

    async def provide_caller(request: Request[Any, Any, State]) -> Principal:
        return await caller_of(request)

    async def provide_user(request: Request[Any, Any, State]) -> Principal:
        caller = await provide_caller(request)
        if caller.kind != "account":
            raise not_for_keys()
        return caller

    async def provide_actor(request: Request[Any, Any, State]) -> Principal:
        caller = await provide_caller(request)
        if caller.kind == "key":
            raise not_for_keys()
        return caller

    def provide_verifier() -> Verifier:
        return verifier

    return {
        "ports": Provide(provide_ports, sync_to_thread=False),
        "verifier": Provide(provide_verifier, sync_to_thread=False),
        "analytics": Provide(provide_analytics, sync_to_thread=False),
        "commands": Provide(provide_commands, sync_to_thread=False),
        "caller": Provide(provide_caller),
        "user": Provide(provide_user),
        "actor": Provide(provide_actor),
    }
