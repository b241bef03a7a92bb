"""Registration and codes by mail: what strangers may ask for, and learn nothing by."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody

from api.http.answers import Answer, answer
from api.http.auth_shapes import RegisteredAnswer, RegisterRequest, account_answer
from api.http.dependencies import TheCommands, ThePorts
from api.http.problems import HttpProblem
from api.http.registration_operations import CONFIRM, OTP, OTP_VERIFY, REGISTER
from api.http.registration_shapes import (
    ChallengeAnswer,
    ConfirmRequest,
    OtpRequest,
    OtpVerifyRequest,
    PendingAnswer,
    VerificationAnswer,
)
from api.http.throttle import network_of
from application import challenges, email_addresses, registration
from application.accounts import RegisterAccount, Registered
from application.challenges import TOKEN_SECONDS, Begun, Verified
from application.deciding import PUBLIC, Context
from application.ports import Ports

AnyRequest = Request[Any, Any, State]


class RegistrationController(Controller):
    """All public. An address is proven by the code that was mailed to it, and by nothing else."""

    @post("/v1/auth/register", opt={"operation": REGISTER})
    async def register(
        self,
        data: JSONBody[RegisterRequest],
        request: AnyRequest,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Make an account on the free plan, or begin to."""
        command = RegisterAccount(
            email=data.email,
            password=data.password,
            username=data.username,
            profile=data.profile(),
        )
        network = network_of(request.scope["client"])
        return await commands.answer_once(
            PUBLIC,
            lambda context: registration.register(ports, context, command, network),
            _registered,
            whose=_whose(ports, data.email),
        )

    @post("/v1/auth/register/confirm", opt={"operation": CONFIRM})
    async def confirm(
        self,
        data: JSONBody[ConfirmRequest],
        request: AnyRequest,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Make the account of a registration that waits."""
        network = network_of(request.scope["client"])
        return await commands.answer_once(
            PUBLIC,
            lambda context: registration.confirm(
                ports, context, data.registration_id, data.code, data.username, network
            ),
            _registered,
            whose=_whose(ports, data.registration_id),
        )

    @post("/v1/auth/otp", opt={"operation": OTP}, status_code=202)
    async def otp(
        self,
        data: JSONBody[OtpRequest],
        request: AnyRequest,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Mail a code."""
        network = network_of(request.scope["client"])

        async def begin(context: Context) -> tuple[Begun, int]:
            begun = await challenges.begin(
                ports, data.purpose, data.email, network=network, context=context
            )
            return begun, ports.directory.position

        return await commands.answer_once(
            PUBLIC, begin, begun_answer, whose=_whose(ports, data.email)
        )

    @post("/v1/auth/otp/verify", opt={"operation": OTP_VERIFY}, status_code=200)
    async def otp_verify(
        self,
        data: JSONBody[OtpVerifyRequest],
        request: AnyRequest,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Exchange a code for a token."""
        network = network_of(request.scope["client"])

        async def verify(context: Context) -> tuple[Verified, int]:
            verified = await _verify(ports, data, network)
            if verified.purpose != "verify_email":
                return verified, ports.directory.position
            return verified, await email_addresses.mark_verified(ports, context, verified)

        return await commands.answer(PUBLIC, verify, _verified)


async def _verify(ports: Ports, data: OtpVerifyRequest, network: str) -> Verified:
    if data.challenge_id is not None and data.email is None and data.purpose is None:
        return await challenges.verify(ports, data.challenge_id, data.code, network=network)
    if data.challenge_id is None and data.email is not None and data.purpose is not None:
        return await challenges.verify_newest(
            ports, data.email, data.purpose, data.code, network=network
        )
    detail = "Give either `challenge_id`, or `email` and `purpose`."
    raise HttpProblem("INVALID_REQUEST", detail, param="challenge_id")


def _whose(ports: Ports, name: str) -> str:
    # Strangers share the principal: a key that two of them chose is not the same key.
    plain = name.strip().lower().encode("utf-8", "replace").decode()
    return ports.digests.claims("idempotency", plain)[0].hex()


def _registered(result: Registered | Begun) -> Answer:
    if isinstance(result, Begun):
        return answer(202, PendingAnswer(result.id, result.expires_in))
    return answer(201, RegisteredAnswer(account_answer(result)), "/v1/me")


def begun_answer(begun: Begun) -> Answer:
    """The answer to what begins a challenge, which is always the same."""
    return answer(202, ChallengeAnswer(begun.id, begun.expires_in))


def _verified(verified: Verified) -> Answer:
    return answer(200, VerificationAnswer(verified.token, TOKEN_SECONDS))
