"""The OpenAPI document is valid, complete, and true."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api.http.account_shapes import (
    AmendAccountRequest,
    CloseAccountRequest,
    MakeAccountRequest,
    ReasonRequest,
    RotateForRequest,
)
from api.http.analytics_shapes import QueryRequest
from api.http.api_key_shapes import AmendRequest, IssueRequest, RevokeRequest
from api.http.auth_shapes import RegisterRequest
from api.http.closing_shapes import CloseRequest, ImportAccountsRequest, RestoreRequest
from api.http.codes import CODES
from api.http.credit_shapes import (
    CaptureRequest,
    CheckRequest,
    GrantRequest,
    HoldRequest,
    ReleaseRequest,
    SpendRequest,
)
from api.http.factor_shapes import PasskeyRequest, TotpConfirmRequest
from api.http.key_lineage_shapes import ImportRequest, LeakRequest, RotateRequest
from api.http.login_shapes import LoginRequest, PasskeyLoginRequest
from api.http.plan_shapes import (
    AssignRequest,
    CancelRequest,
    ChangeRequest,
    PublishRequest,
    UpgradeRequest,
)
from api.http.profile_shapes import AmendMeRequest, EmailChangeRequest, EmailConfirmRequest
from api.http.purchase_shapes import NoticeRequest, PurchaseRequest
from api.http.quota_operations import QuotaRequest, ResetRequest
from api.http.registration_shapes import (
    ConfirmRequest,
    OtpRequest,
    OtpVerifyRequest,
    PasswordChangeRequest,
    PasswordResetRequest,
    StrengthRequest,
)
from api.http.session_shapes import RefreshRequest, TokenRequest
from api.http.staff_shapes import AppointRequest, MoveRequest
from api.verification import VerifyBatchRequest, VerifyRequest
from tests.api.conftest import People

pytestmark = pytest.mark.anyio

ROUTES = {
    ("post", "/v1/auth/register"),
    ("post", "/v1/auth/login"),
    ("post", "/v1/auth/passkey/options"),
    ("post", "/v1/auth/passkey"),
    ("post", "/v1/me/totp"),
    ("delete", "/v1/me/totp"),
    ("post", "/v1/me/totp/confirm"),
    ("post", "/v1/me/recovery-codes"),
    ("post", "/v1/me/passkeys/options"),
    ("post", "/v1/me/passkeys"),
    ("get", "/v1/me/passkeys"),
    ("delete", "/v1/me/passkeys/{passkey_id}"),
    ("post", "/v1/auth/register/confirm"),
    ("post", "/v1/auth/otp"),
    ("post", "/v1/auth/otp/verify"),
    ("post", "/v1/auth/password/change"),
    ("post", "/v1/auth/password/reset"),
    ("post", "/v1/auth/password/strength"),
    ("get", "/v1/me"),
    ("patch", "/v1/me"),
    ("delete", "/v1/me"),
    ("post", "/v1/me/restore"),
    ("post", "/v1/auth/refresh"),
    ("post", "/v1/auth/logout"),
    ("post", "/v1/auth/logout-all"),
    ("get", "/v1/auth/token"),
    ("get", "/v1/me/sessions"),
    ("delete", "/v1/me/sessions/{session_id}"),
    ("post", "/oauth/introspect"),
    ("post", "/oauth/revoke"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/.well-known/oauth-authorization-server"),
    ("post", "/v1/accounts/import"),
    ("post", "/v1/me/email/change"),
    ("post", "/v1/me/email/confirm"),
    ("get", "/v1/accounts"),
    ("post", "/v1/accounts"),
    ("get", "/v1/accounts/{account_id}"),
    ("patch", "/v1/accounts/{account_id}"),
    ("delete", "/v1/accounts/{account_id}"),
    ("post", "/v1/accounts/{account_id}/suspend"),
    ("post", "/v1/accounts/{account_id}/reinstate"),
    ("post", "/v1/accounts/{account_id}/sessions/end"),
    ("post", "/v1/accounts/{account_id}/password/reset"),
    ("post", "/v1/accounts/{account_id}/keys/{key_id}/rotate"),
    ("post", "/v1/accounts/{account_id}/impersonation"),
    ("get", "/v1/staff"),
    ("post", "/v1/staff"),
    ("patch", "/v1/staff/{staff_id}"),
    ("delete", "/v1/staff/{staff_id}"),
    ("post", "/v1/keys"),
    ("get", "/v1/keys"),
    ("get", "/v1/keys/{key_id}"),
    ("patch", "/v1/keys/{key_id}"),
    ("post", "/v1/keys/{key_id}/revoke"),
    ("post", "/v1/keys/{key_id}/rotate"),
    ("post", "/v1/keys/{key_id}/leak-response"),
    ("post", "/v1/keys/import"),
    ("post", "/v1/keys/verify"),
    ("post", "/v1/keys/verify-batch"),
    ("get", "/v1/keys/whoami"),
    ("get", "/v1/keys/{key_id}/history"),
    ("get", "/v1/accounts/{account_id}/history"),
    ("get", "/v1/events"),
    ("get", "/v1/events/{position}"),
    ("get", "/v1/verifications/{verification_id}/explain"),
    ("get", "/v1/plans"),
    ("post", "/v1/plans"),
    ("get", "/v1/plans/current"),
    ("get", "/v1/plans/comparison"),
    ("post", "/v1/plans/upgrade"),
    ("get", "/v1/plans/{name}"),
    ("patch", "/v1/plans/{name}"),
    ("post", "/v1/plans/{name}/retire"),
    ("get", "/v1/plans/{name}/features/{feature}"),
    ("put", "/v1/accounts/{account_id}/plan"),
    ("delete", "/v1/accounts/{account_id}/plan/next"),
    ("put", "/v1/accounts/{account_id}/quota"),
    ("put", "/v1/keys/{key_id}/quota"),
    ("get", "/v1/quotas"),
    ("post", "/v1/quotas/reset"),
    ("get", "/v1/credits"),
    ("get", "/v1/credits/history"),
    ("post", "/v1/credits/check"),
    ("get", "/v1/credits/costs"),
    ("post", "/v1/credits/grants"),
    ("post", "/v1/credits/spend"),
    ("post", "/v1/credits/holds"),
    ("post", "/v1/credits/holds/{hold_id}/capture"),
    ("post", "/v1/credits/holds/{hold_id}/release"),
    ("post", "/v1/analytics/query"),
    ("get", "/v1/analytics/usage"),
    ("get", "/v1/credits/packages"),
    ("post", "/v1/credits/purchases"),
    ("get", "/v1/credits/purchases"),
    ("get", "/v1/credits/purchases/{purchase_id}"),
    ("post", "/v1/payments/webhook/{provider}"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
    ("get", "/health"),
}
OAUTH_TOO = {"application/json"}
FOR_OAUTH = {"introspect", "revoke_token", "refresh"}
"""Their refusals are OAuth's as well, for whom OAuth has them be plain JSON."""
BODIES: dict[str, type[msgspec.Struct]] = {
    "close_me": CloseRequest,
    "refresh": RefreshRequest,
    "introspect": TokenRequest,
    "revoke_token": TokenRequest,
    "restore_me": RestoreRequest,
    "import_accounts": ImportAccountsRequest,
    "make_account": MakeAccountRequest,
    "amend_account": AmendAccountRequest,
    "close_account": CloseAccountRequest,
    "suspend_account": ReasonRequest,
    "reinstate_account": ReasonRequest,
    "end_account_sessions": ReasonRequest,
    "start_password_reset": ReasonRequest,
    "rotate_account_key": RotateForRequest,
    "impersonate": ReasonRequest,
    "appoint_staff": AppointRequest,
    "move_staff": MoveRequest,
    "dismiss_staff": ReasonRequest,
    "publish_plan": PublishRequest,
    "change_plan": ChangeRequest,
    "upgrade_plan": UpgradeRequest,
    "assign_plan": AssignRequest,
    "cancel_plan_change": CancelRequest,
    "set_account_quota": QuotaRequest,
    "set_key_quota": QuotaRequest,
    "reset_quotas": ResetRequest,
    "register": RegisterRequest,
    "login": LoginRequest,
    "passkey_login": PasskeyLoginRequest,
    "confirm_totp": TotpConfirmRequest,
    "add_passkey": PasskeyRequest,
    "confirm_registration": ConfirmRequest,
    "send_code": OtpRequest,
    "verify_code": OtpVerifyRequest,
    "change_password": PasswordChangeRequest,
    "reset_password": PasswordResetRequest,
    "judge_password": StrengthRequest,
    "amend_me": AmendMeRequest,
    "change_email": EmailChangeRequest,
    "confirm_email": EmailConfirmRequest,
    "issue_key": IssueRequest,
    "amend_key": AmendRequest,
    "revoke_key": RevokeRequest,
    "rotate_key": RotateRequest,
    "respond_to_leak": LeakRequest,
    "import_keys": ImportRequest,
    "verify_key": VerifyRequest,
    "verify_keys": VerifyBatchRequest,
    "check_credits": CheckRequest,
    "grant_credits": GrantRequest,
    "spend_credits": SpendRequest,
    "hold_credits": HoldRequest,
    "capture_hold": CaptureRequest,
    "release_hold": ReleaseRequest,
    "query_lake": QueryRequest,
    "start_purchase": PurchaseRequest,
    "payment_webhook": NoticeRequest,
}


