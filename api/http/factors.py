"""Second factors of the own account: an authenticator app and recovery codes."""

import io

import segno
from litestar import Controller, Response, delete, post
from litestar.params import JSONBody

from api.http.answers import NO_CONTENT, Answer, answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.factor_operations import CONFIRM_TOTP, OFFER_TOTP, RECOVERY_CODES, REMOVE_TOTP
from api.http.factor_shapes import RecoveryCodesAnswer, TotpAnswer, TotpConfirmRequest
from application import factors
from application.deciding import Context
from application.factors import Codes


class FactorController(Controller):
    """For who signed in, and just now."""

    @post("/v1/me/totp", status_code=200, opt={"operation": OFFER_TOTP})
    async def offer(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """A secret for an app."""
        offered = await factors.offer_totp(ports, user)
        qr = qr_svg(offered.uri)
        return shown(TotpAnswer(offered.uri, qr, offered.secret, offered.expires_in))

    @post("/v1/me/totp/confirm", status_code=200, opt={"operation": CONFIRM_TOTP})
    async def confirm(
        self,
        data: JSONBody[TotpConfirmRequest],
        user: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """The app has the secret."""
        return await commands.answer_once(
            user,
            lambda context: factors.confirm_totp(ports, context, data.code),
            lambda codes: answer(200, RecoveryCodesAnswer(codes.codes)),
        )

    @delete("/v1/me/totp", status_code=200, opt={"operation": REMOVE_TOTP})
    async def remove(self, user: Caller, ports: ThePorts, commands: TheCommands) -> Response[bytes]:
        """No app any more."""

        async def carry(context: Context) -> tuple[None, int]:
            return None, await factors.remove_totp(ports, context)

        return await commands.answer(user, carry, lambda _: NO_CONTENT)

    @post("/v1/me/recovery-codes", opt={"operation": RECOVERY_CODES})
    async def recovery_codes(
        self, user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """New ones in the place of all others."""
        return await commands.answer_once(
            user, lambda context: factors.issue_recovery_codes(ports, context), _issued
        )


def qr_svg(text: str) -> str:
    """A QR code of this text as an SVG document, dark on light, with its quiet zone."""
    out = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(out, kind="svg", scale=4, border=4, light="#fff", xmldecl=False, nl=False)
    return out.getvalue().decode()


def _issued(codes: Codes) -> Answer:
    return answer(201, RecoveryCodesAnswer(codes.codes))
