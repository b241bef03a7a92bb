"""An erased person is nowhere any more: canaries in every field, and a search of all there is.

What is personal is searched for in the bytes of every file, write-ahead log and dead rows of
Postgres included: it was sealed from the first write. What is public (username, external id) is
in clear in rows, by which it is found; it is searched for in Postgres's files when those rows
were rewritten (VACUUM FULL; a server's own vacuum reuses their place sooner or later), and in
all the rest at once.
"""

import asyncio
import json
import os
import secrets
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import httpx
import msgspec
import psycopg

from application.rows import DataKeyRow
from house import opened
from infra.embedded.place import postgres_place
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo
from infra.settings import Settings, development_secrets, load
from infra.vault import MasterKeyVault
from main import prepare
from tests.faults.running import ADMIN, SERVICE_KEY, Up, verify, wait_for

NOISE = secrets.token_hex(5)
PERSONAL = f"canary{NOISE}"
PUBLIC = f"name{NOISE}"
PHONE = "+49151" + "".join(secrets.choice("0123456789") for _ in range(8))
WALLET = "0x" + secrets.token_hex(20)
PASSWORD = f"quartz {secrets.token_hex(6)} lantern"
SECRETS = (PERSONAL, PHONE, WALLET, PASSWORD)
STAFF_REASON = f"reason {PERSONAL}"


def test_of_an_erased_person_nothing_is_left_anywhere(folder: Path) -> None:
    with Up(folder) as up, up.client() as client:
        settings = development_secrets(load(up.environment(), None))
        account, imported, token, key = planted(client)
        wait_for(lambda: followed(client) and mailed(folder), 40, up.words)
        dump = dumped(up, folder)
        named = {"states", "packed_accounts", "account_list"}
        assert set(found_in_rows(up.database, PUBLIC)) >= named, "the search must be able to fail"
        assert PERSONAL in decoded(up.database, settings)
        assert files_with(folder, (PERSONAL,)), "mail has the address"

        receipts = [erased(client, account, token), erased_by_staff(client, imported)]
        for receipt in receipts:
            assert (receipt["status"], receipt["final_at"]) == ("erased", None)
            assert receipt["erased"]["data_keys"] == 1
            assert receipt["erased"]["claims"] >= 2
        assert receipts[0]["erased"]["keys_revoked"] == 1

        wait_for(lambda: over(client, token, key), 2, up.words)
        wait_for(lambda: followed(client) and not mailed(folder), 40, up.words)
        wait_for(lambda: PUBLIC not in dimensions(folder), 40, up.words)
        assert [each for each in (*SECRETS, PUBLIC) if each in decoded(up.database, settings)] == []
        assert found_in_rows(up.database, *SECRETS, PUBLIC) == []
        assert [each for each in (*SECRETS, PUBLIC) if each in in_lake(folder)] == []
        rewrite(up)
        postgres = Path(str(ask(up.database, "SHOW data_directory")[0][0]))
        assert files_with(folder, SECRETS) == files_with(postgres, SECRETS) == []
        public = [file for file in files_with(folder, (PUBLIC,)) if "pg_wal" not in file.parts]
        assert public == files_with(postgres / "base", (PUBLIC,)) == []
        assert [each for each in (*SECRETS, PUBLIC) if each in up.words()] == []

        copy = restored(up, dump)
        assert PERSONAL in decoded(lambda: psycopg.connect(conninfo(copy)), settings)
        asyncio.run(opened_again(settings, copy))
        assert [
            each
            for each in (*SECRETS, PUBLIC)
            if each in decoded(lambda: psycopg.connect(conninfo(copy)), settings)
        ] == []
        left = found_in_rows(lambda: psycopg.connect(conninfo(copy)), *SECRETS, PUBLIC)
        assert set(left) <= {"account_list"}, "a read model: nobody follows this copy's log here"


