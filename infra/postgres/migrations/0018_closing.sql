-- Which closed accounts are to be erased, and when: what the housekeeper looks for. Written with
-- the event that closes, deleted with the one that restores or erases.
CREATE TABLE closings (
    account_id text PRIMARY KEY,
    final_at timestamptz NOT NULL
);
CREATE INDEX closings_due_idx ON closings (final_at, account_id);

-- Who was erased, by the event that says so: what the ledger beside the database is filled from.
-- No data key of one of these is ever made or kept again.
CREATE TABLE erasures (
    account_id text PRIMARY KEY,
    version bigint NOT NULL,
    erased_at timestamptz NOT NULL
);

-- Answers that are kept for an Idempotency-Key may be about a person: erasure finds them by stream.
CREATE INDEX answers_stream_idx ON answers (stream_id);

-- What there is about a person that erasing them deletes, by what it is: for the receipt.
CREATE FUNCTION held_of(p_account text) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'data_keys', (SELECT count(*) FROM data_keys WHERE account_id = p_account),
        'claims', (SELECT count(*) FROM claims WHERE account_id = p_account),
        'passwords', (SELECT count(*) FROM passwords WHERE account_id = p_account),
        'sessions', (SELECT count(*) FROM sessions WHERE account_id = p_account),
        'second_factors', (SELECT count(*) FROM totps WHERE account_id = p_account)
                        + (SELECT count(*) FROM passkeys WHERE account_id = p_account),
        'recovery_codes', (SELECT count(*) FROM recovery_codes WHERE account_id = p_account),
        'mail', (SELECT count(*) FROM mail WHERE account_id = p_account),
        'known_networks', (SELECT count(*) FROM known_networks WHERE account_id = p_account),
        'idempotency_records', (SELECT count(*) FROM answers WHERE stream_id = p_account
            OR stream_id IN (SELECT stream_id FROM states WHERE account_id = p_account))
    )
$$;

-- Delete every row about this person. Whoever adds a table that holds what is personal, or what
-- proves identity, replaces this function in their migration; a test finds tables that were
-- forgotten. Mail has a row of its own (MailForgottenRow), as folders of mail are cleared by it.
CREATE FUNCTION erase_account(p_account text, p_version bigint, p_erased_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM data_keys WHERE account_id = p_account;
    DELETE FROM challenges WHERE account_id = p_account OR address_digest IN
        (SELECT digest FROM claims WHERE account_id = p_account AND kind = 'email');
    -- Who was the first admin isn't personal, and nobody else is made it by the next start.
    DELETE FROM claims WHERE account_id = p_account AND kind <> 'first_admin';
    DELETE FROM passwords WHERE account_id = p_account;
    DELETE FROM sessions WHERE account_id = p_account;
    DELETE FROM totps WHERE account_id = p_account;
    DELETE FROM totp_enrolments WHERE account_id = p_account;
    DELETE FROM recovery_codes WHERE account_id = p_account;
    DELETE FROM passkeys WHERE account_id = p_account;
    DELETE FROM known_networks WHERE account_id = p_account;
    DELETE FROM sign_in_failures WHERE account_id = p_account;
    DELETE FROM answers WHERE stream_id = p_account OR stream_id IN
        (SELECT stream_id FROM states WHERE account_id = p_account);
    DELETE FROM plan_changes WHERE account_id = p_account;
    DELETE FROM closings WHERE account_id = p_account;
    INSERT INTO erasures (account_id, version, erased_at)
    VALUES (p_account, p_version, p_erased_at) ON CONFLICT (account_id) DO NOTHING;
END
$$;

-- Delete what has expired, some thousands of a kind at a time; answers how many of each. A session
-- stays for a day, so that a refresh token that comes late is still known as its own.
CREATE FUNCTION prune_expired(p_now timestamptz) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    at_once CONSTANT integer := 5000;
    n bigint;
    done jsonb := '{}';
BEGIN
    DELETE FROM answers WHERE digest IN (SELECT digest FROM answers
        WHERE answered_at <= p_now - interval '7 days' ORDER BY answered_at LIMIT at_once);
    GET DIAGNOSTICS n = ROW_COUNT;
    done := done || jsonb_build_object('answers', n);
    DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM sessions
        WHERE expires_at <= p_now - interval '1 day' ORDER BY expires_at LIMIT at_once);
    GET DIAGNOSTICS n = ROW_COUNT;
    done := done || jsonb_build_object('sessions', n);
    DELETE FROM challenges WHERE challenge_id IN (SELECT challenge_id FROM challenges
        WHERE expires_at <= p_now ORDER BY expires_at LIMIT at_once);
    GET DIAGNOSTICS n = ROW_COUNT;
    done := done || jsonb_build_object('challenges', n);
    DELETE FROM passkey_challenges WHERE digest IN (SELECT digest FROM passkey_challenges
        WHERE expires_at <= p_now ORDER BY expires_at LIMIT at_once);
    DELETE FROM totp_enrolments WHERE expires_at <= p_now;
    DELETE FROM known_networks WHERE known_until <= p_now;
    RETURN done;
END
$$;
