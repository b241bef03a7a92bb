"""API keys through their lives: rotated, brought in from elsewhere, ended after a leak."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.http.answers import Answer, answer, in_utc
from api.http.api_key_shapes import key_fields, own_quota, uses_of
from api.http.api_keys import known_form
from api.http.dependencies import Caller, TheAnalytics, TheCommands, ThePorts
from api.http.key_lineage_operations import IMPORT, LEAK_RESPONSE, ROTATE
from api.http.key_lineage_shapes import (
    ImportRequest,
    LeakRequest,
    RotatedAnswer,
    RotateRequest,
    import_answer,
    leak_answer,
)
from api.http.strict_json import decode
from application import key_import, key_rotation, leaks
from application.key_rotation import RotatedApiKey

AnyRequest = Request[Any, Any, State]


class KeyLineageController(Controller):
    """Of one's own keys; those of others for staff, and services with the right."""

    @post("/v1/keys/{key_id:str}/rotate", opt={"operation": ROTATE}, status_code=200)
    async def rotate(
        self,
        key_id: FromPath[str],
        request: AnyRequest,
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
    ) -> Response[bytes]:
        """Give the key another secret."""
        body = await request.body()
        asked = decode(body, RotateRequest) if body else RotateRequest()
        uses = await uses_of(ports, [known_form(key_id)])

        def show(rotated: RotatedApiKey) -> Answer:
            fields = key_fields(rotated.key, own_quota(ports, key_id), uses.get(key_id))
            return answer(200, RotatedAnswer(key=rotated.secret, **fields))

        return await commands.answer_once(
            actor,
            lambda context: key_rotation.rotate(ports, context, key_id, asked.overlap_seconds),
            show,
            reason=asked.reason,
        )

    @post("/v1/keys/import", opt={"operation": IMPORT})
    async def import_keys(
        self, data: JSONBody[ImportRequest], actor: Caller, ports: ThePorts, commands: TheCommands
    ) -> Response[bytes]:
        """Bring in keys that were made elsewhere, all or none."""
        items = [item.imported(index) for index, item in enumerate(data.items)]
        return await commands.answer_once(
            actor,
            lambda context: key_import.bring_in(ports, context, items),
            lambda keys: answer(201, import_answer(keys)),
            reason=data.reason,
        )

    @post("/v1/keys/{key_id:str}/leak-response", opt={"operation": LEAK_RESPONSE}, status_code=200)
    async def respond_to_leak(
        self,
        key_id: FromPath[str],
        request: AnyRequest,
        actor: Caller,
        ports: ThePorts,
        commands: TheCommands,
        analytics: TheAnalytics,
    ) -> Response[bytes]:
        """End the key, and tell how it was used."""
        body = await request.body()
        asked = decode(body, LeakRequest) if body else LeakRequest()
        since = None if asked.since is None else in_utc(asked.since, "since")
        known_form(key_id)
        return await commands.answer(
            actor,
            lambda context: leaks.leak_response(ports, analytics, context, key_id, since),
            lambda report: answer(200, leak_answer(report)),
            reason=asked.reason,
        )
