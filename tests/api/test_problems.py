"""Every refusal has one document, and a fault says nothing."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from litestar import Litestar, get, post
from litestar.exceptions import (
    ClientException,
    HTTPException,
    NotAuthorizedException,
    PermissionDeniedException,
    TooManyRequestsException,
)
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.testing import TestClient
from structlog.testing import capture_logs

import application.errors
import domain.errors
from api.http.codes import CODES
from api.http.problems import EXCEPTION_HANDLERS, HttpProblem, problem_for, respond, shape_problem
from api.http.strict_body import StrictBody
from application import errors as app_errors
from domain import errors as rules

FAULTS: list[Exception] = [
    RuntimeError("secret"),
    HTTPException("secret", status_code=500),
    # A replay is an answer that the routes give; here it would be a mistake of ours.
]

REFUSALS: list[tuple[Exception, int, str, str | None]] = [
    (rules.InvalidCommand("name", "It is too long."), 400, "INVALID_REQUEST", "name"),
    (rules.NotFound("api_key", "key_1"), 404, "NOT_FOUND", None),
    (rules.NotPermitted("keys.verify"), 403, "FORBIDDEN", None),
    (rules.OnOneself("acct_1"), 403, "ON_ONESELF", None),
    (rules.LastAdmin(), 409, "LAST_ADMIN", None),
    (rules.Taken("email"), 409, "EMAIL_TAKEN", "email"),
    (rules.Taken("username"), 409, "USERNAME_TAKEN", "username"),
    (rules.Taken("key_digest"), 409, "ALREADY_TAKEN", None),
    (rules.AccountNotActive("acct_1", "suspended"), 403, "ACCOUNT_NOT_ACTIVE", None),
    (rules.NoSecondFactor("acct_1"), 409, "NO_SECOND_FACTOR", None),
    (rules.TooManyPasskeys(20), 409, "TOO_MANY_PASSKEYS", None),
    (app_errors.MfaRequired(("totp",)), 401, "MFA_REQUIRED", None),
    (app_errors.MfaRequired(("totp",), wrong="totp"), 401, "MFA_REQUIRED", "totp"),
    (app_errors.FreshSignInRequired(), 401, "FRESH_SIGN_IN_REQUIRED", None),
    (app_errors.PasskeyNotAccepted("why"), 400, "PASSKEY_NOT_ACCEPTED", "credential"),
    (rules.EntitlementExceeded("keys", 2, "free"), 403, "PLAN_LIMIT_REACHED", None),
    (rules.KeyRevoked("key_1"), 409, "KEY_REVOKED", None),
    (
        rules.InvalidQuery("permissions", 7, "expected a permission"),
        400,
        "INVALID_PERMISSION_QUERY",
        "permissions",
    ),
    (
        rules.ImportRefused([rules.ImportFault(3, "hash", "no hash")] * 60, 100),
        422,
        "IMPORT_REFUSED",
        "items[3].hash",
    ),
    (rules.UnknownPlan("gold"), 400, "UNKNOWN_PLAN", "plan"),
    (rules.UnknownOperation("render", ["ai"]), 400, "UNKNOWN_OPERATION", "operation"),
    (rules.PlanNotOffered("gold"), 409, "PLAN_RETIRED", "plan"),
    (rules.PlanInUse("free"), 409, "PLAN_IN_USE", None),
    (rules.AccountIsStaff("acct_1"), 409, "ACCOUNT_IS_STAFF", None),
    (rules.NotClosed("acct_1"), 409, "NOT_CLOSED", None),
    (rules.NotSelfService("gold"), 403, "NOT_SELF_SERVICE", "plan"),
    (rules.UnknownPackage("huge"), 400, "UNKNOWN_PACKAGE", "package"),
    (rules.UnknownProvider("acme", ("test",)), 400, "UNKNOWN_PROVIDER", "provider"),
    (rules.InvalidAmount("amount", "more than nothing"), 400, "INVALID_AMOUNT", "amount"),
    (rules.CreditsExhausted(1_00, 2_00), 402, "CREDITS_EXHAUSTED", None),
    (rules.HoldEnded("hold_1", "captured"), 409, "HOLD_CAPTURED", None),
    (rules.HoldEnded("hold_1", "released"), 409, "HOLD_RELEASED", None),
    (rules.HoldEnded("hold_1", "expired"), 409, "HOLD_EXPIRED", None),
    (app_errors.WebhookRefused("signature", "No."), 400, "WEBHOOK_SIGNATURE_INVALID", None),
    (app_errors.WebhookRefused("age", "Old."), 400, "WEBHOOK_TOO_OLD", None),
    (app_errors.WebhookRefused("content", "What?"), 400, "WEBHOOK_INVALID", None),
    (app_errors.Unauthenticated("secret"), 401, "UNAUTHENTICATED", None),
    (app_errors.WrongCredentials(), 401, "WRONG_CREDENTIALS", None),
    (app_errors.RefreshRefused("secret"), 401, "REFRESH_TOKEN_INVALID", None),
    (app_errors.WrongCode(), 400, "INVALID_CODE", None),
    (app_errors.Overloaded("passwords", 7), 503, "OVERLOADED", None),
    (app_errors.TooManyKeys(10, 3600, 30, 1_800_000_000), 429, "TOO_MANY_REQUESTS", None),
    (app_errors.TooManyAttempts("otp", 5, 3600, 30), 429, "TOO_MANY_REQUESTS", None),
    (app_errors.SignInsThrottled("network", 10, 30), 429, "TOO_MANY_REQUESTS", None),
    (app_errors.SignInsThrottled("locked", 5, 30), 429, "SIGN_IN_LOCKED", None),
    (app_errors.StoreUnavailable("secret"), 503, "STORE_UNAVAILABLE", None),
    (app_errors.DirectoryStale(), 503, "DIRECTORY_STALE", None),
    (app_errors.VersionConflict(), 409, "VERSION_CONFLICT", None),
    (app_errors.PositionNotReached(9, 4), 503, "POSITION_NOT_REACHED", "Tollhouse-Min-Position"),
    (app_errors.ForeignLog("secret"), 400, "FOREIGN_LOG", "Tollhouse-Min-Position"),
    (app_errors.IdempotencyKeyReused(), 422, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key"),
    (app_errors.IdempotencyInFlight(), 409, "IDEMPOTENCY_IN_FLIGHT", "Idempotency-Key"),
    (app_errors.QueryNotAnswered("invalid", "No such table."), 400, "INVALID_REQUEST", "sql"),
    (app_errors.QueryNotAnswered("refused", "This is ATTACH."), 400, "QUERY_REFUSED", "sql"),
    (app_errors.QueryNotAnswered("too_long", "10 seconds."), 422, "QUERY_TOO_LONG", "sql"),
    (app_errors.QueryNotAnswered("too_large", "64 MB.", None, None), 422, "QUERY_TOO_LARGE", None),
    (app_errors.QueryNotAnswered("failed", "It failed."), 422, "QUERY_FAILED", "sql"),
    (app_errors.AnalyticsUnavailable("No lake."), 503, "ANALYTICS_UNAVAILABLE", None),
    (NotAuthorizedException("secret"), 401, "UNAUTHENTICATED", None),
    (PermissionDeniedException("secret"), 403, "FORBIDDEN", None),
    (TooManyRequestsException("secret"), 429, "TOO_MANY_REQUESTS", None),
    (ClientException("secret"), 400, "INVALID_REQUEST", None),
    (HTTPException("secret", status_code=418), 400, "INVALID_REQUEST", None),
]


def test_every_refusal_of_the_rules_and_the_application_is_in_the_table() -> None:
    known = {type(exc) for exc, *_ in REFUSALS} | {type(exc) for exc in FAULTS}
    for module in (domain.errors, application.errors):
        for cls in vars(module).values():
            if isinstance(cls, type) and issubclass(cls, Exception) and not cls.__subclasses__():
                assert cls in known, f"problems.py has no line for {cls.__name__}"


@pytest.mark.parametrize(("exc", "status", "code", "param"), REFUSALS, ids=lambda v: str(v)[:30])
def test_refusals_have_their_status_code_and_param(
    exc: Exception, status: int, code: str, param: str | None
) -> None:
    problem, headers = problem_for(exc, "req_1")
    assert (problem.status, problem.code, problem.param) == (status, code, param)
    assert problem.type == "/errors/" + code.lower().replace("_", "-")
    assert problem.title == CODES[code].title
    assert problem.request_id == "req_1"
    assert "secret" not in problem.detail
    assert ("www-authenticate" in headers) == (status == 401)
    assert ("retry-after" in headers) >= (status == 503)


def test_an_overload_says_when_to_come_back() -> None:
    assert problem_for(app_errors.Overloaded("passwords", 7), "")[1] == {"retry-after": "7"}


@pytest.mark.parametrize(
    "exc",
    [
        app_errors.TooManyAttempts("otp_address", 20, 3600, 7100),
        app_errors.SignInsThrottled("network", 20, 7100),
        app_errors.TooManyKeys(20, 3600, 7100, 1_800_000_000),
    ],
    ids=lambda exc: type(exc).__name__,
)
def test_a_throttle_says_in_words_what_its_headers_say(exc: Exception) -> None:
    """A sliding hour that is used up may take longer than an hour to have room again."""
    problem, headers = problem_for(exc, "")
    assert headers["retry-after"] == "7100"
    assert "20 " in problem.detail
    assert "7100 seconds" in problem.detail
    assert "3600" not in problem.detail


def test_who_has_not_proven_the_address_is_told_how() -> None:
    problem = problem_for(rules.AccountNotActive("acct_1", "unverified"), "")[0]
    assert "address" in problem.detail
    assert problem.hint is not None
    assert "POST /v1/auth/otp" in problem.hint
    assert problem_for(rules.AccountNotActive("acct_1", "suspended"), "")[0].hint is None


def test_forbidden_names_the_missing_right() -> None:
    assert "keys.verify" in problem_for(rules.NotPermitted("keys.verify"), "")[0].detail


@pytest.mark.parametrize("exc", FAULTS)
def test_faults_leak_nothing(exc: Exception) -> None:
    problem, headers = problem_for(exc, "req_1")
    assert (problem.status, problem.code) == (500, "INTERNAL_ERROR")
    assert "secret" not in msgspec.json.encode(problem).decode() + repr(headers)


def test_every_code_that_is_used_is_in_the_catalogue() -> None:
    for file in Path("api").rglob("*.py"):
        for code in re.findall(r'HttpProblem\(\s*"([A-Z_]+)"', file.read_text()):
            assert code in CODES, f"{file} uses {code}"


def test_absent_members_are_left_out() -> None:
    problem, _ = problem_for(HttpProblem("NOT_FOUND", "No such thing."), "req_1")
    members = {"type", "title", "status", "code", "detail", "request_id"}
    assert set(msgspec.json.decode(msgspec.json.encode(problem))) == members


@pytest.mark.parametrize(
    ("message", "code", "param"),
    [
        ("Expected `int`, got `str` - at `$.quota.limit`", "INVALID_REQUEST", "quota.limit"),
        ("Expected `str`, got `int` - at `$.tags[1]`", "INVALID_REQUEST", "tags[1]"),
        ("Expected `str`, got `int` - at `key` in `$.metadata`", "INVALID_REQUEST", "metadata"),
        ("Object missing required field `name`", "INVALID_REQUEST", "name"),
        ("Object contains unknown field `x` - at `$.quota`", "UNKNOWN_FIELD", "quota.x"),
        ("Expected `object`, got `array`", "INVALID_REQUEST", None),
    ],
)
def test_shape_problems_name_the_field(message: str, code: str, param: str | None) -> None:
    problem = shape_problem(message)
    assert (problem.code, problem.param) == (code, param)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_bare_connection_gets_the_same_document() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    problem, headers = problem_for(app_errors.DirectoryStale(), "req_1")
    await respond(send, problem, headers)
    start, body = sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"1"
    assert dict(start["headers"])[b"content-length"] == str(len(body["body"])).encode()
    assert msgspec.json.decode(body["body"])["code"] == "DIRECTORY_STALE"


BAD_QUOTA = b'{"name":"a","quota":{"limit":[]}}'


class Quota(msgspec.Struct, forbid_unknown_fields=True):
    limit: int


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=5)]
    quota: Quota | None = None
    enabled: bool = True


@post("/keys")
async def create(data: JSONBody[NewKey]) -> NewKey:
    return data


@get("/keys/{number:int}")
async def read(
    number: FromPath[int],
    after: FromQuery[str],
    limit: Annotated[int, QueryParameter(ge=1, le=200)] = 50,
) -> dict[str, int]:
    return {"number": number, "limit": limit}


@get("/boom")
async def boom() -> None:
    raise RuntimeError("secret")


@pytest.fixture(params=[StrictBody, None])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient[Any]]:
    routes = [create, read, boom]
    app = Litestar(routes, exception_handlers=EXCEPTION_HANDLERS, dto=request.param)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("GET", "/nowhere", None, 404, "NOT_FOUND", None),
        ("GET", "/keys/x", None, 404, "NOT_FOUND", None),
        ("PUT", "/keys", None, 405, "METHOD_NOT_ALLOWED", None),
        ("POST", "/keys", b"", 400, "INVALID_REQUEST", None),
        ("POST", "/keys", b"{", 400, "MALFORMED_JSON", None),
        ("POST", "/keys", b"[]", 400, "INVALID_REQUEST", None),
        ("POST", "/keys", b"{}", 400, "INVALID_REQUEST", "name"),
        ("POST", "/keys", b'{"name":1}', 400, "INVALID_REQUEST", "name"),
        ("POST", "/keys", b'{"name":"too long"}', 400, "INVALID_REQUEST", "name"),
        ("POST", "/keys", b'{"name":"a","x":1}', 400, "UNKNOWN_FIELD", "x"),
        (
            "POST",
            "/keys",
            b'{"name":"a","quota":{"limit":[]}}',
            400,
            "INVALID_REQUEST",
            "quota.limit",
        ),
        ("GET", "/keys/1", None, 400, "INVALID_REQUEST", "after"),
        ("GET", "/keys/1?after=a&limit=no", None, 400, "INVALID_REQUEST", "limit"),
        ("GET", "/keys/1?after=a&limit=201", None, 400, "INVALID_REQUEST", "limit"),
        ("GET", "/boom", None, 500, "INTERNAL_ERROR", None),
    ],
)
def test_litestars_own_refusals_follow_the_table(
    client: TestClient[Any],
    method: str,
    path: str,
    body: bytes | None,
    status: int,
    code: str,
    param: str | None,
) -> None:
    headers = {"content-type": "application/json"}
    with capture_logs() as lines:
        reply = client.request(method, path, content=body, headers=headers)
    problem = reply.json()
    assert (reply.status_code, problem["code"], problem.get("param")) == (status, code, param)
    assert reply.headers["content-type"] == "application/problem+json"
    assert "secret" not in reply.text
    assert "http://" not in reply.text
    assert ("allow" in reply.headers) == (status == 405)
    assert [line["event"] for line in lines] == ["request_failed"] * (status == 500)


@pytest.mark.parametrize(
    "body", [b'{"name":"a","quota":{"limit":"1"}}', b'{"name":"a","enabled":1}']
)
def test_strict_bodies_take_types_literally(body: bytes) -> None:
    with TestClient(Litestar([create], exception_handlers=EXCEPTION_HANDLERS, dto=StrictBody)) as c:
        reply = c.post("/keys", content=body, headers={"content-type": "application/json"})
        assert reply.status_code == 400
        assert reply.json()["param"] in ("quota.limit", "enabled")


def test_strict_bodies_read_forms_by_the_same_type() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    with TestClient(Litestar([create], exception_handlers=EXCEPTION_HANDLERS, dto=StrictBody)) as c:
        assert c.post("/keys", content="name=a&enabled=false", headers=form).json() == {
            "name": "a",
            "quota": None,
            "enabled": False,
        }
        assert c.post("/keys", content="name=a&x=1", headers=form).json()["param"] == "x"
