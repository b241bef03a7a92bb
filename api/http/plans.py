"""Plans: what is on offer, what the caller's account is on, and what staff makes of both."""

from typing import Any

from litestar import Controller, Request, Response, delete, get, patch, post, put
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.http.answers import NO_CONTENT, answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.plan_comparison import compare
from api.http.plan_operations import (
    ASSIGN,
    CANCEL,
    CHANGE,
    COMPARISON,
    CURRENT,
    FEATURE,
    GET,
    PLANS,
    PUBLISH,
    RETIRE,
    UPGRADE,
)
from api.http.plan_shapes import (
    AssignRequest,
    CancelRequest,
    ChangeRequest,
    CurrentPlan,
    FeatureAnswer,
    PlanPage,
    PublishRequest,
    UpgradeRequest,
    next_plan,
    on_plan_answer,
    plan_answer,
)
from api.http.strict_json import decode
from application import account_reading, plans
from application.deciding import Context
from application.ports import Ports
from domain.errors import NotFound
from domain.plans import INTERNAL, Plan


class PlanController(Controller):
    """Reads are from memory only."""

    @get("/v1/plans", opt={"operation": PLANS})
    async def list_plans(self, ports: ThePorts) -> Response[bytes]:
        """All but retired ones and the one that is for staff."""
        return shown(PlanPage([plan_answer(plan) for plan in _offered(ports)], None))

    @get("/v1/plans/comparison", opt={"operation": COMPARISON})
    async def compare_plans(self, ports: ThePorts) -> Response[bytes]:
        """The same, side by side."""
        return shown(compare(_offered(ports)))

    @get("/v1/plans/current", opt={"operation": CURRENT})
    async def current_plan(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """The caller's."""
        account = ports.directory.account(user.id)
        plan = None if account is None else ports.directory.plan(account.plan)
        if account is None or plan is None:
            raise NotFound("plan", user.id)
        coming = next_plan(account.next_plan, account.next_plan_at)
        return shown(CurrentPlan(next=coming, **_fields(plan)))

    @get("/v1/plans/{name:str}", opt={"operation": GET})
    async def get_plan(self, name: FromPath[str], ports: ThePorts) -> Response[bytes]:
        """One plan."""
        return shown(plan_answer(_public(ports, name)))

    @get("/v1/plans/{name:str}/features/{feature:str}", opt={"operation": FEATURE})
    async def plan_feature(
        self, name: FromPath[str], feature: FromPath[str], ports: ThePorts
    ) -> Response[bytes]:
        """Whether a plan has a feature."""
        plan = _public(ports, name)
        return shown(FeatureAnswer(plan.name, feature, feature in plan.entitlements.features))

    @post("/v1/plans", opt={"operation": PUBLISH})
    async def publish(
        self, data: JSONBody[PublishRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Publish a plan."""
        command = data.command()
        return await commands.answer_once(
            user,
            lambda context: plans.publish(ports, context, command),
            lambda plan: answer(201, plan_answer(plan), f"/v1/plans/{plan.name}"),
        )

    @patch("/v1/plans/{name:str}", opt={"operation": CHANGE})
    async def change(
        self,
        name: FromPath[str],
        data: JSONBody[ChangeRequest],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Change what the body has."""
        command = data.command()
        return await commands.answer(
            user,
            lambda context: plans.amend(ports, context, name, command),
            lambda plan: answer(200, plan_answer(plan)),
        )

    @post("/v1/plans/{name:str}/retire", status_code=200, opt={"operation": RETIRE})
    async def retire(
        self,
        name: FromPath[str],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Take no new accounts."""
        return await commands.answer(
            user,
            lambda context: plans.retire(ports, context, name),
            lambda plan: answer(200, plan_answer(plan)),
        )

    @post("/v1/plans/upgrade", status_code=200, opt={"operation": UPGRADE})
    async def upgrade(
        self, data: JSONBody[UpgradeRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Change the own plan."""
        return await commands.answer_once(
            user,
            lambda context: plans.upgrade(ports, context, user.id, data.plan, data.when),
            lambda on: answer(200, on_plan_answer(on)),
        )

    @put("/v1/accounts/{account_id:str}/plan", opt={"operation": ASSIGN})
    async def assign(
        self,
        account_id: FromPath[str],
        data: JSONBody[AssignRequest],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Put an account on a plan."""
        known = await account_reading.named(ports, user, account_id)
        return await commands.answer(
            user,
            lambda context: plans.assign(ports, context, known, data.plan, data.when, data.reason),
            lambda on: answer(200, on_plan_answer(on)),
        )

    # 200 is for the framework, which wants no Response from a 204; the answer says 204.
    @delete("/v1/accounts/{account_id:str}/plan/next", status_code=200, opt={"operation": CANCEL})
    async def cancel(
        self,
        account_id: FromPath[str],
        request: Request[Any, Any, State],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Take back what was scheduled."""
        known = await account_reading.named(ports, user, account_id)
        body = await request.body()
        reason = decode(body, CancelRequest).reason if body else None

        async def carry(context: Context) -> tuple[None, int]:
            return None, await plans.cancel_change(ports, context, known, reason)

        return await commands.answer(user, carry, lambda _: NO_CONTENT)


def _offered(ports: Ports) -> list[Plan]:
    return [plan for plan in ports.directory.plans() if plan.tier != INTERNAL and not plan.retired]


def _public(ports: Ports, name: str) -> Plan:
    """A plan that anybody may know of. NotFound."""
    plan = ports.directory.plan(name)
    if plan is None or plan.tier == INTERNAL:
        raise NotFound("plan", name)
    return plan


def _fields(plan: Plan) -> dict[str, Any]:
    shown_plan = plan_answer(plan)
    return {field: getattr(shown_plan, field) for field in shown_plan.__struct_fields__}