@pytest.fixture
async def document(client: httpx.AsyncClient) -> dict[str, Any]:
    reply = await client.get("/openapi.json")
    assert reply.status_code == 200
    parsed: dict[str, Any] = reply.json()
    return parsed


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method, path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


async def test_it_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    assert set(operations(document)) == ROUTES


async def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    found = operations(document)
    assert len({operation["operationId"] for operation in found.values()}) == len(found)
    for (_, path), operation in found.items():
        assert operation["summary"]
        assert operation["description"]
        assert operation["tags"]
        content = operation.get("requestBody", {}).get("content", {})
        assert all("example" in media for media in content.values())
        for status, response in operation["responses"].items():
            media = response.get("content", {})
            if (path, status) == ("/oauth/revoke", "200"):
                assert not media  # RFC 7009, 2.2: the status says it all
            elif status < "400" and status != "204":
                assert media["application/json"]["example"]
            elif status >= "400" and not path.startswith("/health"):
                assert set(media) - OAUTH_TOO == {"application/problem+json"}
                assert ("application/json" in media) == (operation["operationId"] in FOR_OAUTH)
                for code, example in media["application/problem+json"]["examples"].items():
                    assert CODES[code].status == int(status)
                    assert example["value"]["code"] == code


async def test_examples_of_bodies_are_taken(document: dict[str, Any]) -> None:
    for operation in operations(document).values():
        if "requestBody" in operation:
            example = operation["requestBody"]["content"]["application/json"]["example"]
            msgspec.convert(json.loads(json.dumps(example)), BODIES[operation["operationId"]])


