"""What closing and restoring an account are refused for; `codes` is where all codes are."""

from api.http.code import Code

CLOSING = (
    Code(
        "ACCOUNT_IS_STAFF",
        409,
        "The account is of staff",
        "An account with a level of staff can't be closed or erased. So nobody shuts out the last "
        "admin by mistake, and what the account did as staff is settled first.",
        "Have an admin withdraw the level (`DELETE /v1/staff/{id}`), then close the account.",
        "The account has a level of staff: dismiss it first.",
    ),
    Code(
        "NOT_CLOSED",
        409,
        "The account can't be restored",
        "Only a closed account can be restored, and only until its grace period is over. Nothing "
        "was changed.",
        "Sign in: an account that was not closed works. After the grace period there is no way "
        "back.",
        "The account is not closed.",
    ),
)
