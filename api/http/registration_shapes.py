"""What registration, codes by mail and passwords take and answer."""

from typing import Annotated

import msgspec

from api.http.auth_shapes import Password
from application.challenges import OtpPurpose
from application.password_rules import MOST_CHARACTERS, StrengthName

Address = Annotated[str, msgspec.Meta(max_length=254)]
CodeText = Annotated[str, msgspec.Meta(max_length=20, description="The six digits of the mail.")]
ChallengeId = Annotated[str, msgspec.Meta(max_length=64)]
Presented = Annotated[str, msgspec.Meta(max_length=MOST_CHARACTERS)]


class PendingAnswer(msgspec.Struct, frozen=True):
    """A registration that waits for the code of its mail. Whether somebody has the address
    already is not said. `expires_in` is seconds."""

    registration_id: str
    expires_in: int


class ConfirmRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code that was mailed. `username` is in the place of one that was taken meanwhile."""

    registration_id: ChallengeId
    code: CodeText
    username: str | None = None


class OtpRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whom to mail a code, and for what."""

    email: Address
    purpose: OtpPurpose


class ChallengeAnswer(msgspec.Struct, frozen=True):
    """A challenge that was begun, whether or not anybody has the address. `expires_in` is
    seconds."""

    challenge_id: str
    expires_in: int


class OtpVerifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The code, and what it is of: `challenge_id`, or `email` and `purpose` (then the newest
    code for them counts)."""

    code: CodeText
    challenge_id: ChallengeId | None = None
    email: Address | None = None
    purpose: OtpPurpose | None = None


class VerificationAnswer(msgspec.Struct, frozen=True):
    """What proves the address from here on: for one use, for so many seconds."""

    verification_token: str
    expires_in: int


class PasswordChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The password there is, and the one there shall be."""

    current_password: Presented
    new_password: Password


class PasswordResetRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The token of a code for `reset_password`, and the password there shall be."""

    verification_token: Annotated[str, msgspec.Meta(max_length=200)]
    new_password: Password


class StrengthRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A password to judge. `context` is what is known of its owner: address, username, name."""

    password: Presented
    context: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=254)], ...], msgspec.Meta(max_length=10)
    ] = ()


class StrengthAnswer(msgspec.Struct, frozen=True):
    """`score` is from 0 to 4. `acceptable`: it would be taken."""

    score: int
    strength: StrengthName
    warnings: tuple[str, ...]
    acceptable: bool
