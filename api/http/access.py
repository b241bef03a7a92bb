"""Who may call what, and by which parameters: each operation says it; what says nothing is refused.

The first line, not the only one: the use cases judge again, knowing what it is about. What is
said here is in the OpenAPI document (`x-access`), and the access matrix of the tests is made from
that (SECURITY 20, ASVS 5.0 V8.2).
"""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.http.operation import Operation
from api.http.problems import HttpProblem
from application.deciding import Principal
from domain.errors import NotPermitted

AnyConnection = ASGIConnection[Any, Any, Any, Any]
CallerOf = Callable[[AnyConnection], Awaitable[Principal]]
Gate = Callable[[AnyConnection, BaseRouteHandler], Awaitable[None]]


def gate(caller_of: CallerOf) -> Gate:
    """A guard that lets in whom the operation of a route names. Raises Unauthenticated,
    NotPermitted, HttpProblem."""

    async def permit(connection: AnyConnection, handler: BaseRouteHandler) -> None:
        operation = handler.opt.get("operation")
        if not isinstance(operation, Operation):
            raise HttpProblem("FORBIDDEN", "Nobody is declared to be let in here.")
        if operation.who != "public":
            judge(operation, await caller_of(connection))
        require_known(operation, connection.scope["query_string"])

    return permit


def require_known(operation: Operation, query: bytes) -> None:
    """Nothing, or HttpProblem for a parameter of the query that the operation doesn't have: a
    misspelt filter or `as_of`, ignored, would be the answer to another question."""
    if not query or operation.open_query:
        return
    known = [each.name for each in operation.parameters if each.place == "query"]
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in known:
            detail = f"There is no query parameter `{name[:64]}` here."
            hint = f"There are {', '.join(known) or 'none'}."
            raise HttpProblem("INVALID_REQUEST", detail, hint, param=name[:64])


def judge(operation: Operation, caller: Principal) -> None:
    """Nothing, or NotPermitted or HttpProblem. Pure."""
    if operation.own_hand and caller.impersonator is not None:
        raise HttpProblem(
            "NOT_WHILE_IMPERSONATING",
            "Who acts as somebody else can't do this: it is for that person's own hand.",
        )
    match operation.who:
        case "public" | "key":
            return
        case "user" if caller.kind != "account":
            raise not_for_keys()
        case "actor" if caller.kind == "key":
            raise not_for_keys()
        case "service" if operation.permission not in caller.permissions:
            if caller.kind == "key":
                raise not_for_keys()
            raise NotPermitted(operation.permission or "")
        case "staff":
            _judge_staff(operation, caller)


def _judge_staff(operation: Operation, caller: Principal) -> None:
    if operation.right is None:
        raise ValueError(f"{operation.id} is for staff and names no right")
    if caller.may(operation.right):
        return
    if caller.kind == "key" or (caller.kind == "service" and operation.permission is None):
        raise not_for_keys()
    if caller.kind == "service" and operation.permission is not None:
        if operation.permission in caller.permissions:
            return
        raise NotPermitted(operation.permission)
    raise NotPermitted(operation.right)


def not_for_keys() -> HttpProblem:
    """The refusal of an API key that is of the wrong kind."""
    return HttpProblem(
        "FORBIDDEN",
        "An API key of this kind can't do this.",
        hint="Sign in and present the access token.",
    )
