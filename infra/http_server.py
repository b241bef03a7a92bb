"""uvicorn, with what it does by default made safe."""

import ipaddress
from collections.abc import Iterable

import uvicorn
from litestar.types import ASGIApp

KEEP_ALIVE_SECONDS = 75


def http_server(app: ASGIApp, http: type, trusted_proxies: tuple[str, ...]) -> uvicorn.Server:
    """A server for this app: no access log (it prints query strings), no trust in
    X-Forwarded-For but from the given networks. `http` bounds heads and connections."""
    config = uvicorn.Config(
        app,
        http=http,
        loop="none",
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,  # its warnings go where ours go, as JSON
        log_level="warning",
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=[*trusted_proxies, *mapped(trusted_proxies)],
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        backlog=2048,
    )
    return uvicorn.Server(config)


def mapped(networks: Iterable[str]) -> list[str]:
    """The IPv4 networks among these as a socket that takes both kinds names them: ::ffff:…"""
    found = (ipaddress.ip_network(each) for each in networks)
    return [
        f"::ffff:{each.network_address}/{96 + each.prefixlen}"
        for each in found
        if each.version == 4
    ]
