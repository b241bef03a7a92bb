"""What anybody may know: the public signing keys (RFC 7517) and where everything is (RFC 8414)."""

from litestar import Controller, Response, get

from api.http.answers import shown
from api.http.dependencies import ThePorts
from api.http.session_operations import JWKS, METADATA
from api.http.session_shapes import JwkAnswer, JwksAnswer, MetadataAnswer

_KEEP = {"cache-control": "public, max-age=300"}
_BASIC = ["client_secret_basic"]


class WellKnownController(Controller):
    """For whoever checks tokens by themselves."""

    @get("/.well-known/jwks.json", opt={"operation": JWKS})
    async def jwks(self, ports: ThePorts) -> Response[bytes]:
        """The keys that sign, will sign, or signed what still lives."""
        published = ports.signing_keys.published(ports.clock())
        answer = shown(JwksAnswer([JwkAnswer(kid=each.kid, x=each.x) for each in published]))
        answer.headers.update(_KEEP)
        return answer

    @get("/.well-known/oauth-authorization-server", opt={"operation": METADATA})
    async def metadata(self, ports: ThePorts) -> Response[bytes]:
        """Where clients find the rest."""
        issuer = ports.tokens.issuer
        base = issuer.rstrip("/")
        answer = shown(
            MetadataAnswer(
                issuer=issuer,
                jwks_uri=f"{base}/.well-known/jwks.json",
                token_endpoint=f"{base}/v1/auth/refresh",
                token_endpoint_auth_methods_supported=["none"],
                grant_types_supported=["refresh_token"],
                response_types_supported=[],
                introspection_endpoint=f"{base}/oauth/introspect",
                introspection_endpoint_auth_methods_supported=_BASIC,
                revocation_endpoint=f"{base}/oauth/revoke",
                revocation_endpoint_auth_methods_supported=_BASIC,
                service_documentation=f"{base}/docs",
            )
        )
        answer.headers.update(_KEEP)
        return answer
