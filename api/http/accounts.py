"""Accounts, for staff: listed, searched, exported, read, made, changed, closed."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from litestar import Controller, Request, Response, delete, get, patch, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response import Stream

from api.http import account_sheet, positions
from api.http.account_operations import AMEND, CLOSE, GET, LIST, MAKE
from api.http.account_shapes import (
    AccountPage,
    AmendAccountRequest,
    CloseAccountRequest,
    MakeAccountRequest,
    account_answer,
    listed,
)
from api.http.answers import NO_NUL, Answer, answer, shown
from api.http.closing_shapes import receipt_answer
from api.http.credits import moment_of
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.paging import DEFAULT_LIMIT, MAX_LIMIT, Cursor, cursor_after, text_before
from application import account_amending, account_making, account_reading, closing, time_travel
from application.accounts import Registered
from application.persons import AccountView
from application.staff_permits import not_on_oneself
from application.staff_ports import AccountsWanted
from domain.accounts import Account

AnyRequest = Request[Any, Any, State]
Search = Annotated[str | None, QueryParameter(max_length=300, pattern=NO_NUL)]
Name = Annotated[str | None, QueryParameter(max_length=100, pattern=NO_NUL)]
Limit = Annotated[int | None, QueryParameter(ge=1, le=MAX_LIMIT)]
_PLACE = re.compile(r"[a-z0-9._-]{3,40}")
AsOf = Annotated[str | None, QueryParameter(max_length=100)]


class AccountController(Controller):
    """Each level sees and does what `domain.staff` says."""

    @get("/v1/accounts", opt={"operation": LIST})
    async def list_accounts(
        self,
        request: AnyRequest,
        actor: Caller,
        ports: ThePorts,
        search: Search = None,
        plan: Name = None,
        status: Name = None,
        role: Name = None,
        limit: Limit = None,
        cursor: Cursor = None,
    ) -> Response[bytes] | Stream:
        """A page, or a sheet of everything."""
        wanted = AccountsWanted(
            plan=plan,
            status=account_reading.known_status(status),
            roles=() if role is None else (role,),
        )
        csv = account_sheet.asked_for(request.headers.get("accept", ""))
        if csv and limit is None and cursor is None:
            pages = await account_reading.everything(ports, actor, search, wanted)
            return Stream(
                account_sheet.sheet(pages),
                media_type=account_sheet.HEADER_TYPE,
                headers=_ATTACHED,
            )
        found, following = await account_reading.page(
            ports,
            actor,
            search,
            wanted,
            text_before(cursor, _is_place),
            limit or DEFAULT_LIMIT,
            positions.at_least(ports.store.log_id, request.headers),
        )
        if csv:
            return Response(
                b"".join([part async for part in account_sheet.sheet(_one(found))]),
                media_type=account_sheet.HEADER_TYPE,
                headers=_ATTACHED,
            )
        items = [listed(account) for account in found]
        return shown(AccountPage(items, following and cursor_after(following)))

    @get("/v1/accounts/{account_id:str}", opt={"operation": GET})
    async def get_account(
        self, account_id: FromPath[str], actor: Caller, ports: ThePorts, as_of: AsOf = None
    ) -> Response[bytes]:
        """One account, as it is or as it was."""
        if as_of is None:
            return shown(account_answer(await account_reading.view(ports, actor, account_id)))
        moment = moment_of(ports, as_of)
        view, at = await time_travel.account_as_of(ports, actor, account_id, moment)
        return shown(account_answer(view, at))

    @post("/v1/accounts", opt={"operation": MAKE})
    async def make(
        self,
        data: JSONBody[MakeAccountRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Make an account that has no password."""
        command = data.command()

        def show(made: Registered) -> Answer:
            view = AccountView(
                account=made.account, email=made.email, profile=made.profile, note=None
            )
            seen = account_reading.seen_by_maker(actor, view)
            return answer(201, account_answer(seen), f"/v1/accounts/{made.account.id}")

        return await commands.answer_once(
            actor, lambda context: account_making.make(ports, context, command, data.reason), show
        )

    @patch("/v1/accounts/{account_id:str}", opt={"operation": AMEND})
    async def amend(
        self,
        account_id: FromPath[str],
        data: JSONBody[AmendAccountRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Change what the body has."""
        known = await account_reading.known(ports, actor, account_id)
        command = data.command()
        return await commands.answer(
            actor,
            lambda context: account_amending.amend(ports, context, known, command, data.reason),
            lambda view: answer(200, account_answer(view)),
        )

    # 200 is for the framework, which expects no content of a DELETE.
    @delete("/v1/accounts/{account_id:str}", status_code=200, opt={"operation": CLOSE})
    async def close(
        self,
        account_id: FromPath[str],
        data: JSONBody[CloseAccountRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """End the account."""
        known = await account_reading.known(ports, actor, account_id)
        not_on_oneself(actor, known)
        return await commands.answer(
            actor,
            lambda context: closing.close(
                ports,
                context,
                known,
                erase=data.mode == "erase",
                grace_days=data.grace_days,
                reason=data.reason,
            ),
            lambda receipt: answer(200, receipt_answer(receipt, ports.store.log_id)),
        )


_ATTACHED = {"Content-Disposition": 'attachment; filename="accounts.csv"'}


async def _one(page: Sequence[Account]) -> AsyncIterator[Sequence[Account]]:
    yield page


def _is_place(text: str) -> bool:
    """Whether a page can go on there: at an id or a username."""
    return _PLACE.fullmatch(text) is not None
