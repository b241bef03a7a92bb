"""Commands over NATS: request/reply on `tollhouse.cmd.>`, for services that are in a hurry.

services.py      which commands there are, and the way of a request through any of them
call.py          one request: its headers, its caller, its command
answers.py       what is sent back, problem documents too
verification.py  keys.verify, keys.verify-batch
keys.py          keys.issue, keys.rotate, keys.revoke
quotas.py        quotas.get
credits.py       credits.spend, credits.hold, credits.capture, credits.release

Nothing here knows a NATS client: a request is a subject, headers and bytes, and so is an answer.
Who subscribes and publishes is `infra/nats/services.py`. The shapes are those of HTTP; what HTTP
has in a path (a key's id, a hold's) is a field of the body.
"""