def planted(client: httpx.Client) -> tuple[str, str, dict[str, str], str]:
    """Two people with a canary in every field: one who registered, one who was imported."""
    person = {
        "email": f"{PERSONAL}@example.org",
        "password": PASSWORD,
        "username": PUBLIC,
        "name": f"Name {PERSONAL}",
        "phone": PHONE,
        "about": f"about {PERSONAL}",
        "hobbies": f"hobbies {PERSONAL}",
        "avatar_url": f"https://{PERSONAL}.example/a.png",
        "wallet_address": WALLET,
    }
    once = {"idempotency-key": f"idem-{secrets.token_hex(8)}"}
    account = done(client.post("/v1/auth/register", json=person, headers=once), 201)["account"]
    agent = {"user-agent": f"agent {PERSONAL}"}
    login = {"email": person["email"], "password": PASSWORD}
    signed_in = done(client.post("/v1/auth/login", json=login, headers=agent), 200)
    token = {"authorization": f"Bearer {signed_in['access_token']}"}
    done(client.patch("/v1/me", json={"about": f"more {PERSONAL}"}, headers=token), 200)
    change = {"email": f"new-{PERSONAL}@example.org", "current_password": PASSWORD}
    done(client.post("/v1/me/email/change", json=change, headers=token), 202)
    wanted = {"email": person["email"], "purpose": "reset_password"}
    done(client.post("/v1/auth/otp", json=wanted), 202)
    key = done(client.post("/v1/keys", json={"name": "a key"}, headers=token), 201)["key"]
    assert verify(client, key).json()["username"] == PUBLIC
    item = {
        "email": f"i-{PERSONAL}@example.org",
        "username": f"i-{PUBLIC}",
        "external_id": f"ext-{PUBLIC}",
        "name": f"Imported {PERSONAL}",
        "password_hash": "$2b$04$oSB8OzTdLTki2r2bTRrgPOFw45TE8paC8yRMmeM2BTgtr/51KhtB6",
    }
    service = {"x-api-key": SERVICE_KEY, **once}
    reply = client.post("/v1/accounts/import", json={"items": [item]}, headers=service)
    imported = done(reply, 201)["imported"][0]["id"]
    staff = admin(client)
    why = {"reason": STAFF_REASON}
    done(client.post(f"/v1/accounts/{imported}/suspend", json=why, headers=staff), 200, 204)
    return account["id"], imported, token, key


def erased(client: httpx.Client, account: str, token: dict[str, str]) -> dict[str, Any]:
    body = {"mode": "erase", "grace_days": 0, "reason": f"since {PERSONAL}"}
    return done(client.request("DELETE", "/v1/me", json=body, headers=token), 200)


def erased_by_staff(client: httpx.Client, account: str) -> dict[str, Any]:
    body = {"mode": "erase", "grace_days": 0, "reason": STAFF_REASON}
    reply = client.request("DELETE", f"/v1/accounts/{account}", json=body, headers=admin(client))
    return done(reply, 200)


def over(client: httpx.Client, token: dict[str, str], key: str) -> bool:
    """Neither the token nor the key works, and the address signs in no more."""
    return (
        client.get("/v1/me", headers=token).status_code == 401
        and not (verify(client, key).json()["valid"])
    )


def followed(client: httpx.Client) -> bool:
    """Whether everybody who follows the logs is at their end."""
    checks = client.get("/health").json()["checks"]
    parts = (checks["projections"], checks["publisher"], checks["lake"])
    return not any(lag for part in parts for lag in part["lag"].values())


def mailed(folder: Path) -> list[Path]:
    return files_with(folder / "mail", (PERSONAL,))


def dumped(up: Up, folder: Path) -> Path:
    """A dump as an operator makes it."""
    dump = folder.parent / "before.sql"
    program("pg_dump", up, "--no-owner", "--file", str(dump), up.facts["database_url"])
    return dump


def restored(up: Up, dump: Path) -> str:
    """The dump in a database of its own; answers its address."""
    address = f"{up.facts['database_url'].rpartition('/')[0]}/before"
    with up.database() as database:
        database.execute("CREATE DATABASE before")
    program("psql", up, "--quiet", "--file", str(dump), address)
    return address


