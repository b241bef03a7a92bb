"""plans: list, show, publish, change, retire; and put accounts on them, as the operator."""

from typing import Annotated, Any, Protocol, TypeVar

import msgspec
import typer

from api.cli import output
from api.cli.accounts import Name, Reason
from api.cli.running import Json
from application import accounts, plans
from application.plans import OnPlan, known_plan
from application.ports import Ports
from domain.credit_amounts import decimal
from domain.errors import InvalidCommand, NotFound, UnknownPlan
from domain.plans import Plan

app = typer.Typer(help="Publish, change and assign plans.", no_args_is_help=True)
PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's name.")]
File = Annotated[
    typer.FileBinaryRead,
    typer.Argument(metavar="FILE.json", help="The body of the route; - for standard input."),
]

C = TypeVar("C", covariant=True)


class Body(Protocol[C]):
    """A body that asks for a command."""

    def command(self) -> C: ...


@app.command("list", epilog="Example: tollhouse plans list --json")
def list_(context: typer.Context, json: Json = False) -> None:
    """List all plans, retired ones too."""

    async def use(ports: Ports) -> list[Plan]:
        return ports.directory.plans()

    found = context.obj.act(use)
    if json:
        output.show_json({"items": [_body(plan) for plan in found]})
        return
    columns = ("name", "title", "keys", "quota", "monthly_credits", "self_service", "retired")
    output.show_rows(columns, [[_summary(plan)[column] for column in columns] for plan in found])


@app.command("show", epilog="Example: tollhouse plans show pro")
def show(context: typer.Context, plan: PlanName, json: Json = False) -> None:
    """Show all that a plan permits."""

    async def use(ports: Ports) -> Plan:
        try:
            return await known_plan(ports, plan)
        except UnknownPlan:
            raise NotFound("plan", plan) from None  # as GET /v1/plans/PLAN has it

    _show(context.obj.act(use), json)


@app.command("publish", epilog="Example: tollhouse plans publish team.json")
def publish(context: typer.Context, file: File, json: Json = False) -> None:
    """Publish a plan, on offer from now on."""
    # Here, because it brings the web framework along, and `up` stays in memory.
    from api.http.plan_shapes import PublishRequest

    command = _command(file, PublishRequest)

    async def use(ports: Ports) -> Plan:
        return (await plans.publish(ports, context.obj.context(), command))[0]

    _show(context.obj.act(use), json)


@app.command("change", epilog="Example: tollhouse plans change team changes.json")
def change(context: typer.Context, plan: PlanName, file: File, json: Json = False) -> None:
    """Change what a plan permits, at once and for all who are on it. The file is as for PATCH
    /v1/plans/PLAN: what is not in it stays."""
    from api.http.plan_shapes import ChangeRequest

    command = _command(file, ChangeRequest)

    async def use(ports: Ports) -> Plan:
        return (await plans.amend(ports, context.obj.context(), plan, command))[0]

    _show(context.obj.act(use), json)


@app.command("retire", epilog="Example: tollhouse plans retire team")
def retire(context: typer.Context, plan: PlanName, json: Json = False) -> None:
    """Take no new accounts on a plan; those on it keep it."""

    async def use(ports: Ports) -> Plan:
        return (await plans.retire(ports, context.obj.context(), plan))[0]

    _show(context.obj.act(use), json)


@app.command("assign", epilog="Example: tollhouse plans assign @ada pro --at-renewal")
def assign(
    context: typer.Context,
    account: Name,
    plan: PlanName,
    at_renewal: Annotated[
        bool, typer.Option("--at-renewal", help="On the first of the next month, UTC.")
    ] = False,
    reason: Reason = None,
    json: Json = False,
) -> None:
    """Put an account on a plan."""

    async def use(ports: Ports) -> OnPlan:
        account_id = await accounts.find(ports, account)
        when: plans.When = "at_renewal" if at_renewal else "now"
        asked = context.obj.context()
        return (await plans.assign(ports, asked, account_id, plan, when, reason))[0]

    from api.http.plan_shapes import on_plan_answer

    fields = msgspec.to_builtins(on_plan_answer(context.obj.act(use)))
    (output.show_json if json else output.show_fields)(fields)


def _command(file: typer.FileBinaryRead, shape: type[Body[C]]) -> C:
    """The command that the file asks for. InvalidCommand where it is not of this shape."""
    from api.http.problems import HttpProblem
    from api.http.strict_json import decode

    try:
        return decode(file.read(), shape).command()
    except HttpProblem as problem:
        raise InvalidCommand(problem.param or "file", problem.detail) from None


def _show(plan: Plan, json: bool) -> None:
    fields = _body(plan)
    if json:
        output.show_json(fields)
    else:
        permits: dict[str, object] = fields.pop("entitlements")
        output.show_fields(fields | permits)


def _body(plan: Plan) -> dict[str, Any]:
    from api.http.plan_shapes import plan_answer

    fields: dict[str, Any] = msgspec.to_builtins(plan_answer(plan))
    return fields


def _summary(plan: Plan) -> dict[str, object]:
    permits = plan.entitlements
    quota = permits.quota
    return {
        "name": plan.name,
        "title": plan.title,
        "keys": "any" if permits.keys is None else permits.keys,
        "quota": "none" if quota is None else f"{quota.limit}/{quota.period}",
        "monthly_credits": decimal(permits.monthly_credits),
        "self_service": plan.self_service,
        "retired": plan.retired,
    }
