"""POST /v1/keys/verify-batch: many verifications in one request, for services."""

from typing import Any

from litestar import Controller, Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation

from api import verification
from api.http.answers import shown
from api.http.callers import credential
from api.http.operation import Operation
from api.http.verify_operation import VERIFY
from api.verification import VerifyBatchAnswer, VerifyBatchRequest
from application.verification import Verifier

VERIFY_BATCH = Operation(
    id="verify_keys",
    tag="API keys",
    summary="Verify many keys",
    description=(
        "Up to 200 verifications in one request, answered in order. Each is judged and counted as "
        "by itself: what comes first takes first, and a denial of one changes nothing for the "
        "others. A bad item (an unknown operation, a query that can't be read) refuses the whole "
        "request before anything is taken. The caller is a service key with `keys.verify`."
    ),
    who="key",
    answer=VerifyBatchAnswer,
    example={"items": [VERIFY.example]},
    body=VerifyBatchRequest,
    body_example={"items": [VERIFY.body_example]},
    reads=True,
    errors=("STORE_UNAVAILABLE", "FORBIDDEN", "INVALID_PERMISSION_QUERY", "UNKNOWN_OPERATION"),
)


class VerifyBatchController(Controller):
    """Verifications, many at once."""

    @post("/v1/keys/verify-batch", status_code=200, opt={"operation": VERIFY_BATCH})
    async def verify_batch(
        self,
        data: JSONBody[VerifyBatchRequest],
        request: Request[Any, Any, State],
        verifier: NamedDependency[SkipValidation[Verifier]],
    ) -> Response[bytes]:
        """The verdicts in order."""
        client = request.scope["client"]
        answer = await verification.verify_batch(
            verifier,
            data,
            credential(request.scope["headers"]),
            None if client is None else client[0],
            request.scope["state"]["request_id"],
        )
        return shown(answer)
