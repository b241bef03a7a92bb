"""The statement for each row class: a new row class is a line here and a table."""

from typing import Any

import msgspec

from application.rows import (
    AnswerRow,
    ChallengeRow,
    ChallengeSpentRow,
    ClaimGoneRow,
    ClaimRow,
    ClosingOverRow,
    ClosingRow,
    CounterRow,
    CreditCounterRow,
    CreditHoldOverRow,
    CreditHoldRow,
    DataKeyRow,
    EntitlementRow,
    ErasedRow,
    KeyDigestRow,
    KeyIssuedRow,
    KnownNetworkRow,
    LockToldRow,
    MailForgottenRow,
    MailForNobodyRow,
    MailRow,
    MovedUseRow,
    PasskeyGoneRow,
    PasskeyRow,
    PasswordGoneRow,
    PasswordRow,
    PlanChangeOverRow,
    PlanChangeRow,
    RecoveryCodesRow,
    RecoveryCodeUsedRow,
    Row,
    SessionOverRow,
    SessionRow,
    SessionsOverRow,
    SignInsClearedRow,
    StateRow,
    TotpGoneRow,
    TotpRow,
)
from projections.packing import Packed, pack

STATEMENTS: dict[type[Row], str] = {
    ClaimRow: "INSERT INTO claims (kind, digest, account_id) "
    "VALUES (%(kind)s, %(digest)s, %(account_id)s)",
    ClaimGoneRow: "DELETE FROM claims WHERE kind = %(kind)s AND digest = %(digest)s "
    "AND account_id = %(account_id)s",
    ChallengeRow: "INSERT INTO challenges (challenge_id, purpose, address_digest, account_id, "
    "code_digest, guesses_left, sealed, master_key_id, made_at, expires_at) VALUES "
    "(%(challenge_id)s, %(purpose)s, %(address_digest)s, %(account_id)s, %(code_digest)s, "
    "%(guesses_left)s, %(sealed)s, %(master_key_id)s, %(made_at)s, %(expires_at)s) "
    "ON CONFLICT (challenge_id) DO NOTHING",
    ChallengeSpentRow: "SELECT spend_challenge(%(challenge_id)s)",
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
    PasswordGoneRow: "DELETE FROM passwords WHERE account_id = %(account_id)s",
    SessionRow: "SELECT start_session(%(session_id)s, %(account_id)s, %(refresh_digest)s, "
    "%(expires_at)s, %(started_at)s, %(amr)s::text[], %(impersonator)s, %(epoch)s)",
    SessionOverRow: "UPDATE sessions SET ended_at = %(ended_at)s "
    "WHERE session_id = %(session_id)s AND ended_at IS NULL",
    SessionsOverRow: "SELECT end_sessions(%(account_id)s, %(but)s, %(ended_at)s)",
    EntitlementRow: "SELECT require_fewer_than(%(account_id)s, %(noun)s, "
    "%(limit)s::bigint - %(adding)s + 1)",
    KeyIssuedRow: "SELECT count_key_issued(%(account_id)s, %(limit)s, %(window_start)s)",
    ClosingRow: "INSERT INTO closings (account_id, final_at) "
    "VALUES (%(account_id)s, %(final_at)s) "
    "ON CONFLICT (account_id) DO UPDATE SET final_at = excluded.final_at",
    ClosingOverRow: "DELETE FROM closings WHERE account_id = %(account_id)s",
    ErasedRow: "SELECT erase_account(%(account_id)s, %(version)s, %(erased_at)s)",
    PlanChangeRow: "INSERT INTO plan_changes (account_id, plan, due_at) "
    "VALUES (%(account_id)s, %(plan)s, %(due_at)s) "
    "ON CONFLICT (account_id) DO UPDATE SET plan = excluded.plan, due_at = excluded.due_at",
    PlanChangeOverRow: "DELETE FROM plan_changes WHERE account_id = %(account_id)s",
    TotpRow: "WITH offered AS (DELETE FROM totp_enrolments WHERE account_id = %(account_id)s) "
    "INSERT INTO totps (account_id, sealed, master_key_id, last_step) VALUES "
    "(%(account_id)s, %(sealed)s, %(master_key_id)s, %(last_step)s) "
    "ON CONFLICT (account_id) DO UPDATE SET sealed = excluded.sealed, "
    "master_key_id = excluded.master_key_id, last_step = excluded.last_step, guesses = 0",
    TotpGoneRow: "WITH offered AS (DELETE FROM totp_enrolments WHERE account_id = %(account_id)s) "
    "DELETE FROM totps WHERE account_id = %(account_id)s",
    RecoveryCodesRow: "WITH old AS (DELETE FROM recovery_codes WHERE account_id = %(account_id)s) "
    "INSERT INTO recovery_codes (account_id, digest) "
    "SELECT %(account_id)s, unnest(%(digests)s::bytea[])",
    RecoveryCodeUsedRow: "DELETE FROM recovery_codes "
    "WHERE account_id = %(account_id)s AND digest = %(digest)s",
    PasskeyRow: "INSERT INTO passkeys (passkey_id, account_id, credential_id, public_key, "
    "sign_count, transports, backed_up, made_at) VALUES (%(passkey_id)s, %(account_id)s, "
    "%(credential_id)s, %(public_key)s, %(sign_count)s, %(transports)s::text[], %(backed_up)s, "
    "%(made_at)s)",
    PasskeyGoneRow: "DELETE FROM passkeys WHERE passkey_id = %(passkey_id)s",
    MailRow: "INSERT INTO mail (mail_id, account_id, address_digest, template, once_digest, "
    "sealed, master_key_id, created_at) VALUES (%(mail_id)s, %(account_id)s, "
    "%(address_digest)s, %(template)s, %(once_digest)s, %(sealed)s, %(master_key_id)s, "
    "%(created_at)s) ON CONFLICT DO NOTHING",
    MailForNobodyRow: "INSERT INTO mail (mail_id, account_id, address_digest, template, "
    "once_digest, sealed, master_key_id, created_at, outcome, ended_at) VALUES (%(mail_id)s, "
    "%(account_id)s, %(address_digest)s, %(template)s, %(once_digest)s, %(sealed)s, "
    "%(master_key_id)s, %(created_at)s, 'forgotten', %(created_at)s) ON CONFLICT DO NOTHING",
    # The sender deletes these rows once the files of a mail folder are gone, too.
    MailForgottenRow: "UPDATE mail SET sealed = NULL, outcome = 'forgotten', ended_at = now(), "
    "problem = NULL WHERE account_id = %(account_id)s OR (account_id IS NULL "  # nobody else's
    "AND address_digest = ANY (%(address_digests)s::bytea[]))",
    KnownNetworkRow: "INSERT INTO known_networks (digest, account_id, known_until) "
    "VALUES (%(digest)s, %(account_id)s, %(known_until)s) "
    "ON CONFLICT (digest) DO UPDATE SET known_until = excluded.known_until",
    SignInsClearedRow: "DELETE FROM sign_in_failures WHERE account_id = %(account_id)s",
    LockToldRow: "UPDATE sign_in_failures SET tell_at = NULL WHERE subject = %(subject)s",
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
