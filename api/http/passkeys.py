"""Passkeys of the own account."""

from litestar import Controller, Response, delete, get, post
from litestar.params import FromPath, JSONBody

from api.http.answers import NO_CONTENT, answer, shown
from api.http.dependencies import Caller, TheCommands, ThePorts
from api.http.factor_operations import ADD_PASSKEY, NEW_PASSKEY_OPTIONS, PASSKEYS, REMOVE_PASSKEY
from api.http.factor_shapes import PasskeyRequest, added_answer, passkey_page
from api.http.login_shapes import PasskeyOptionsAnswer
from application import passkeys
from application.deciding import Context
from application.passkey_challenges import TTL_SECONDS


class PasskeyController(Controller):
    """For who signed in; to change them, just now."""

    @post("/v1/me/passkeys/options", status_code=200, opt={"operation": NEW_PASSKEY_OPTIONS})
    async def options(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """What the browser makes a passkey from."""
        return shown(PasskeyOptionsAnswer(await passkeys.options(ports, user), TTL_SECONDS))

    @post("/v1/me/passkeys", opt={"operation": ADD_PASSKEY})
    async def add(
        self, data: JSONBody[PasskeyRequest], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Register what it made."""
        credential = data.credential.json()
        return await commands.answer_once(
            user,
            lambda context: passkeys.add(ports, context, credential, data.name),
            lambda added: answer(201, added_answer(added), "/v1/me/passkeys"),
        )

    @get("/v1/me/passkeys", opt={"operation": PASSKEYS})
    async def list_passkeys(self, user: Caller, ports: ThePorts) -> Response[bytes]:
        """All of the caller's."""
        return shown(passkey_page(await passkeys.of_caller(ports, user)))

    @delete("/v1/me/passkeys/{passkey_id:str}", status_code=200, opt={"operation": REMOVE_PASSKEY})
    async def remove(
        self, passkey_id: FromPath[str], user: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """One of the caller's."""

        async def carry(context: Context) -> tuple[None, int]:
            return None, await passkeys.remove(ports, context, passkey_id)

        return await commands.answer(user, carry, lambda _: NO_CONTENT)
