"""What the reference says of the own account."""

from api.http.auth_operations import ACCOUNT_EXAMPLE
from api.http.auth_shapes import AccountAnswer
from api.http.operation import Operation
from api.http.profile_shapes import AmendMeRequest, EmailChangeRequest, EmailConfirmRequest
from api.http.registration_shapes import ChallengeAnswer

_CHALLENGE = "chl_01kamzq3v0b6f7n8w9x2y4z5ad"

ME = Operation(
    id="me",
    tag="Accounts",
    summary="Read the own account",
    description="The account of who calls, with what only its owner may see.",
    who="user",
    answer=AccountAnswer,
    example=ACCOUNT_EXAMPLE,
    reads=True,
    errors=("STORE_UNAVAILABLE",),
)

AMEND_ME = Operation(
    id="amend_me",
    tag="Accounts",
    summary="Change the own profile",
    description=(
        "Changes what is in the body, and leaves the rest. A wallet address in mixed case must "
        "have its checksum (EIP-55), and gets it otherwise. A username that is given up is free "
        "for others at once. The address has its own way: `POST /v1/me/email/change`."
    ),
    who="user",
    answer=AccountAnswer,
    example={**ACCOUNT_EXAMPLE, "about": "writes programs"},
    body=AmendMeRequest,
    body_example={"about": "writes programs", "phone": None},
    commands=True,
    errors=("USERNAME_TAKEN",),
)

CHANGE_EMAIL = Operation(
    id="change_email",
    tag="Accounts",
    summary="Change the own address",
    description=(
        "Mails a code to the new address; nothing changes before it comes back. Takes the "
        "password, or a sign-in of the last ten minutes. The answer is the same whether or not "
        "somebody has that address."
    ),
    who="user",
    own_hand=True,
    status=202,
    answer=ChallengeAnswer,
    example={"challenge_id": _CHALLENGE, "expires_in": 600},
    body=EmailChangeRequest,
    body_example={
        "email": "ada@example.org",
        "current_password": "correct horse battery staple",
    },
    commands=True,
    once=True,
    errors=(
        "WRONG_CREDENTIALS",
        "FRESH_SIGN_IN_REQUIRED",
        "SIGN_IN_LOCKED",
        "TOO_MANY_REQUESTS",
        "OVERLOADED",
    ),
)

CONFIRM_EMAIL = Operation(
    id="confirm_email",
    tag="Accounts",
    summary="Confirm another address",
    description=(
        "The account has the address whose code this is. A notice goes to the address before."
    ),
    who="user",
    own_hand=True,
    answer=AccountAnswer,
    example={**ACCOUNT_EXAMPLE, "email": "ada@example.org", "email_verified": True},
    body=EmailConfirmRequest,
    body_example={"challenge_id": _CHALLENGE, "code": "482915"},
    commands=True,
    errors=("INVALID_CODE", "EMAIL_TAKEN"),
)
