# mypy: ignore-errors
"""What one writes oneself: a typed FastAPI route, and one UPDATE ... RETURNING per request."""

import hashlib
import os
from contextlib import asynccontextmanager

import asyncpg
from fastapi import FastAPI
from pydantic import BaseModel

CONNECTIONS = 20
TAKE = """
UPDATE keys SET remaining = remaining - 1
WHERE digest = $1 AND remaining > 0
RETURNING key_id, account_id, name, remaining
"""


class VerifyRequest(BaseModel):
    """The key to verify."""

    key: str


class Verdict(BaseModel):
    """Whether it may be used, and what is left of it."""

    valid: bool
    code: str
    key_id: str | None = None
    account_id: str | None = None
    name: str | None = None
    remaining: int | None = None


@asynccontextmanager
async def lifespan(app):
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS
    ) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.post("/v1/keys/verify")
async def verify(asked: VerifyRequest) -> Verdict:
    """One statement on one pooled connection."""
    digest = hashlib.sha256(asked.key.encode()).digest()
    row = await app.state.pool.fetchrow(TAKE, digest)
    if row is None:
        return Verdict(valid=False, code="USAGE_EXCEEDED")
    return Verdict(valid=True, code="VALID", **row)


@app.get("/ready")
async def ready() -> str:
    return "ready"
