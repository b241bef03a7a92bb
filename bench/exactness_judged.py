"""What must hold after `exactness`, and whether it does."""

from collections import Counter, defaultdict
from typing import NamedTuple

import psycopg

from bench.commands import Accounting, Rotator, Spenders
from bench.counts import Counts
from bench.crowd import Crowd, Tally
from bench.targets import PRICE
from domain.credit_events import CreditCaptured, CreditEvent, CreditSpent
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo
from tests.faults.credits_agree import credit_violations


class Books(NamedTuple):
    """What the database has of credits: by counter what verifications used and what is left; by
    credit stream what commands spent and what each hold gave; and what disagrees with itself."""

    used: dict[int, int]
    available: dict[int, int]
    spent: Counter[str]
    captured: dict[str, dict[str, int]]
    captured_twice: list[str]
    violations: list[str]


def booked(database_url: str) -> Books:
    """Read it, at one moment."""
    spent: Counter[str] = Counter()
    captured: dict[str, dict[str, int]] = defaultdict(dict)
    twice: list[str] = []
    mapper = EventMapper()
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        rows = connection.execute(
            "SELECT counter_id, used, limit_amount - used FROM counters"
            " WHERE limit_amount IS NOT NULL"
        ).fetchall()
        events = connection.execute(
            "SELECT notification_id, originator_id, originator_version, topic, state"
            " FROM decisions WHERE originator_id LIKE 'credit\\_%' ORDER BY notification_id"
        ).fetchall()
    for row in events:
        recorded = mapper.decode(*row)
        event = recorded.event
        assert isinstance(event, CreditEvent)
        if isinstance(event, CreditSpent):
            spent[recorded.stream] += event.amount
        elif isinstance(event, CreditCaptured):
            holds = captured[recorded.stream]
            if event.hold_id in holds:
                twice.append(event.hold_id)
            holds[event.hold_id] = event.amount
    return Books(
        used={row[0]: row[1] for row in rows},
        available={row[0]: row[2] for row in rows},
        spent=spent,
        captured=captured,
        captured_twice=twice,
        violations=credit_violations(database_url),
    )


def judged(
    crowd: Crowd, spenders: Spenders, rotator: Rotator, after: Counts, books: Books
) -> dict[str, bool]:
    """Each claim, and whether it holds."""
    claims: dict[str, bool] = {}
    for tally, account in zip(crowd.tallies, spenders.accounts, strict=True):
        claims |= _counters(tally, after, books)
        claims |= _credits(tally, account, books)
    rotated = crowd.tallies[0]
    drew = [rotated.valid_by_secret[secret] for secret in rotated.valid_by_secret]
    claims[
        f"{len(drew)} secrets of one key were valid ({', '.join(f'{each:,}' for each in drew)}),"
        f" {rotated.valid:,} times in all, and drew on one budget"
    ] = rotator.rotations == 0 or len(drew) > 1
    claims[f"rotations: other answers: {_said(rotator.other)}"] = not rotator.other
    claims[f"holds captured twice: {len(books.captured_twice)}"] = not books.captured_twice
    claims[f"credits that disagree: {'; '.join(books.violations) or 'none'}"] = not books.violations
    return claims


def _counters(tally: Tally, after: Counts, books: Books) -> dict[str, bool]:
    target, limits = tally.target, tally.target.limits
    key, account = after.used[target.key.counter_id], after.used[target.key.shared_counter_id]
    credits = books.used[target.credits_counter_id]
    logged = after.valid_by_key[target.key.key_id]
    name = f"{target.tightest} tightest: "
    tightest = {"key": limits.key, "account": limits.account, "credits": limits.credits // PRICE}
    limit = tightest[target.tightest]
    return {
        f"{name}answered valid {tally.valid:,} <= counted {key:,} <= limit {limit:,}": (
            tally.valid <= key <= limits.key
            and tally.valid <= account <= limits.account
            and tally.valid * PRICE <= credits <= limits.credits
        ),
        f"{name}the usage log has {logged:,} VALID; key {key:,}, account {account:,},"
        f" credits {credits:,} / {PRICE}: all the same": (
            logged == key == account and credits == logged * PRICE
        ),
        f"{name}over-counted by kills: {key - tally.valid} <= asked and never answered,"
        f" {tally.unanswered}": key - tally.valid <= tally.unanswered,
        # Credits come back from holds, so there a denial is not the last word.
        f"{name}valid after a denial was known: {tally.revived}": (
            tally.revived == 0 or target.tightest == "credits"
        ),
        f"{name}other answers: {_said(tally.other)}": not tally.other,
    }


def _credits(tally: Tally, account: Accounting, books: Books) -> dict[str, bool]:
    target = tally.target
    stream = f"credit_{target.key.account_id.partition('_')[2]}"
    verified = books.used[target.credits_counter_id]
    left = books.available[target.credits_counter_id]
    captured = books.captured.get(stream, {})
    by_holds, by_command = sum(captured.values()), books.spent[stream]
    granted = target.limits.credits
    name = f"{target.tightest} tightest: "
    return {
        f"{name}{granted:,} hundredths granted = {verified:,} verified + {by_command:,} spent"
        f" + {by_holds:,} captured + {left:,} left": (
            granted == verified + by_command + by_holds + left and left >= 0
        ),
        f"{name}spent {account.spent:,} and captured {len(account.captured)} holds by what was"
        " answered, and so by the log": (
            account.spent == by_command and account.captured == captured
        ),
        f"{name}commands answered otherwise: {_said(account.other)}": not account.other,
    }


def _said(other: Counter[str]) -> str:
    return ", ".join(f"{count} x {what}" for what, count in other.items()) or "none"