def program(name: str, up: Up, *words: str) -> None:
    place = postgres_place(up.data_dir, print).programs / name
    subprocess.run([place, *words], check=True, capture_output=True, timeout=30)


async def opened_again(settings: Settings, url: str) -> None:
    """As `migrate` and `up` do before anybody may use the database."""
    said: list[str] = []
    async with opened(settings, url, verifying=False) as house:
        await prepare(settings, house, said.append, first=False)
    assert any("erased again" in each for each in said), said


def decoded(connect: Any, settings: Settings) -> str:
    """Both logs in words, with every data key that there is."""
    vault, mapper = MasterKeyVault(settings.master_key), EventMapper()
    rows = ask(connect, "SELECT account_id, wrapped, master_key_id FROM tollhouse.data_keys")
    keys = {row[0]: vault.unwrap(DataKeyRow(row[0], bytes(row[1]), row[2])) for row in rows}
    said = []
    for log in ("decisions", "usage"):
        columns = "notification_id, originator_id, originator_version, topic, state"
        for position, stream, version, name, state in ask(
            connect, f"SELECT {columns} FROM tollhouse.{log}"
        ):
            recorded = mapper.decode(position, stream, version, name, bytes(state), keys.get)
            said.append(msgspec.json.encode(recorded).decode())
    return "\n".join(said)


def found_in_rows(connect: Any, *wanted: str) -> list[str]:
    """The tables in which a row has this text, in clear or in bytes."""
    forms = [form for each in wanted for form in (each, each.encode().hex())]
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'tollhouse'"
    with connect() as connection:
        tables = [row[0] for row in connection.execute(listed).fetchall()]
        found = []
        for table in tables:
            rows = connection.execute(f"SELECT to_jsonb(t)::text FROM tollhouse.{table} t".encode())
            if any(form in row for (row,) in rows.fetchall() for form in forms):
                found.append(table)
    return found


def ask(connect: Any, sql: str) -> list[Any]:
    with connect() as connection:
        return list(connection.execute(sql.encode()).fetchall())


def in_lake(folder: Path) -> str:
    """All that the lake says, unpacked."""
    files = [str(file) for file in (folder / "lake").rglob("*.parquet")]
    with duckdb.connect() as engine:
        said = [str(engine.execute("FROM read_parquet(?)", [file]).fetchall()) for file in files]
    return "\n".join([*said, dimensions(folder)])


def dimensions(folder: Path) -> str:
    """The tables of the snapshot that are no views of files."""
    with duckdb.connect(str(folder / "lake" / "analytics.duckdb"), read_only=True) as engine:
        tables = ("accounts", "keys", "plans")
        return "\n".join(str(engine.execute(f"FROM {table}").fetchall()) for table in tables)


def rewrite(up: Up) -> None:
    """What an operator does who wants no dead row left."""
    with up.database() as database:
        database.execute("VACUUM FULL states, packed_accounts, account_list")
        database.execute("CHECKPOINT")


def files_with(folder: Path, wanted: tuple[str, ...]) -> list[Path]:
    """The files under this folder that have one of these texts in them."""
    found = []
    for name, _, files in os.walk(folder):
        for file in files:
            place = Path(name) / file
            try:
                content = place.read_bytes()
            except (FileNotFoundError, OSError):
                continue  # gone in the meantime, or a socket
            if any(each.encode() in content for each in wanted):
                found.append(place)
    return found


def admin(client: httpx.Client) -> dict[str, str]:
    login = {"email": ADMIN[0], "password": ADMIN[1]}
    signed_in = done(client.post("/v1/auth/login", json=login), 200)
    return {"authorization": f"Bearer {signed_in['access_token']}"}


def done(reply: httpx.Response, *expected: int) -> dict[str, Any]:
    assert reply.status_code in expected, reply.text
    answer: dict[str, Any] = json.loads(reply.content or b"{}")
    return answer
