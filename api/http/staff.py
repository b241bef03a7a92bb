"""Staff: listed, appointed, moved to another level, dismissed; for who manages staff."""

from typing import Annotated, Any, get_args

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter

from api.http import positions
from api.http.account_shapes import ReasonRequest
from api.http.answers import Answer, answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, cursor_after, id_before
from api.http.staff_operations import APPOINT, DISMISS, LIST_STAFF, MOVE
from api.http.staff_shapes import AppointRequest, MoveRequest, StaffPage, staff_answer
from application import account_reading, staff
from domain.accounts import Account
from domain.errors import InvalidCommand
from domain.staff import Level

Wanted = Annotated[str | None, QueryParameter(max_length=40)]


class StaffController(Controller):
    """Everything here ends the access tokens of who it is about."""

    @get("/v1/staff", opt={"operation": LIST_STAFF})
    async def list_staff(
        self,
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        level: Wanted = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> Response[bytes]:
        """A page of staff."""
        if level is not None and level not in get_args(Level):
            raise InvalidCommand("level", f"one of {' '.join(get_args(Level))}")
        at_least = positions.at_least(ports.store.log_id, request.headers)
        after = id_before(cursor, "acct")
        found = await staff.page(ports, user, level, after, limit + 1, at_least)
        items = [staff_answer(account) for account in found[:limit]]
        return shown(StaffPage(items, cursor_after(items[-1].id) if len(found) > limit else None))

    @post("/v1/staff", opt={"operation": APPOINT})
    async def appoint(
        self, data: JSONBody[AppointRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Give an account a level."""
        return await commands.answer_once(
            user,
            lambda context: staff.appoint(ports, context, data.account, data.level, data.reason),
            lambda account: answer(201, staff_answer(account), f"/v1/accounts/{account.id}"),
        )

    @patch("/v1/staff/{staff_id:str}", opt={"operation": MOVE})
    async def move(
        self,
        staff_id: FromPath[str],
        data: JSONBody[MoveRequest],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Give a member another level."""
        known = await account_reading.named(ports, user, staff_id)
        return await commands.answer(
            user,
            lambda context: staff.move(ports, context, known, data.level, data.reason),
            _member,
        )

    # 200 is for the framework, which expects no content of a DELETE.
    @delete("/v1/staff/{staff_id:str}", status_code=200, opt={"operation": DISMISS})
    async def dismiss(
        self,
        staff_id: FromPath[str],
        data: JSONBody[ReasonRequest],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Take the level away."""
        known = await account_reading.named(ports, user, staff_id)
        return await commands.answer(
            user, lambda context: staff.dismiss(ports, context, known, data.reason), _member
        )


def _member(account: Account) -> Answer:
    return answer(200, staff_answer(account))
