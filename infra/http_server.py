"""uvicorn, with what it does by default made safe."""

import uvicorn
from litestar.types import ASGIApp

KEEP_ALIVE_SECONDS = 75
CONNECTIONS = 10_000


def http_server(app: ASGIApp, http: type, trusted_proxies: tuple[str, ...]) -> uvicorn.Server:
    """A server for this app: no access log (it prints query strings), no trust in
    X-Forwarded-For but from the given networks, bounded connections."""
    config = uvicorn.Config(
        app,
        http=http,
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        limit_concurrency=CONNECTIONS,
        backlog=2048,
    )
    return uvicorn.Server(config)