async def test_examples_of_answers_have_the_shape_of_answers(
    client: httpx.AsyncClient, people: People, document: dict[str, Any]
) -> None:
    headers = await people.user()
    key = await people.key(headers)
    mine = {"x-api-key": key["key"]}
    found = operations(document)
    for path, given in (
        ("/v1/me", headers),
        ("/v1/keys", headers),
        ("/v1/auth/token", headers),
        ("/v1/me/sessions", headers),
        ("/.well-known/jwks.json", {}),
        ("/.well-known/oauth-authorization-server", {}),
        ("/v1/plans", {}),
        ("/v1/plans/current", headers),
        ("/v1/plans/comparison", {}),
        ("/v1/quotas", headers),
        ("/v1/credits/packages", {}),
        ("/v1/credits/purchases", headers),
        ("/v1/keys/whoami", mine),
        ("/health", {}),
        ("/health/ready", {}),
        ("/health/live", {}),
    ):
        answer = (await client.get(path, headers=given)).json()
        content = found["get", path]["responses"]["200"]["content"]
        assert set(content["application/json"]["example"]) == set(answer)
    verdict = (await client.post("/v1/keys/verify", json={}, headers=mine)).json()
    content = found["post", "/v1/keys/verify"]["responses"]["200"]["content"]
    assert set(content["application/json"]["example"]) == set(verdict)


async def test_protected_operations_say_how_to_get_in(document: dict[str, Any]) -> None:
    schemes = document["components"]["securitySchemes"]
    assert set(schemes) == {"bearer", "key", "cookie", "client"}
    for operation in operations(document).values():
        refusals = operation["responses"].get("401", {"content": {}})["content"]
        examples = refusals.get("application/problem+json", {"examples": {}})["examples"]
        assert ("UNAUTHENTICATED" in examples) == bool(operation["security"])


async def test_the_reference_and_the_error_pages_are_there(client: httpx.AsyncClient) -> None:
    for path in ("/docs", "/errors", "/errors/not-found"):
        assert (await client.get(path)).status_code == 200
