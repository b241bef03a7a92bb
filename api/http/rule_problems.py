"""What the rules of the domain refuse, each as a problem; `problems` asks here.

One function for each refusal, chosen by its type. Another refusal is another function.
"""

from functools import singledispatch

from api.http.problem import HttpProblem, typical, unexpected
from domain import errors as domain
from domain.credit_amounts import decimal

MOST_FAULTS = 50
MOST_OPERATIONS = 20
_NAME_SHOWN = 40
"""So much of a name that the caller chose is told back."""


@singledispatch
def rule_problem(exc: domain.DomainError) -> HttpProblem:
    """The answer to this refusal; what has no function here is a fault of ours."""
    return unexpected()


@rule_problem.register
def _(exc: domain.InvalidCommand) -> HttpProblem:
    return HttpProblem("INVALID_REQUEST", exc.reason, param=exc.param)


@rule_problem.register
def _(exc: domain.NotFound) -> HttpProblem:
    return HttpProblem("NOT_FOUND", f"No such {exc.noun}.")


@rule_problem.register
def _(exc: domain.NotPermitted) -> HttpProblem:
    return HttpProblem("FORBIDDEN", f"This needs the right `{exc.right}`.")


# Accounts and their people


@rule_problem.register
def _(exc: domain.Taken) -> HttpProblem:
    match exc.kind:
        case "email":
            return HttpProblem("EMAIL_TAKEN", "This email address is taken.", param="email")
        case "username":
            return HttpProblem("USERNAME_TAKEN", "This username is taken.", param="username")
    return HttpProblem("ALREADY_TAKEN", f"This {exc.kind.replace('_', ' ')} is taken.")


@rule_problem.register
def _(exc: domain.AccountNotActive) -> HttpProblem:
    if exc.status == "unverified":
        hint = "Have a code mailed by `POST /v1/auth/otp` with the purpose `verify_email`."
        return HttpProblem("ACCOUNT_NOT_ACTIVE", "The account's address is not proven yet.", hint)
    return HttpProblem("ACCOUNT_NOT_ACTIVE", f"The account is {exc.status}.")


@rule_problem.register
def _(exc: domain.NotClosed) -> HttpProblem:
    detail = "Its grace period is over." if exc.too_late else "The account is not closed."
    return HttpProblem("NOT_CLOSED", detail)


@rule_problem.register
def _(exc: domain.AccountIsStaff) -> HttpProblem:
    return HttpProblem("ACCOUNT_IS_STAFF", "The account has a level of staff: dismiss it first.")


@rule_problem.register
def _(exc: domain.OnOneself) -> HttpProblem:
    return typical("ON_ONESELF")


@rule_problem.register
def _(exc: domain.LastAdmin) -> HttpProblem:
    return typical("LAST_ADMIN")


@rule_problem.register
def _(exc: domain.NoSecondFactor) -> HttpProblem:
    return typical("NO_SECOND_FACTOR")


@rule_problem.register
def _(exc: domain.TooManyPasskeys) -> HttpProblem:
    return HttpProblem("TOO_MANY_PASSKEYS", f"An account has at most {exc.limit} passkeys.")


# Keys


@rule_problem.register
def _(exc: domain.KeyRevoked) -> HttpProblem:
    return HttpProblem("KEY_REVOKED", "This key is revoked.")


@rule_problem.register
def _(exc: domain.InvalidQuery) -> HttpProblem:
    detail = f"Column {exc.column}: {exc.reason}."
    return HttpProblem("INVALID_PERMISSION_QUERY", detail, param=exc.param)


@rule_problem.register
def _(exc: domain.ImportRefused) -> HttpProblem:
    told = [f"items[{each.index}].{each.param}: {each.reason}" for each in exc.faults[:MOST_FAULTS]]
    items = len({each.index for each in exc.faults})
    more = f"; and {len(exc.faults) - MOST_FAULTS} more" if len(exc.faults) > MOST_FAULTS else ""
    return HttpProblem(
        "IMPORT_REFUSED",
        f"{items} of {exc.items} items can't be imported, and none was. {'; '.join(told)}{more}.",
        param=f"items[{exc.faults[0].index}].{exc.faults[0].param}",
    )


# Plans


@rule_problem.register
def _(exc: domain.EntitlementExceeded) -> HttpProblem:
    detail = f"The plan {exc.plan} permits {exc.limit} ({exc.entitlement})."
    return HttpProblem("PLAN_LIMIT_REACHED", detail)


@rule_problem.register
def _(exc: domain.UnknownPlan) -> HttpProblem:
    return HttpProblem("UNKNOWN_PLAN", f"There is no plan `{exc.name}`.", param="plan")


@rule_problem.register
def _(exc: domain.PlanNotOffered) -> HttpProblem:
    detail = f"The plan `{exc.name}` takes no new accounts."
    return HttpProblem("PLAN_RETIRED", detail, param="plan")


@rule_problem.register
def _(exc: domain.PlanInUse) -> HttpProblem:
    return HttpProblem("PLAN_IN_USE", f"The plan `{exc.name}` can't be retired.")


@rule_problem.register
def _(exc: domain.NotSelfService) -> HttpProblem:
    detail = f"The plan `{exc.name}` is given by the operator only."
    return HttpProblem("NOT_SELF_SERVICE", detail, param="plan")


# Credits and purchases


@rule_problem.register
def _(exc: domain.UnknownOperation) -> HttpProblem:
    known = ", ".join(exc.known[:MOST_OPERATIONS]) or "none"
    detail = f"The plan prices no operation `{exc.name}`."
    return HttpProblem("UNKNOWN_OPERATION", detail, f"It prices: {known}.", param="operation")


@rule_problem.register
def _(exc: domain.InvalidAmount) -> HttpProblem:
    return HttpProblem("INVALID_AMOUNT", f"{exc.param}: {exc.reason}.", param=exc.param)


@rule_problem.register
def _(exc: domain.CreditsExhausted) -> HttpProblem:
    needed, available = decimal(exc.needed), decimal(exc.available)
    detail = f"This takes {needed} credits, and {available} are available."
    return HttpProblem("CREDITS_EXHAUSTED", detail)


@rule_problem.register
def _(exc: domain.HoldEnded) -> HttpProblem:
    return typical(f"HOLD_{exc.status.upper()}")


@rule_problem.register
def _(exc: domain.UnknownPackage) -> HttpProblem:
    detail = f"There is no package `{exc.name[:_NAME_SHOWN]}`."
    return HttpProblem("UNKNOWN_PACKAGE", detail, param="package")


@rule_problem.register
def _(exc: domain.UnknownProvider) -> HttpProblem:
    known = ", ".join(exc.known) or "none"
    detail = f"The payment provider `{exc.name[:_NAME_SHOWN]}` is not set up here."
    if not exc.name:
        detail = "Which payment provider is not said."
    return HttpProblem("UNKNOWN_PROVIDER", detail, f"Set up are: {known}.", param="provider")
