"""What the reference says of a route; the route carries it as `opt={"operation": ...}`."""

from typing import Any, Literal

import msgspec

from domain.staff import Right

Who = Literal["public", "user", "actor", "key", "staff", "service"]
"""Who may call: anybody, an account, whoever acts for accounts, an API key, staff that has the
operation's `right` and services that have its `permission`, or those services alone."""


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the query or, with `place`, of the path or the headers."""

    name: str
    description: str
    schema: dict[str, Any]
    example: object
    place: Literal["query", "path", "header"] = "query"


class Also(msgspec.Struct, frozen=True):
    """Another answer that is no refusal, and when it is given."""

    status: int
    description: str
    answer: type[msgspec.Struct]
    example: object


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation, for `openapi.py`. `example` and `body_example` are whole documents.

    `errors` are the codes of its own; those that follow from what kind of operation it is are
    added. `reads` takes Tollhouse-Min-Position, `commands` answers Tollhouse-Position, `once`
    takes Idempotency-Key. `body_ending`: this in the place of the body, or null, says that there is
    to be none.
    `media_types` are all that it answers in, JSON among them. `also_503`:
    the same document, with 503, where it is bad news. `unlimited`: public, and yet without a
    limit per address.

    `right` is what staff need to reach other people's things by it, `permission` what services
    need. `own_hand`: only for who it is about, not for staff that acts as them. `open_query`:
    parameters of the query that it doesn't know are ignored, as its standard has it, not refused.
    `oauth`: for OAuth clients, whose errors its refusals name as well.
    """

    id: str
    tag: str
    summary: str
    description: str
    who: Who
    status: int = 200
    answer: type[msgspec.Struct] | None = None
    example: object = None
    body: type[msgspec.Struct] | None = None
    body_example: object = None
    body_optional: bool = False
    body_ending: type[msgspec.Struct] | None = None
    form: bool = False
    media_types: tuple[str, ...] = ("application/json",)
    also_503: bool = False
    also: tuple[Also, ...] = ()
    errors: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    reads: bool = False
    commands: bool = False
    once: bool = False
    unlimited: bool = False
    right: Right | None = None
    permission: str | None = None
    own_hand: bool = False
    open_query: bool = False
    oauth: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "Operation":
        """Itself: the framework copies every route with all that it carries, and examples are
        large. Nothing changes an operation."""
        return self

    @property
    def reason(self) -> Literal["always", "staff"] | None:
        """Who has to say why in the body's `reason`: whoever calls, or staff where it isn't their
        own; None where nobody has."""
        if self.right is None or self.body is None or not self.commands:
            return None
        fields = {each.encode_name: each for each in msgspec.structs.fields(self.body)}
        if "reason" not in fields:
            return None
        return "always" if fields["reason"].required else "staff"

    @property
    def limited(self) -> bool:
        """Whether each address may call it only so often."""
        return self.who == "public" and not self.unlimited
