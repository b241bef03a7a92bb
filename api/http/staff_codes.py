"""What staff are refused; `codes` is where all codes are."""

from api.http.code import Code

STAFF = (
    Code(
        "ON_ONESELF",
        403,
        "Not on your own account",
        "What staff do to accounts they can't do to their own: nobody raises, dismisses, closes or "
        "impersonates themselves. Nothing was done.",
        "Ask another member of staff; for your own profile there is `/v1/me`.",
        "Staff do this to other accounts, not to their own.",
    ),
    Code(
        "LAST_ADMIN",
        409,
        "The last admin",
        "Without this account nobody would be left who manages staff, as another admin was "
        "dismissed or suspended meanwhile. Nothing was done.",
        "Appoint another admin first, by `POST /v1/staff` or `tollhouse staff appoint`.",
        "This is the only admin: appoint another one first.",
    ),
    Code(
        "NOT_WHILE_IMPERSONATING",
        403,
        "Not while acting as somebody else",
        "The access token is of staff that acts as this account. Credentials, factors, sessions "
        "and the end of the account are for its owner's own hand. Nothing was done.",
        "Ask the owner to do it; staff can start a password reset for them.",
        "Who acts as somebody else can't do this: it is for that person's own hand.",
    ),
)
