"""The HTTP side, put together: the door, the verify lane, and the framework's app behind it."""

from typing import Any

from litestar import Litestar, Request, Router
from litestar.datastructures import State
from litestar.types import ASGIApp

from api import asyncapi
from api.http.access import gate
from api.http.accounts import AccountController
from api.http.analytics import AnalyticsController
from api.http.api_keys import ApiKeyController
from api.http.closing import ClosingController
from api.http.cors import Cors
from api.http.credits import CreditController
from api.http.dependencies import callers, dependencies
from api.http.door import Door
from api.http.duties import DutyController
from api.http.error_pages import ERROR_ROUTES
from api.http.factors import FactorController
from api.http.health import HealthProbe, health_routes
from api.http.history import HistoryController
from api.http.key_lineage import KeyLineageController
from api.http.login import LoginController
from api.http.me import MeController
from api.http.oauth import OAuthController
from api.http.openapi import document
from api.http.passkeys import PasskeyController
from api.http.passwords import PasswordController
from api.http.plans import PlanController
from api.http.positions import MIN_POSITION, await_position
from api.http.problems import EXCEPTION_HANDLERS
from api.http.purchases import PurchaseController
from api.http.quotas import QuotaController
from api.http.reference import reference_routes
from api.http.registration import RegistrationController
from api.http.sessions import SessionController
from api.http.staff import StaffController
from api.http.strict_body import StrictBody
from api.http.throttle import Throttle
from api.http.verify_batch import VerifyBatchController
from api.http.verify_lane import VerifyLane
from api.http.well_known import WellKnownController
from application.ports import Analytics, Ports
from application.rate_limits import RateLimits
from application.verification import Verifier

CONTROLLERS = [
    LoginController,
    FactorController,
    PasskeyController,
    RegistrationController,
    PasswordController,
    MeController,
    ClosingController,
    ApiKeyController,
    KeyLineageController,
    VerifyBatchController,
    HistoryController,
    PlanController,
    QuotaController,
    AnalyticsController,
    PurchaseController,
    CreditController,
    SessionController,
    OAuthController,
    WellKnownController,
    AccountController,
    DutyController,
    StaffController,
]


def create_app(
    ports: Ports,
    verifier: Verifier,
    health: HealthProbe,
    *,
    version: str,
    environment: str,
    production: bool,
    log_lane: bool = False,
    analytics: Analytics | None = None,
    limits: RateLimits | None = None,
    ip_allow: tuple[str, ...] = (),
    cors_origins: tuple[str, ...] = (),
) -> ASGIApp:
    """The whole HTTP side as one ASGI app. Opens nothing, and keeps nothing outside of it.

    `production` is for where HTTPS is a given: browsers are told to insist on it.
    `limits` hold per address; without them nobody is limited. `ip_allow` are the networks that
    may call at all, `cors_origins` the pages that browsers let call.
    """
    throttle = Throttle(limits) if limits is not None else None
    versioned = _versioned(ports, verifier, analytics)
    app = Litestar(
        [versioned, *health_routes(health, version, environment), *ERROR_ROUTES],
        dto=StrictBody,
        guards=[throttle.guard] if throttle is not None else None,
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        logging_config=None,
    )
    for route in reference_routes(document(app, version), asyncapi.document(version)):
        app.register(route)
    lane = VerifyLane(verifier, ports.directory, ports.store.log_id)
    return Door(
        app,
        lane=lane,
        express=lane,
        production=production,
        log_lane=log_lane,
        throttle=throttle,
        ip_allow=ip_allow,
        cors=Cors(cors_origins) if cors_origins else None,
    )


def _versioned(ports: Ports, verifier: Verifier, analytics: Analytics | None) -> Router:
    """Everything under /v1: who calls is known there, and the position that they want is seen."""

    async def see_position(request: Request[Any, Any, State]) -> None:
        wanted = request.headers.get(MIN_POSITION)
        if wanted is not None:
            await await_position(ports.directory, ports.store.log_id, wanted)

    return Router(
        "/",
        route_handlers=CONTROLLERS,
        before_request=see_position,
        guards=[gate(callers(ports, verifier))],
        dependencies=dependencies(ports, verifier, analytics),
    )
