"""Purchases: what can be bought, the own purchases, and what payment providers say of them."""

from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.http.answers import Answer, answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.paging import DEFAULT_LIMIT, Cursor, Limit, cursor_after, id_before
from api.http.purchase_operations import PACKAGES, PURCHASE, PURCHASES, START, WEBHOOK
from api.http.purchase_shapes import (
    NoticeAnswer,
    PurchasePage,
    PurchaseRequest,
    package_page,
    purchase_answer,
)
from application import purchases
from application.deciding import Principal
from application.purchases import Settled
from domain.errors import NotFound
from domain.purchases import PREFIX, Purchase


class PurchaseController(Controller):
    """Accounts buy for themselves. Nobody but a provider's signature says that it was paid."""

    @get("/v1/credits/packages", opt={"operation": PACKAGES})
    async def packages(self, ports: ThePorts) -> Response[bytes]:
        """All that are on offer."""
        return shown(package_page(purchases.packages(ports)))

    @post("/v1/credits/purchases", opt={"operation": START})
    async def start(
        self, data: JSONBody[PurchaseRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Begin to buy."""

        def show(purchase: Purchase) -> Answer:
            content = purchase_answer(purchase, purchases.attachment(ports, purchase))
            return answer(201, content, f"/v1/credits/purchases/{purchase.id}")

        return await commands.answer_once(
            user,
            lambda context: purchases.start(ports, context, data.package, data.provider),
            show,
        )

    @get("/v1/credits/purchases", opt={"operation": PURCHASES})
    async def list_purchases(
        self, user: Caller, ports: ThePorts, limit: Limit = DEFAULT_LIMIT, cursor: Cursor = None
    ) -> Response[bytes]:
        """A page of the caller's."""
        after = id_before(cursor, PREFIX)
        found = await ports.lookups.purchases_of(user.id, after, limit + 1)
        page = [purchase_answer(each, purchases.attachment(ports, each)) for each in found[:limit]]
        following = cursor_after(page[-1].id) if len(found) > limit else None
        return shown(PurchasePage(page, following))

    @get("/v1/credits/purchases/{purchase_id:str}", opt={"operation": PURCHASE})
    async def get_purchase(
        self, purchase_id: FromPath[str], user: Caller, ports: ThePorts
    ) -> Response[bytes]:
        """One of the caller's."""
        purchase = await purchases.get(ports, user, purchase_id)
        return shown(purchase_answer(purchase, purchases.attachment(ports, purchase)))

    @post("/v1/payments/webhook/{provider:str}", opt={"operation": WEBHOOK}, status_code=200)
    async def webhook(
        self,
        provider: FromPath[str],
        request: Request[Any, Any, State],
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """What a provider says; judged by the bytes as they came."""
        known = ports.payments.get(provider)
        if known is None:
            raise NotFound("payment provider", provider)
        notice = known.verify(request.scope["headers"], await request.body(), ports.clock())

        def show(settled: Settled) -> Answer:
            return answer(200, NoticeAnswer(settled.outcome))

        return await commands.answer(
            Principal(kind="system", id=f"payments:{provider}"),
            lambda context: purchases.settle(ports, context, provider, notice),
            show,
        )
