"""Closing the own account, and bringing in accounts of another system."""

from typing import Annotated, Any

from litestar import Controller, Request, Response, delete, post
from litestar.datastructures import State
from litestar.params import JSONBody, QueryParameter

from api.http.answers import answer
from api.http.closing_operations import CLOSE, IMPORT_ACCOUNTS, RESTORE
from api.http.closing_shapes import (
    CloseRequest,
    ImportAccountsRequest,
    RestoredAnswer,
    RestoreRequest,
    import_answer,
    receipt_answer,
)
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.strict_json import decode
from api.http.throttle import network_of
from application import account_import, closing, restoring
from application.closing import Mode
from application.deciding import PUBLIC, Context
from application.password_proof import Client, Presented
from domain.accounts import Account


class ClosingController(Controller):
    """The end of one's own account."""

    @delete("/v1/me", opt={"operation": CLOSE}, status_code=200)
    async def close_me(
        self,
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
        mode: Annotated[Mode | None, QueryParameter()] = None,
    ) -> Response[bytes]:
        """End the account; the answer is the receipt."""
        body = await request.body()
        asked = decode(body, CloseRequest) if body else CloseRequest(mode=mode or "close")
        return await commands.answer(
            user,
            lambda context: closing.close_own(
                ports,
                context,
                erase=asked.mode == "erase",
                grace_days=asked.grace_days,
                reason=asked.reason,
            ),
            lambda receipt: answer(200, receipt_answer(receipt, ports.store.log_id)),
        )

    @post("/v1/me/restore", opt={"operation": RESTORE}, status_code=200)
    async def restore_me(
        self,
        data: JSONBody[RestoreRequest],
        request: Request[Any, Any, State],
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Undo the closing, for who proves to be the owner."""
        password, token = data.first_factor()
        second = data.second_factor()
        name = data.name() if password is not None else ""
        address = request.scope["client"]
        client = Client(network=network_of(address), ip=None if address is None else address[0])

        async def carry(context: Context) -> tuple[Account, int]:
            if password is not None:
                presented = Presented(name, password, second)
                return await restoring.by_password(ports, context, presented, client)
            return await restoring.by_token(ports, context, token or "", second)

        return await commands.answer(
            PUBLIC, carry, lambda account: answer(200, RestoredAnswer(account.id, account.status))
        )

    @post("/v1/accounts/import", opt={"operation": IMPORT_ACCOUNTS})
    async def import_accounts(
        self,
        data: JSONBody[ImportAccountsRequest],
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Bring in accounts that were made elsewhere, those that can be."""
        items = [item.imported() for item in data.items]
        return await commands.answer_once(
            actor,
            lambda context: account_import.bring_in(ports, context, items, data.reason),
            lambda report: answer(201, import_answer(report)),
        )
