-- Sessions that are refreshed, listed and ended. Times are those of the process that acts, as in
-- the events beside them.
ALTER TABLE sessions
    ADD COLUMN previous_digest bytea,
    ADD COLUMN rotated_at timestamptz,
    ADD COLUMN started_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN last_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN amr text[] NOT NULL DEFAULT '{}',
    ADD COLUMN impersonator text,
    ADD COLUMN ended_at timestamptz;

DROP INDEX sessions_account_idx;
CREATE INDEX sessions_account_idx ON sessions (account_id, session_id) WHERE ended_at IS NULL;
CREATE INDEX sessions_ended_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX sessions_expires_idx ON sessions (expires_at);

-- What a starting process must know of accounts to refuse their tokens: where the epoch has risen.
-- Those are few, and this index holds no others.
CREATE FUNCTION state_json(p_state bytea) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN convert_from(p_state, 'UTF8')::jsonb;
END
$$;
CREATE INDEX states_access_idx ON states (stream_id)
    WHERE noun = 'account' AND (state_json(state) ->> 'epoch')::bigint > 0;

-- Start a session, unless (TH013) the account's epoch is not the one that whoever signs in was
-- judged by. The lock on the account's state is shared among sign-ins; what raises the epoch
-- waits for it, and comes behind (end_sessions), or was before, and is seen here.
CREATE FUNCTION start_session(
    p_session text, p_account text, p_digest bytea, p_expires_at timestamptz,
    p_started_at timestamptz, p_amr text[], p_impersonator text, p_epoch bigint
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    found_state bytea;
BEGIN
    SELECT state INTO found_state FROM states WHERE stream_id = p_account FOR SHARE;
    IF found_state IS NULL
       OR (state_json(found_state) ->> 'epoch')::bigint <> p_epoch THEN
        RAISE EXCEPTION 'the account has changed' USING ERRCODE = 'TH013';
    END IF;
    INSERT INTO sessions (session_id, account_id, refresh_digest, expires_at, started_at,
                          last_seen_at, amr, impersonator)
    VALUES (p_session, p_account, p_digest, p_expires_at, p_started_at, p_started_at, p_amr,
            p_impersonator);
END
$$;

-- End all sessions of an account but one. Its lock is taken first, by a statement of its own, so
-- that the next one sees every session that was started under that lock.
CREATE FUNCTION end_sessions(p_account text, p_but text, p_ended_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM states WHERE stream_id = p_account FOR UPDATE;
    UPDATE sessions SET ended_at = p_ended_at
     WHERE account_id = p_account AND ended_at IS NULL AND session_id IS DISTINCT FROM p_but;
END
$$;

-- Rotate a refresh token: compare, and set. Says of the token that was presented what it is:
-- rotated (it was the current one), repeated (the one before, not longer ago than p_grace),
-- reused (spent before that), over (the session has ended, or there is none), inactive (its
-- account is: then nothing is rotated, so that it goes on after a reinstatement). Several at once
-- of one token queue at its row: the first rotates, the others read what it left.
CREATE FUNCTION rotate_session(
    p_session text, p_generation integer, p_digest bytea, p_next bytea, p_now timestamptz,
    p_grace interval, p_rotate boolean
) RETURNS TABLE (
    outcome text, account bytea, started_at timestamptz, expires_at timestamptz, amr text[],
    impersonator text
) LANGUAGE plpgsql AS $$
DECLARE
    found_row sessions%ROWTYPE;
    found_account bytea;
    judged text;
BEGIN
    IF p_rotate THEN
        SELECT * INTO found_row FROM sessions s WHERE s.session_id = p_session FOR UPDATE;
    ELSE
        SELECT * INTO found_row FROM sessions s WHERE s.session_id = p_session;
    END IF;
    IF found_row.session_id IS NULL OR found_row.ended_at IS NOT NULL
       OR found_row.expires_at <= p_now OR p_generation > found_row.generation THEN
        judged := 'over';
    ELSIF p_generation = found_row.generation THEN
        judged := CASE WHEN found_row.refresh_digest = p_digest THEN 'rotated' ELSE 'over' END;
    ELSIF p_generation = found_row.generation - 1 AND found_row.previous_digest = p_digest
          AND found_row.rotated_at >= p_now - p_grace THEN
        judged := 'repeated';
    ELSE
        judged := 'reused';
    END IF;
    SELECT s.state INTO found_account FROM states s WHERE s.stream_id = found_row.account_id;
    IF judged IN ('rotated', 'repeated')
       AND state_json(found_account) ->> 'status' IS DISTINCT FROM 'active' THEN
        judged := 'inactive';
    END IF;
    IF judged = 'rotated' AND p_rotate THEN
        UPDATE sessions s
           SET refresh_digest = p_next, previous_digest = p_digest, generation = p_generation + 1,
               rotated_at = p_now, last_seen_at = greatest(s.last_seen_at, p_now)
         WHERE s.session_id = p_session;
    END IF;
    RETURN QUERY SELECT judged, found_account, found_row.started_at, found_row.expires_at,
                        found_row.amr, found_row.impersonator;
END
$$;

-- Signing keys in their order: each signs from `signs_from` on, until the next one does, and is
-- accepted until `accepted_until`, or for as long as what it signed may live.
ALTER TABLE signing_keys
    ADD COLUMN signs_from timestamptz,
    ADD COLUMN accepted_until timestamptz;
UPDATE signing_keys SET signs_from = made_at;
ALTER TABLE signing_keys ALTER COLUMN signs_from SET NOT NULL;

-- Add a signing key, unless another process has just done so: `p_last` is the newest that the
-- caller knows. With p_end_others what the others have signed ends when this one begins.
CREATE FUNCTION add_signing_key(
    p_key_id text, p_sealed bytea, p_master_key_id text, p_made_at timestamptz,
    p_signs_from timestamptz, p_last text, p_end_others boolean
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('tollhouse signing keys'));
    IF p_last IS DISTINCT FROM
       (SELECT key_id FROM signing_keys ORDER BY signs_from DESC, made_at DESC LIMIT 1) THEN
        RETURN EXISTS (SELECT FROM signing_keys WHERE key_id = p_key_id);
    END IF;
    IF p_end_others THEN
        UPDATE signing_keys SET accepted_until = least(accepted_until, p_signs_from);
    END IF;
    INSERT INTO signing_keys (key_id, sealed, master_key_id, made_at, signs_from)
    VALUES (p_key_id, p_sealed, p_master_key_id, p_made_at, p_signs_from);
    RETURN true;
END
$$;
