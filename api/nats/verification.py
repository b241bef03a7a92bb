"""Verification over NATS: the same engine, and the same group commit, as HTTP's verify lane.

There is no address that a caller calls from, so a key with an allow-list of addresses can't call
over NATS, neither for itself nor as a service. Of a key that it verifies, a service says in `ip`
where it was presented.
"""

from api import verification
from api.http.verify_batch import VERIFY_BATCH
from api.http.verify_operation import VERIFY
from api.nats.call import Call
from api.nats.endpoint import KIB, Endpoint
from api.verification import VerifyBatchAnswer, VerifyBatchRequest, VerifyRequest
from application.verdicts import Verdict


async def verify(call: Call, request: VerifyRequest) -> Verdict:
    """The verdict on a key; on the caller's own where the request names none."""
    return await verification.verify(call.verifier, request, call.secret, None, call.request_id)


async def verify_batch(call: Call, request: VerifyBatchRequest) -> VerifyBatchAnswer:
    """The verdicts on up to 200 keys, in order."""
    return await verification.verify_batch(
        call.verifier, request, call.secret, None, call.request_id
    )


VERIFICATION = (
    Endpoint(
        noun="keys",
        verb="verify",
        request=VerifyRequest,
        request_example=VERIFY.body_example,
        operation=VERIFY,
        http="POST /v1/keys/verify",
        permission="keys.verify",
        handler=verify,
        hurried=True,
    ),
    Endpoint(
        noun="keys",
        verb="verify-batch",
        request=VerifyBatchRequest,
        request_example=VERIFY_BATCH.body_example,
        operation=VERIFY_BATCH,
        http="POST /v1/keys/verify-batch",
        permission="keys.verify",
        handler=verify_batch,
        most_bytes=1024 * KIB,
        hurried=True,
    ),
)
