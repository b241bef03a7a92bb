"""Rebuild: what it finds is what differs, what it leaves is what the log says, and nobody stops."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from infra.followers import keeping
from infra.followers.read_models import ReadModelJob
from infra.followers.rebuild import RebuildRefused, rebuild
from infra.postgres.lookups import PostgresLookups
from infra.postgres.read_models import PostgresReadModels
from tests.faults.replayed import disagreements
from tests.infra.following import (
    MODELS,
    caught_up,
    checkpoint,
    connected,
    end_of,
    followed,
    kept,
    rows,
    run,
    spoiled,
    until,
    usage,
    written,
)
from tests.infra.test_followers import log_of

ROOT = Path(__file__).parents[2]
TABLES = ("account_list", "key_list", "history", "key_uses")
CATALOGUE = """
SELECT c.relname, c.relkind::text, c.relacl::text, c.reloptions::text, pg_get_userbyid(c.relowner),
       obj_description(c.oid, 'pg_class'),
       (SELECT array_agg(pg_get_indexdef(indexrelid) || ' as ' || indexrelid::regclass::text
                         ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = c.oid),
       (SELECT array_agg(conname || ' ' || pg_get_constraintdef(oid) ORDER BY conname)
          FROM pg_constraint WHERE conrelid = c.oid),
       (SELECT array_agg(attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull
                         ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
  FROM pg_class c WHERE c.relnamespace = 'tollhouse'::regnamespace
   AND c.relname = ANY (%s) ORDER BY 1
"""


@pytest.fixture
async def url(database_url: str) -> str:
    """A database where followers have reached the ends of both logs, and have gone."""
    fill(database_url, 1)
    await followed(database_url)
    return database_url


def fill(url: str, version: int) -> None:
    log_of(url, 10)
    keys = [row[0] for row in rows(url, "SELECT originator_id FROM decisions ORDER BY 1")]
    verdicts = [
        (key, code, 2, version) for key in keys if key[:3] == "key" for code in ("VALID", "EXPIRED")
    ]
    written(url, [usage("usage_a", version, verdicts)])


def contents(url: str) -> list[Any]:
    return [rows(url, f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1") for table in TABLES]


def leftovers(url: str) -> list[Any]:
    return rows(url, "SELECT nspname FROM pg_namespace WHERE nspname = 'tollhouse_next'")


TAMPERINGS = {
    "accounts": "UPDATE account_list SET plan = 'enterprise' WHERE position = 1",
    "keys": "DELETE FROM key_list WHERE position = 2",
    "history": "INSERT INTO history SELECT 10000, 'acct_x', 1, 'account', type, at, NULL, actor, "
    "NULL, NULL, data FROM history LIMIT 1",
    "key_uses": "UPDATE key_uses SET verifications = verifications + 1",
}


OFTEN = ("accounts", "key_uses")
"""One that folds states, one that adds up; the others by the same code, in the long run."""


def each_or_often(names: Iterable[str]) -> list[Any]:
    return [pytest.param(each, marks=() if each in OFTEN else pytest.mark.long) for each in names]


@pytest.mark.anyio
@pytest.mark.parametrize("name", each_or_often(TAMPERINGS))
async def test_a_check_finds_what_was_tampered_with_and_a_rebuild_mends_it(
    url: str, name: str
) -> None:
    before = contents(url)
    assert await disagreements(url) == []
    run(url, TAMPERINGS[name])
    tampered = contents(url)
    problems = await disagreements(url)
    assert problems
    assert all(problem.startswith(name) for problem in problems)
    found = await rebuild(url, MODELS[name], check=True)
    assert (found.name, found.switched) == (name, False)
    assert sum(each.rows for each in found.differences) >= 1
    assert all(1 <= len(each.examples) <= 3 for each in found.differences)
    assert contents(url) == tampered
    mended = await rebuild(url, MODELS[name])
    assert mended.switched
    assert mended.differences == found.differences
    assert contents(url) == before
    assert await disagreements(url) == []
    assert leftovers(url) == []


@pytest.mark.anyio
async def test_a_difference_says_on_which_side_it_is(url: str) -> None:
    run(url, "DELETE FROM key_list WHERE position <= 4")
    run(url, "UPDATE key_list SET name = 'other' WHERE position = 6")
    found = await rebuild(url, MODELS["keys"], check=True)
    assert [(each.table, each.side, each.rows) for each in found.differences] == [
        ("key_list", "live only", 1),
        ("key_list", "rebuilt only", 3),
    ]
    assert '"name": "other"' in found.differences[0].examples[0]


@pytest.mark.anyio
async def test_progress_ends_at_the_position_of_the_live_one(url: str) -> None:
    seen: list[tuple[int, int]] = []
    done = await rebuild(
        url, MODELS["history"], progress=lambda reached, total: seen.append((reached, total))
    )
    assert done.position == end_of(url, "decisions")
    assert seen[-1] == (done.position, done.position)
    assert all(reached <= total for reached, total in seen)


@pytest.mark.anyio
async def test_the_new_tables_are_like_the_old_ones_grants_and_all(url: str) -> None:
    with reader(url) as role:
        run(url, f"GRANT SELECT ON {', '.join(TABLES)} TO {role} WITH GRANT OPTION")
        run(url, "GRANT SELECT ON history TO PUBLIC")
        run(url, "COMMENT ON TABLE history IS 'it''s \"history\"'")
        before = rows(url, CATALOGUE, list(TABLES))
        for model in MODELS.values():
            await rebuild(url, model)
        after = rows(url, CATALOGUE, list(TABLES))
        assert after == before
        with connected(url) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            connection.execute("SELECT 1 FROM history").fetchall()


@contextmanager
def reader(url: str) -> Iterator[str]:
    role = "a reader".replace(" ", "_")
    run(url, f"CREATE ROLE {role}")
    run(url, f"GRANT USAGE ON SCHEMA tollhouse TO {role}")
    try:
        yield role
    finally:
        run(url, f"DROP OWNED BY {role}")
        run(url, f"DROP ROLE {role}")


@pytest.mark.anyio
@pytest.mark.parametrize("name", each_or_often(MODELS))
async def test_followers_and_readers_go_on_while_it_is_rebuilt(url: str, name: str) -> None:
    lookups = PostgresLookups(url)
    await lookups.open()
    models = PostgresReadModels(lookups)
    (stream,) = rows(url, "SELECT stream FROM history WHERE position = 2")[0]
    stop = asyncio.Event()

    async def writing() -> int:
        version = 1
        while not stop.is_set():
            version += 1
            await asyncio.to_thread(fill, url, version)
        return version

    async def reading() -> None:
        while not stop.is_set():
            assert (await models.history_of_streams([stream], None, 5, None))[0].position == 2
            assert (await models.key_uses([stream]))[stream].valid >= 1
            await asyncio.sleep(0.01)

    async with kept(url):
        tasks = [asyncio.create_task(writing()), asyncio.create_task(reading())]
        for check in (True, False, True, False):
            done = await rebuild(url, MODELS[name], check=check)
            assert done.differences == []
        stop.set()
        await asyncio.gather(*tasks)
        await caught_up(url)
    await lookups.close()
    assert rows(url, "SELECT count(*) FROM history") == rows(url, "SELECT count(*) FROM decisions")
    assert await disagreements(url) == []


@pytest.mark.anyio
async def test_two_rebuilds_never_meet(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = asyncio.Event(), asyncio.Event()
    apply = type(MODELS["keys"]).apply

    async def slow(self: Any, connection: psycopg.AsyncConnection, events: Any) -> None:
        inside.set()
        await go_on.wait()
        await apply(self, connection, events)

    monkeypatch.setattr(type(MODELS["keys"]), "apply", slow)
    first = asyncio.create_task(rebuild(url, MODELS["keys"]))
    await asyncio.wait_for(inside.wait(), 10)
    with pytest.raises(RebuildRefused, match="Another rebuild is running"):
        await rebuild(url, MODELS["history"], check=True)
    go_on.set()
    assert (await first).switched
    assert not (await rebuild(url, MODELS["history"], check=True)).differences


@pytest.mark.anyio
async def test_what_a_crashed_rebuild_left_is_in_nobodys_way(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(url)
    with monkeypatch.context() as patched:

        async def crash(*_: Any) -> None:
            raise psycopg.OperationalError("the line went dead")

        patched.setattr(type(MODELS["keys"]), "apply", crash)
        with pytest.raises(psycopg.OperationalError):
            await rebuild(url, MODELS["keys"])
    assert leftovers(url)
    assert contents(url) == before
    assert (await rebuild(url, MODELS["history"])).differences == []
    assert leftovers(url) == []


@pytest.mark.anyio
async def test_a_rebuild_stops_with_a_sentence_at_an_event_it_cannot_read(url: str) -> None:
    before = contents(url)
    spoiled(url, 4, "api_key.teleported.v1", b"{}")
    with pytest.raises(RebuildRefused) as refused:
        await rebuild(url, MODELS["keys"])
    assert str(refused.value) == (
        "The rebuild of keys stopped at 4 of the decisions log: unknown event type "
        "api_key.teleported.v1. See `tollhouse events show 4 --log decisions`."
    )
    assert contents(url) == before
    said = [str(refused.value).replace("keys", name) for name in ("keys", "history")]
    assert await disagreements(url) == said


@pytest.mark.anyio
async def test_where_an_event_stops_the_follower_the_rebuild_stops_and_says_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "POISON_PAUSE_SECONDS", 0.2)
    end = log_of(url, 2)
    spoiled(url, end, "api_key.teleported.v1", b"{}")
    async with kept(url, ReadModelJob(MODELS["keys"])):
        await until(lambda: rows(url, "SELECT 1 FROM followers WHERE stopped_at IS NOT NULL"))
        done = await rebuild(url, MODELS["keys"])
    assert (done.position, done.stopped_at) == (end - 1, end)
    assert done.problem == "unknown event type api_key.teleported.v1"
    assert done.differences == []
    assert checkpoint(url, "keys") == end - 1


@pytest.mark.anyio
async def test_an_event_that_cannot_be_applied_is_named(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = type(MODELS["keys"]).apply

    async def allergic(self: Any, connection: psycopg.AsyncConnection, events: Any) -> None:
        await apply(self, connection, events)
        if any(event.position == 6 for event in events):
            raise KeyError("a bug")

    monkeypatch.setattr(type(MODELS["keys"]), "apply", allergic)
    with pytest.raises(RebuildRefused, match="stopped at 6 of the decisions log: can't be applied"):
        await rebuild(url, MODELS["keys"])


@pytest.mark.anyio
async def test_a_view_on_a_table_is_not_dropped_with_it(url: str) -> None:
    run(url, "CREATE VIEW mine AS SELECT key_id FROM key_list")
    before = contents(url)
    with pytest.raises(RebuildRefused, match="mine depends on table"):
        await rebuild(url, MODELS["keys"])
    assert contents(url) == before
    run(url, "DROP VIEW mine")
    assert (await rebuild(url, MODELS["keys"])).switched


@pytest.mark.anyio
async def test_a_reader_that_never_ends_does_not_hold_the_follower_up(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.followers.rebuild.LOCK_SECONDS", 1)
    with connected(url) as connection, connection.transaction():
        connection.execute("SELECT 1 FROM key_list").fetchall()
        with pytest.raises(RebuildRefused, match="reading keys for more than 1 s"):
            await rebuild(url, MODELS["keys"])
    assert (await rebuild(url, MODELS["keys"])).switched


def command(url: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`tollhouse rebuild` on this database."""
    clean = {name: value for name, value in os.environ.items() if "TOLLHOUSE" not in name}
    return subprocess.run(
        [sys.executable, str(ROOT / "main.py"), "rebuild", *words],
        env={
            **clean,
            "TOLLHOUSE_ENVIRONMENT": "test",
            "TOLLHOUSE_DATA_DIR": str(folder),
            "TOLLHOUSE_DATABASE_URL": url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_compares_mends_and_says_so(database_url: str, tmp_path: Path) -> None:
    fill(database_url, 1)
    asyncio.run(followed(database_url))
    run(database_url, TAMPERINGS["keys"])
    checked = command(database_url, tmp_path, "keys", "--check")
    assert (checked.returncode, checked.stderr) == (1, "")
    assert "key_list: 1 row missing, such as" in checked.stdout
    assert "keys differs at position 20" in checked.stdout
    lines = command(database_url, tmp_path, "all", "--check", "--json")
    documents = [json.loads(line) for line in lines.stdout.splitlines()]
    assert lines.returncode == 1
    assert [each["name"] for each in documents] == list(MODELS)
    assert [len(each["differences"]) for each in documents] == [0, 1, 0, 0, 0, 0]
    assert {each["switched"] for each in documents} == {False}
    mended = command(database_url, tmp_path, "keys")
    assert mended.returncode == 0
    assert "keys is new, as of position 20: 1 row had been different" in mended.stdout
    again = command(database_url, tmp_path, "all", "--check")
    assert again.returncode == 0
    assert "keys is right at position 20" in again.stdout


def test_the_command_names_the_read_models_there_are_and_what_stops_it(
    database_url: str, tmp_path: Path
) -> None:
    unknown = command(database_url, tmp_path, "nothing")
    assert unknown.returncode == 2
    said = " ".join(unknown.stderr.replace("│", " ").split())
    names = "accounts, keys, history, key_uses, credit_decisions, credit_uses"
    assert f"there is no read model 'nothing': {names} or all" in said
    fill(database_url, 1)
    asyncio.run(followed(database_url))
    spoiled(database_url, 4, "api_key.teleported.v1", b"{}")
    refused = command(database_url, tmp_path, "keys")
    assert refused.returncode == 1
    assert "stopped at 4 of the decisions log: unknown event type" in refused.stderr
    assert "Traceback" not in refused.stderr
