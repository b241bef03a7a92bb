"""An account as the reference shows it, for the operations that answer one."""

ACCOUNT_EXAMPLE: dict[str, object] = {
    "id": "acct_01kamzq3v0b6f7n8w9x2y4z5ac",
    "email": "ada@example.com",
    "username": "ada",
    "name": "Ada Lovelace",
    "phone": None,
    "about": None,
    "hobbies": None,
    "avatar_url": None,
    "wallet_address": None,
    "kind": "personal",
    "actor_type": "user",
    "plan": "free",
    "roles": [],
    "status": "active",
    "email_verified": False,
    "registered_at": "2026-01-31T12:00:00Z",
}
