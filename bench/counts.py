"""What Postgres says was counted: the counters, and the usage log that must agree with them."""

from collections import Counter
from typing import NamedTuple

import psycopg

from domain.counters import counter_of
from domain.verification import VerificationsCounted, kind_of
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo


class Counts(NamedTuple):
    """By counter: what its row says was used, how often it was changed, and what the usage
    log grants from it; then, by key, the verifications that the usage log granted."""

    used: dict[int, int]
    entries: dict[int, int]
    logged: Counter[int]
    valid_by_key: Counter[str]

    @property
    def disagreeing(self) -> int:
        """How many counters were changed another number of times than the log says."""
        # Not `used`: that begins anew with each window, and a run may cross midnight.
        known = {*self.entries, *self.logged}
        return sum(self.entries.get(each, 0) != self.logged[each] for each in known)


def counts(database_url: str) -> Counts:
    """Read both, at one moment. For benchmarks whose verifications cost 1 each."""
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        found = connection.execute(
            "SELECT counter_id, used, entry_no, account_id FROM counters"
        ).fetchall()
        # Credits have events of both logs: tests/faults/credits_agree.py compares them.
        rows = [row for row in found if row[0] != counter_of(row[3], "credits")]
        logged: Counter[int] = Counter()
        valid: Counter[str] = Counter()
        mapper = EventMapper()
        with connection.cursor(name="usage") as cursor:
            cursor.execute(
                "SELECT notification_id, originator_id, originator_version, topic, state FROM usage"
            )
            for row in cursor:
                event = mapper.decode(*row).event
                assert isinstance(event, VerificationsCounted)
                _add(event, logged, valid)
    used = {row[0]: row[1] for row in rows}
    return Counts(used, {row[0]: row[2] for row in rows}, logged, valid)


def _add(event: VerificationsCounted, logged: Counter[int], valid: Counter[str]) -> None:
    refused = set(event.refused)
    takes = event.takes
    for at in range(0, len(takes), 3):
        counter = takes[at + 1] - 1
        if takes[at] not in refused and kind_of(event, counter) != "credits":
            logged[event.counters[counter]] += 1
    for row, code in enumerate(event.code):
        if code == "VALID" and row not in refused:
            valid[event.keys[event.key[row]]] += 1
