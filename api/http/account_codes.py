"""What accounts are refused because somebody else holds it; `codes` is where all codes are."""

from api.http.code import Code

ACCOUNTS = (
    Code(
        "EMAIL_TAKEN",
        409,
        "The email address is taken",
        "An account with this email address exists already.",
        "Sign in, or reset the password, or register with another address.",
        "This email address is taken.",
        "email",
    ),
    Code(
        "USERNAME_TAKEN",
        409,
        "The username is taken",
        "An account with this username exists already. Usernames are compared without regard to "
        "case.",
        "Choose another username.",
        "This username is taken.",
        "username",
    ),
    Code(
        "ALREADY_TAKEN",
        409,
        "Somebody else holds this already",
        "A value that has to be unique, such as the digest of an imported key, is held already.",
        "Use another value. A key that was imported once needs no second import.",
        "This key digest is taken.",
    ),
)
