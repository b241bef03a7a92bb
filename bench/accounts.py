"""The list of accounts at scale: pages at any depth, by every filter, over HTTP.

The rows are made by SQL in the read model's own form: a million commands would take an hour, and
a page reads this table and nothing else. Requests come one after another, as a person's do; each
is at a place of its own, from the first page to the last.
"""

import asyncio
import random
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from statistics import median, quantiles

import httpx
import msgspec
import psycopg

from bench.ground import ADMIN_EMAIL, ADMIN_PASSWORD, Ground, ground, tollhouse
from bench.machine import Cores
from infra.postgres.connection import conninfo

MOST_MS = 50.0
_AT_ONCE = 100_000

# Every plan, status and role is there, common and rare ones, and each in all depths. Usernames of
# nine letters: what they begin with says nothing of when the account was made.
_FILL = """
INSERT INTO account_list (account_id, username, kind, actor_type, status, plan, roles,
    email_verified, registered_at, changed_at, version, position, external_id, state)
SELECT id, name, 'personal', 'user', status, plan, roles, true, at, at, 2, n, external,
    json_build_object('id', id, 'username', name, 'kind', 'personal', 'actor_type', 'user',
        'registered_at', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'status', status,
        'email_verified', true, 'plan', plan, 'roles', roles, 'epoch', 0, 'plan_no', 1,
        'external_id', external)::text
  FROM (SELECT n, 'acct_' || lpad(n::text, 26, '0') AS id,
            translate(substr(md5(n::text), 1, 9), '0123456789', 'ghijklmnop') || n::text AS name,
            CASE WHEN n %% 100 = 7 THEN 'suspended' WHEN n %% 500 = 3 THEN 'closed' ELSE 'active'
                END AS status,
            CASE WHEN n %% 10 = 1 THEN 'pro' WHEN n %% 1000 = 2 THEN 'enterprise' ELSE 'free'
                END AS plan,
            CASE WHEN n %% 20000 = 5 THEN ARRAY['support'] WHEN n %% 4 = 0 THEN ARRAY['editor']
                ELSE ARRAY[]::text[] END AS roles,
            CASE WHEN n %% 3 = 0 THEN 'crm-' || n END AS external,
            timestamptz '2024-01-01' + n * interval '1 minute' AS at
          FROM generate_series(%s::bigint, %s::bigint) AS n) made
ON CONFLICT DO NOTHING
"""
CASES: dict[str, dict[str, str]] = {
    "all": {},
    "all, 200 a page": {"limit": "200"},
    "plan=free (90 %)": {"plan": "free"},
    "plan=enterprise (0.1 %)": {"plan": "enterprise"},
    "status=suspended (1 %)": {"status": "suspended"},
    "plan=pro, status=suspended (none)": {"plan": "pro", "status": "suspended"},
    "role=editor (25 %)": {"role": "editor"},
    "role=support (0.005 %)": {"role": "support"},
    "username begins with a": {"search": "a"},
    "username begins with abc": {"search": "abc"},
    "begins with a, status=suspended": {"search": "a", "status": "suspended"},
}


class Pages(msgspec.Struct, frozen=True):
    """Pages of one case. Times are of whole requests, in milliseconds."""

    case: str
    requests: int
    items: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float


class Listed(msgspec.Struct, frozen=True):
    """All cases, on so many accounts."""

    accounts: int
    filling_seconds: float
    pages: list[Pages]

    @property
    def holds(self) -> bool:
        """Whether every page of every case took less than the aim."""
        return all(each.p99_ms < MOST_MS for each in self.pages)


def measure(accounts: int, requests: int, cores: Cores, say: Callable[[str], None]) -> Listed:
    """Fill the list with so many, and ask for so many pages of each case."""
    with ground(cores.postgres) as on:
        began = time.monotonic()
        _fill(on.database_url, accounts)
        seconds = time.monotonic() - began
        say(f"{accounts:,} accounts in {seconds:.0f} s")
        with tollhouse(on, cores.server) as server:
            pages = asyncio.run(_ask(on, server.url, accounts, requests, say))
    return Listed(accounts, seconds, pages)


def _fill(url: str, accounts: int) -> None:
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        for first in range(1, accounts + 1, _AT_ONCE):
            last = min(first + _AT_ONCE - 1, accounts)
            connection.execute(_FILL.encode(), (first, last))
        connection.execute("VACUUM ANALYZE account_list")
        connection.execute("CHECKPOINT")


async def _ask(
    on: Ground, url: str, accounts: int, requests: int, say: Callable[[str], None]
) -> list[Pages]:
    found = []
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
        login = {"email": ADMIN_EMAIL, "password": ADMIN_PASSWORD}
        reply = (await client.post("/v1/auth/login", json=login)).raise_for_status()
        client.headers["authorization"] = f"Bearer {reply.json()['access_token']}"
        for case, query in CASES.items():
            pages = await _case(client, case, query, accounts, requests)
            say(f"{case}: p50 {pages.p50_ms:.1f} ms, p99 {pages.p99_ms:.1f}")
            found.append(pages)
    return found


async def _case(
    client: httpx.AsyncClient, case: str, query: dict[str, str], accounts: int, requests: int
) -> Pages:
    place = random.Random(4711)
    times = []
    items = 0
    for number in range(requests):
        # From the beginning to the end: a deep page is as good as the first.
        depth = accounts * number // requests
        cursor = _cursor(query.get("search"), depth, place)
        began = time.perf_counter()
        reply = await client.get("/v1/accounts", params={**query, "cursor": cursor})
        times.append((time.perf_counter() - began) * 1000)
        items += len(reply.raise_for_status().json()["items"])
    return Pages(case, requests, items, median(times), quantiles(times, n=100)[98], max(times))


def _cursor(search: str | None, depth: int, place: random.Random) -> str:
    after = f"acct_{depth:026d}"
    if search is not None:
        after = search + "".join(place.choice("abcdefghijklmnop") for _ in range(6))
    return urlsafe_b64encode(after.encode()).rstrip(b"=").decode()
