"""What is sent back: an answer as HTTP has it, or a problem document, marked as NATS marks it."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from api.commands import Done
from api.http.idempotency import REPLAYED
from api.http.positions import POSITION, token
from api.http.problems import MEDIA_TYPE, answer_for

ERROR = "Nats-Service-Error"
ERROR_CODE = "Nats-Service-Error-Code"
REQUEST_ID = "Request-Id"

_PASSED_ON = {"retry-after": "Retry-After"}
_LIMITS = re.compile(r"(?:x-)?ratelimit(?:-[a-z]+)?")


class Reply(NamedTuple):
    """The answer to one message: its data and its headers."""

    data: bytes
    headers: dict[str, str]

    @property
    def status(self) -> int:
        """200, or the status of the refusal."""
        return int(self.headers.get(ERROR_CODE, "200"))


def done_reply(done: Done, log_id: str, request_id: str) -> Reply:
    """The answer to a command; empty data where HTTP has no content."""
    headers = {REQUEST_ID: request_id, POSITION: token(log_id, done.position)}
    if done.replayed:
        headers[REPLAYED] = "true"
    return Reply(done.answer.body, headers)


def problem_reply(exc: Exception, request_id: str) -> Reply:
    """The problem document that HTTP would answer. The headers name its code and its status,
    and nothing that a caller sent: they are one line each."""
    problem, headers = answer_for(exc, request_id)
    return Reply(
        msgspec.json.encode(problem),
        {
            REQUEST_ID: request_id,
            ERROR: f"{problem.code}: {problem.title}",
            ERROR_CODE: str(problem.status),
            "Content-Type": MEDIA_TYPE,
            **_passed_on(headers),
        },
    )


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Those headers of a refusal that say when to come again."""
    return {
        _PASSED_ON.get(name.lower(), name): value
        for name, value in headers.items()
        if name.lower() in _PASSED_ON or _LIMITS.fullmatch(name.lower())
    }
