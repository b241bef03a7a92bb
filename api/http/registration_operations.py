"""What the reference says of registration, codes by mail and passwords."""

from api.http.auth_operations import ACCOUNT_EXAMPLE
from api.http.auth_shapes import RegisteredAnswer, RegisterRequest
from api.http.operation import Also, Operation
from api.http.registration_shapes import (
    ChallengeAnswer,
    ConfirmRequest,
    OtpRequest,
    OtpVerifyRequest,
    PasswordChangeRequest,
    PasswordResetRequest,
    PendingAnswer,
    StrengthAnswer,
    StrengthRequest,
    VerificationAnswer,
)

_TAG = "Accounts"
_REGISTRATION = "reg_01kamzq3v0b6f7n8w9x2y4z5ac"
_CHALLENGE = "chl_01kamzq3v0b6f7n8w9x2y4z5ad"
_TOKEN = "thv_Zm9yIGV4YW1wbGUgb25seSwgbm90IGEgdG9rZW4"  # noqa: S105 - an example
_PASSWORD = "correct horse battery staple"  # noqa: S105 - an example
_NEW_PASSWORD = "seven green bottles, one violin"  # noqa: S105 - an example

REGISTER = Operation(
    id="register",
    tag=_TAG,
    summary="Register an account",
    description=(
        "Makes an account on the free plan, which gets no key: `POST /v1/keys` makes those. Where "
        "addresses must be proven the answer is always 202, whether or not somebody has this one: "
        "a code is mailed, nothing is reserved, and `POST /v1/auth/register/confirm` makes the "
        "account."
    ),
    who="public",
    status=201,
    answer=RegisteredAnswer,
    example={"account": ACCOUNT_EXAMPLE},
    also=(
        Also(
            202,
            "The address must be proven first",
            PendingAnswer,
            {"registration_id": _REGISTRATION, "expires_in": 600},
        ),
    ),
    body=RegisterRequest,
    body_example={
        "email": "ada@example.com",
        "password": _PASSWORD,
        "username": "ada",
        "name": "Ada Lovelace",
    },
    form=True,
    commands=True,
    once=True,
    errors=("EMAIL_TAKEN", "USERNAME_TAKEN", "TOO_MANY_REQUESTS", "OVERLOADED"),
)

CONFIRM = Operation(
    id="confirm_registration",
    tag=_TAG,
    summary="Confirm a registration",
    description=(
        "Makes the account, with the code that was mailed. Its address and username are judged "
        "here; where the username was taken meanwhile, confirm again with another one."
    ),
    who="public",
    status=201,
    answer=RegisteredAnswer,
    example={"account": {**ACCOUNT_EXAMPLE, "email_verified": True}},
    body=ConfirmRequest,
    body_example={"registration_id": _REGISTRATION, "code": "482915"},
    commands=True,
    once=True,
    errors=("INVALID_CODE", "EMAIL_TAKEN", "USERNAME_TAKEN"),
)

OTP = Operation(
    id="send_code",
    tag=_TAG,
    summary="Mail a code",
    description=(
        "Mails six digits, good for ten minutes, one use and five guesses: to prove an address "
        "(`verify_email`), to set another password (`reset_password`), or to sign in without one "
        "(`sign_in`). The answer is the same whether or not anybody has the address."
    ),
    who="public",
    status=202,
    answer=ChallengeAnswer,
    example={"challenge_id": _CHALLENGE, "expires_in": 600},
    body=OtpRequest,
    body_example={"email": "ada@example.com", "purpose": "reset_password"},
    commands=True,
    once=True,
    errors=("TOO_MANY_REQUESTS",),
)

OTP_VERIFY = Operation(
    id="verify_code",
    tag=_TAG,
    summary="Exchange a code for a token",
    description=(
        "Answers a token that opens `POST /v1/auth/password/reset` or, for `sign_in`, "
        "`POST /v1/auth/login`: once, and for what the code was asked for. A code for "
        "`verify_email` marks the address as proven at once. By `email` and `purpose` a code takes "
        "two guesses only; the others are left to who has the `challenge_id`."
    ),
    who="public",
    answer=VerificationAnswer,
    example={"verification_token": _TOKEN, "expires_in": 3600},
    body=OtpVerifyRequest,
    body_example={"challenge_id": _CHALLENGE, "code": "482915"},
    commands=True,
    errors=("INVALID_CODE",),
)

CHANGE_PASSWORD = Operation(
    id="change_password",
    tag=_TAG,
    summary="Change the own password",
    description=(
        "Takes the current password, too. The other sessions end, and so do all access tokens: "
        "refresh this session's. The owner gets a mail."
    ),
    who="user",
    own_hand=True,
    status=204,
    body=PasswordChangeRequest,
    body_example={"current_password": _PASSWORD, "new_password": _NEW_PASSWORD},
    commands=True,
    errors=("WRONG_CREDENTIALS", "SIGN_IN_LOCKED", "TOO_MANY_REQUESTS", "OVERLOADED"),
)

RESET_PASSWORD = Operation(
    id="reset_password",
    tag=_TAG,
    summary="Reset a password",
    description=(
        "Sets another password for whom a code for `reset_password` proved, and ends all "
        "sessions. It signs nobody in, and a second factor stays what it was. The owner gets a "
        "mail."
    ),
    who="public",
    status=204,
    body=PasswordResetRequest,
    body_example={"verification_token": _TOKEN, "new_password": _NEW_PASSWORD},
    commands=True,
    errors=("WRONG_CREDENTIALS", "OVERLOADED"),
)

STRENGTH = Operation(
    id="judge_password",
    tag=_TAG,
    summary="Judge a password",
    description=(
        "Says how hard a password is to guess, and whether it would be taken. Nothing is kept of "
        "it."
    ),
    who="public",
    answer=StrengthAnswer,
    example={"score": 4, "strength": "very strong", "warnings": [], "acceptable": True},
    body=StrengthRequest,
    body_example={"password": _PASSWORD, "context": ["ada@example.com", "Ada Lovelace"]},
    errors=("OVERLOADED",),
)
