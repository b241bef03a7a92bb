"""Reads one event of a log, whether it can be decoded or not."""

import psycopg

from application.errors import StoreUnavailable
from application.ports import Found
from domain.event import Unreadable
from infra.event_mapper import CannotDecode, EventMapper, account_of
from infra.followers.hold import Log
from infra.postgres.connection import conninfo


def event_at(url: str, log: Log, position: int) -> Found | None:
    """The event at this position, with its stored bytes; None if there is none.

    Positions are in order but not gapless: a transaction that was rolled back burns one.
    """
    try:
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            row = connection.execute(
                "SELECT originator_id, originator_version, topic, state "  # noqa: S608
                f"FROM {log} WHERE notification_id = %s".encode(),
                (position,),
            ).fetchone()
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip()) from error
    if row is None:
        return None
    stream, version, name, state = row
    try:
        return Found(EventMapper().decode(position, stream, version, name, state), state)
    except CannotDecode as error:
        account_id = account_of(state)
        return Found(
            Unreadable(position, stream, version, name, str(error), account_id), bytes(state)
        )
