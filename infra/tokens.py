"""Access tokens: JWTs (RFC 7519, 9068) signed with Ed25519 (RFC 8037), one algorithm per key.

The algorithm comes from the key, never from the token (RFC 8725, 3.1); headers that point
to other keys (`jku`, `x5u`, `jwk`) are not looked at.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import jwt
import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from application.errors import Unauthenticated
from application.ports import AccessClaims
from infra.postgres.connection import conninfo
from infra.vault import MasterKeyVault, key_id

ALGORITHM = "EdDSA"
TYPE = "at+jwt"
LEEWAY_SECONDS = 5
_REQUIRED = ["iss", "aud", "sub", "sid", "jti", "iat", "exp", "epoch"]


class SignedTokens:
    """Implements application.ports.Tokens. `keys` are by key id, the newest last signs."""

    def __init__(self, keys: Mapping[str, Ed25519PrivateKey], issuer: str, audience: str) -> None:
        self._issuer = issuer
        self._audience = audience
        self._public = {kid: key.public_key() for kid, key in keys.items()}
        self._kid, self._private = list(keys.items())[-1]

    def issue(self, claims: AccessClaims) -> str:
        """A signed token that says so."""
        payload = {
            "iss": self._issuer,
            "aud": self._audience,
            **{field: getattr(claims, field) for field in claims.__struct_fields__},
        }
        headers = {"kid": self._kid, "typ": TYPE}
        return jwt.encode(payload, self._private, algorithm=ALGORITHM, headers=headers)

    def check(self, token: str, now: datetime) -> AccessClaims:
        """The claims of a token that is ours, unexpired and an access token."""
        try:
            header = jwt.get_unverified_header(token)
            public = self._public.get(header.get("kid", ""))
            if public is None:
                raise Unauthenticated("token signed by an unknown key")
            if str(header.get("typ", "")).lower() != TYPE:
                raise Unauthenticated("not an access token")
            payload: dict[str, Any] = jwt.decode(
                token,
                public,
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": _REQUIRED, "verify_exp": False, "verify_iat": False},
            )
            claims = AccessClaims(
                **{field: payload[field] for field in AccessClaims.__struct_fields__}
            )
            at = now.timestamp()
            if not claims.iat - LEEWAY_SECONDS <= at <= claims.exp + LEEWAY_SECONDS:
                raise Unauthenticated("token expired or from the future")
        except (jwt.PyJWTError, KeyError, ValueError, TypeError) as error:
            raise Unauthenticated(f"token refused: {type(error).__name__}") from error
        return claims


def signing_keys(url: str, vault: MasterKeyVault) -> dict[str, Ed25519PrivateKey]:
    """The signing keys, oldest first; the first one is made by whoever asks first."""
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('tollhouse signing keys'))")
        rows = connection.execute(
            "SELECT key_id, sealed, master_key_id FROM signing_keys ORDER BY made_at"
        ).fetchall()
        if not rows:
            secret = Ed25519PrivateKey.generate().private_bytes_raw()
            kid = key_id(secret)
            sealed, master_key_id = vault.seal_secret(secret, f"signing-key:{kid}")
            connection.execute(
                "INSERT INTO signing_keys (key_id, sealed, master_key_id) VALUES (%s, %s, %s)",
                (kid, sealed, master_key_id),
            )
            rows = [(kid, sealed, master_key_id)]
    return {
        kid: Ed25519PrivateKey.from_private_bytes(
            vault.open_secret(bytes(sealed), master_key_id, f"signing-key:{kid}")
        )
        for kid, sealed, master_key_id in rows
    }
