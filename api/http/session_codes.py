"""What sessions are refused with; `codes` is where all codes are."""

from api.http.code import Code

SESSIONS = (
    Code(
        "REFRESH_TOKEN_INVALID",
        401,
        "The refresh token is not valid",
        "It is none of ours, it has expired, its session has ended, or it was exchanged before: "
        "then somebody has a copy, and the session has just been ended for everybody. Which of "
        "these it is isn't said.",
        "Sign in again. Exchange each refresh token once, and keep the new one in the place of "
        "the old; the same one again within ten seconds is answered like the first time.",
        "This refresh token opens nothing, or nothing any more.",
    ),
    Code(
        "CSRF_REFUSED",
        403,
        "Not sent by a page of this session",
        "The request is authenticated by cookies, which browsers add by themselves, and it changes "
        "something: then it has to prove that a page of this origin sent it. Nothing was done.",
        "Send the value of the cookie `__Host-tollhouse_csrf` as `X-CSRF-Token`, from a page of "
        "this origin, or of one of the same site that `TOLLHOUSE_CORS_ORIGINS` lists.",
        "X-CSRF-Token is missing.",
    ),
)
