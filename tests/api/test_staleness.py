"""A process that may have missed a change says so, to everybody who presents a credential."""

import httpx
import pytest

from house import House
from tests.api.conftest import People, refused

pytestmark = pytest.mark.anyio


async def test_on_a_stale_directory_no_credential_is_taken_for_alive(
    client: httpx.AsyncClient, people: People, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = await people.user()
    key = (await client.post("/v1/keys", json={"name": "k"}, headers=headers)).json()["key"]
    monkeypatch.setattr(house.directory, "fresh", lambda seconds: False)
    for reply in (
        await client.get("/v1/me", headers=headers),
        await client.get("/v1/keys/whoami", headers={"x-api-key": key}),
        await client.post("/v1/keys/verify", headers={"x-api-key": key}),
    ):
        refused(reply, 503, "DIRECTORY_STALE")
        assert int(reply.headers["retry-after"]) >= 1
    assert (await client.get("/v1/plans")).status_code == 200
