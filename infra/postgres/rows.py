"""The statement for each row class: a new row class is a line here and a table."""

from typing import Any

import msgspec

from application.rows import (
    AnswerRow,
    ClaimRow,
    CounterRow,
    CreditCounterRow,
    CreditHoldOverRow,
    CreditHoldRow,
    DataKeyRow,
    EntitlementRow,
    KeyDigestRow,
    KeyIssuedRow,
    MovedUseRow,
    PasswordRow,
    PlanChangeOverRow,
    PlanChangeRow,
    Row,
    SessionRow,
    StateRow,
)
from projections.packing import Packed, pack

STATEMENTS: dict[type[Row], str] = {
    ClaimRow: "INSERT INTO claims (kind, digest, account_id) "
    "VALUES (%(kind)s, %(digest)s, %(account_id)s)",
    StateRow: "INSERT INTO states (stream_id, noun, account_id, version, state) "
    "VALUES (%(stream_id)s, %(noun)s, %(account_id)s, %(version)s, %(state)s) "
    "ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version, state = excluded.state",
    KeyDigestRow: "INSERT INTO key_digests (digest, key_id) VALUES (%(digest)s, %(key_id)s)",
    # What was counted stays. Under another calendar it counts in that calendar's window. Of a
    # window that has passed only what was left of it counts, as what is carried over.
    CounterRow: "INSERT INTO counters AS c "
    "(counter_id, owner_id, account_id, limit_amount, rule_no, window_start, carry_max) VALUES "
    "(%(counter_id)s, %(owner_id)s, %(account_id)s, %(limit_amount)s, %(rule_no)s, "
    "%(window_start)s, %(carry_max)s) ON CONFLICT (counter_id) DO UPDATE SET "
    "limit_amount = excluded.limit_amount, rule_no = excluded.rule_no, "
    "carry_max = excluded.carry_max, carried = least(CASE "
    "WHEN c.rule_no = excluded.rule_no OR c.window_start >= %(counts_since)s THEN c.carried "
    "WHEN c.window_start = 0 THEN 0 "
    "ELSE greatest(c.limit_amount + c.carried - c.used, 0) END, excluded.carry_max), "
    "used = CASE WHEN c.rule_no <> excluded.rule_no AND c.window_start < %(counts_since)s "
    "THEN 0 ELSE c.used END, entry_no = c.entry_no + 1, "
    "window_start = greatest(c.window_start, excluded.window_start)",
    MovedUseRow: "UPDATE counters AS c SET used = greatest(c.used, o.used) FROM counters AS o "
    "WHERE c.counter_id = %(counter_id)s AND o.counter_id = %(left)s "
    "AND o.window_start >= %(since)s",
    CreditCounterRow: "UPDATE counters SET limit_amount = %(limit_amount)s, "
    "changes_at = %(changes_at)s, rule_no = %(rule_no)s, entry_no = %(entry_no)s "
    "WHERE counter_id = %(counter_id)s",
    CreditHoldRow: "INSERT INTO credit_holds (hold_id, account_id, status, amount, captured, "
    "expires_at) VALUES (%(hold_id)s, %(account_id)s, 'held', %(amount)s, 0, %(expires_at)s)",
    CreditHoldOverRow: "UPDATE credit_holds SET status = %(status)s, captured = %(captured)s "
    "WHERE hold_id = %(hold_id)s",
    DataKeyRow: "INSERT INTO data_keys (account_id, wrapped, master_key_id) "
    "VALUES (%(account_id)s, %(wrapped)s, %(master_key_id)s)",
    PasswordRow: "INSERT INTO passwords (account_id, hash) VALUES (%(account_id)s, %(hash)s) "
    "ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash",
    SessionRow: "INSERT INTO sessions (session_id, account_id, refresh_digest, expires_at) "
    "VALUES (%(session_id)s, %(account_id)s, %(refresh_digest)s, %(expires_at)s)",
    EntitlementRow: "SELECT require_fewer_than(%(account_id)s, %(noun)s, "
    "%(limit)s::bigint - %(adding)s + 1)",
    KeyIssuedRow: "SELECT count_key_issued(%(account_id)s, %(limit)s, %(window_start)s)",
    PlanChangeRow: "INSERT INTO plan_changes (account_id, plan, due_at) "
    "VALUES (%(account_id)s, %(plan)s, %(due_at)s) "
    "ON CONFLICT (account_id) DO UPDATE SET plan = excluded.plan, due_at = excluded.due_at",
    PlanChangeOverRow: "DELETE FROM plan_changes WHERE account_id = %(account_id)s",
    AnswerRow: "SELECT remember_answer(%(digest)s, %(body_digest)s, %(answer)s, "
    "%(stream_id)s, %(version)s)",
}

# The state twice: as it is, and packed for the key directory (0010_directory.sql). The trigger
# that voids a packed state sees that this one is of the same version.
INTO_PACKED = (
    "INSERT INTO packed_states AS p "
    "(part, stream_id, noun, version, id, digest, previous, algorithms, body) VALUES "
    "(%(part)s, %(stream_id)s, %(noun)s, %(version)s, %(packed_id)s, %(digest)s, %(previous)s, "
    "%(algorithms)s, %(body)s) ON CONFLICT (part, stream_id) DO UPDATE SET "
    "version = excluded.version, id = excluded.id, digest = excluded.digest, "
    "previous = excluded.previous, algorithms = excluded.algorithms, body = excluded.body"
)
PACKED_STATE = f"WITH packed AS ({INTO_PACKED}) {STATEMENTS[StateRow]}"


def statement(row: Row) -> tuple[str, dict[str, Any]]:
    """The SQL and parameters that write this row."""
    parameters = msgspec.structs.asdict(row)
    if isinstance(row, StateRow):
        parameters["state"] = msgspec.json.encode(row.state)
        packed = pack(row.state)
        if packed is not None:
            return PACKED_STATE, parameters | packed_columns(packed)
    return STATEMENTS[type(row)], parameters


def packed_columns(packed: Packed) -> dict[str, Any]:
    """The columns of packed_states that are not those of states."""
    columns = packed._asdict()
    columns["packed_id"] = columns.pop("id")
    columns["algorithms"] = list(packed.algorithms) or None
    return columns
