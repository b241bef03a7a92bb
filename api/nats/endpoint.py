"""One command over NATS, as `services.py` lists them."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from api.commands import Done
from api.http.operation import Operation
from api.nats.call import Call

PREFIX = "tollhouse.cmd."
KIB = 1024

Handler = Callable[[Call, Any], Awaitable[Done | msgspec.Struct]]
"""Carries out what the request asks for; answers a `Done`, or what is to be shown."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A subject, what it takes, and who carries it out.

    `operation` is the same over HTTP, `http` its method and path. `request` is the body:
    unknown fields are refused by it. `permission` is the right that a service key needs.
    `hurried` ones are logged only where that is asked for.
    """

    noun: str
    verb: str
    request: type[msgspec.Struct]
    request_example: object
    operation: Operation
    http: str
    permission: str
    handler: Handler
    most_bytes: int = 64 * KIB
    hurried: bool = False

    @property
    def subject(self) -> str:
        """Where requests are sent to."""
        return f"{PREFIX}{self.noun}.{self.verb}"

    @property
    def name(self) -> str:
        """The subject's last words, in letters and hyphens, as $SRV.INFO wants names."""
        return f"{self.noun}-{self.verb}"

    @property
    def metadata(self) -> dict[str, str]:
        """For $SRV.INFO: how it is called over HTTP, what it needs, and the schema of its body."""
        schema = msgspec.json.encode(msgspec.json.schema(self.request))
        return {
            "summary": self.operation.summary,
            "http": self.http,
            "permission": self.permission,
            "request_schema": schema.decode(),
            "max_bytes": str(self.most_bytes),
        }
