-- Counters of a sliding hour. Two numbers, whatever the limit: what was counted in the hour of the
-- clock `window_no` (p_now / 3600 s) and in the one before, of which as much counts as is less than
-- an hour ago, rounded up. Subjects are keyed digests. All times here are microseconds since 1970.
CREATE TABLE throttles (
    name text NOT NULL,
    subject bytea NOT NULL,
    window_no bigint NOT NULL,
    before bigint NOT NULL,
    current bigint NOT NULL,
    PRIMARY KEY (name, subject)
);

CREATE FUNCTION throttle_weighs(p_before bigint, p_current bigint, p_now bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (p_before * (3600000000 - p_now % 3600000000) + 3599999999) / 3600000000 + p_current
$$;

-- Where a counter stands, without counting; no row is a counter at 0.
CREATE FUNCTION throttle_stands(p_name text, p_subject bytea, p_now bigint)
RETURNS TABLE (before bigint, current bigint) LANGUAGE sql STABLE AS $$
    SELECT coalesce(max(CASE WHEN t.window_no >= p_now / 3600000000 THEN t.before
                        WHEN t.window_no = p_now / 3600000000 - 1 THEN t.current END), 0),
           coalesce(max(CASE WHEN t.window_no >= p_now / 3600000000 THEN t.current END), 0)
      FROM throttles t WHERE t.name = p_name AND t.subject = p_subject
$$;

-- Count one more in each of these counters: 'all' if every one of them allows it, else in none;
-- 'always' whatever they allow. Who comes second waits for the first: no two see the same number.
-- Callers name the counters in one order, so that none waits for another in a circle.
CREATE FUNCTION throttle_hit(
    p_names text[], p_subjects bytea[], p_limits bigint[], p_now bigint, p_how text
) RETURNS TABLE (before bigint, current bigint, allowed boolean) LANGUAGE plpgsql AS $$
DECLARE
    now_no bigint := p_now / 3600000000;
    befores bigint[] := '{}';
    currents bigint[] := '{}';
    fits boolean[] := '{}';
    found record;
    taken bigint;
BEGIN
    FOR i IN 1 .. cardinality(p_names) LOOP
        -- A process whose clock is behind counts in the window that others have begun.
        INSERT INTO throttles AS t (name, subject, window_no, before, current)
        VALUES (p_names[i], p_subjects[i], now_no, 0, 0)
        ON CONFLICT (name, subject) DO UPDATE SET
            before = CASE WHEN t.window_no >= now_no THEN t.before
                          WHEN t.window_no = now_no - 1 THEN t.current ELSE 0 END,
            current = CASE WHEN t.window_no >= now_no THEN t.current ELSE 0 END,
            window_no = greatest(t.window_no, now_no)
        RETURNING t.before AS before, t.current AS current INTO found;
        befores := befores || found.before;
        currents := currents || found.current;
        fits := fits || (throttle_weighs(found.before, found.current, p_now) < p_limits[i]);
    END LOOP;
    taken := CASE WHEN p_how = 'always' OR NOT false = ANY (fits) THEN 1 ELSE 0 END;
    FOR i IN 1 .. cardinality(p_names) LOOP
        IF taken = 1 THEN
            UPDATE throttles t SET current = t.current + 1
             WHERE t.name = p_names[i] AND t.subject = p_subjects[i];
        END IF;
        before := befores[i];
        current := currents[i] + taken;
        allowed := fits[i];
        RETURN NEXT;
    END LOOP;
END
$$;

-- Failed sign-ins in a row, by the digest of the name that was given: for accounts and for names
-- that nobody has. tell_at: when the account's history is to be told of the lock.
CREATE TABLE sign_in_failures (
    subject bytea PRIMARY KEY,
    account_id text,
    failures bigint NOT NULL,
    failed_at bigint NOT NULL,
    locked_until bigint NOT NULL,
    tell_at bigint
);
CREATE INDEX sign_in_failures_of ON sign_in_failures (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX sign_in_failures_to_tell ON sign_in_failures (tell_at) WHERE tell_at IS NOT NULL;

-- Where an account has signed in from: a keyed digest of both.
CREATE TABLE known_networks (
    digest bytea PRIMARY KEY,
    account_id text NOT NULL,
    known_until timestamptz NOT NULL
);
CREATE INDEX known_networks_of ON known_networks (account_id);

-- Whether a sign-in by password may be tried. If so it is counted as failed, and locks if it is
-- one too many, before anybody judges it: sign_in_undone and a session's start take that back.
-- In a network that the account is known in it is counted apart from all other networks: nobody
-- elsewhere can lock its owner out of there.
CREATE FUNCTION begin_sign_in(
    p_account text, p_name bytea, p_network bytea, p_alone bytea, p_known bytea[],
    p_second_factor boolean, p_now bigint,
    p_per_network bigint, p_everywhere bigint, p_second_factors bigint,
    p_after bigint, p_lock bigint, p_lock_max bigint, p_forget bigint
) RETURNS TABLE (verdict text, subject bytea, before bigint, current bigint, until bigint)
LANGUAGE plpgsql AS $$
DECLARE
    known boolean;
    stuffing boolean;
    counted sign_in_failures%ROWTYPE;
BEGIN
    -- A count that a crash of Postgres itself loses within half a second is no loss worth
    -- waiting for the disk at every sign-in.
    PERFORM set_config('synchronous_commit', 'off', true);
    until := 0;
    subject := p_name;
    IF p_per_network > 0 THEN
        SELECT s.before, s.current INTO before, current
          FROM throttle_stands('failed_login', p_network, p_now) s;
        IF throttle_weighs(before, current, p_now) >= p_per_network THEN
            verdict := 'network';
            RETURN NEXT;
            RETURN;
        END IF;
    END IF;
    known := EXISTS (SELECT FROM known_networks k WHERE k.digest = ANY (p_known)
                     AND k.known_until > to_timestamp(p_now / 1000000.0));
    IF known THEN
        subject := p_alone;
    END IF;
    SELECT s.before, s.current INTO before, current
      FROM throttle_stands('failed_login_global', '', p_now) s;
    stuffing := p_everywhere > 0 AND NOT known
        AND throttle_weighs(before, current, p_now) >= p_everywhere;
    IF p_after > 0 THEN
        INSERT INTO sign_in_failures AS f
            (subject, account_id, failures, failed_at, locked_until)
        VALUES (begin_sign_in.subject, p_account, 0, p_now, 0)
        ON CONFLICT ON CONSTRAINT sign_in_failures_pkey DO UPDATE SET
            account_id = excluded.account_id,
            failures = CASE WHEN f.failed_at < p_now - p_forget THEN 0 ELSE f.failures END
        RETURNING f.* INTO counted;
        until := counted.locked_until;
    END IF;
    verdict := CASE WHEN until > p_now THEN 'locked' WHEN stuffing THEN 'stuffing' ELSE 'open' END;
    IF verdict = 'open' THEN
        IF p_after > 0 THEN
            counted.failures := counted.failures + 1;
            counted.failed_at := p_now;
            IF counted.failures >= p_after THEN
                counted.locked_until := p_now + least(
                    p_lock * (1::bigint << least(counted.failures - p_after, 20)::int), p_lock_max);
                -- A little later, when it is known that this one failed.
                counted.tell_at := CASE WHEN p_account IS NOT NULL THEN p_now + 5000000 END;
            END IF;
            UPDATE sign_in_failures f SET failures = counted.failures,
                failed_at = counted.failed_at, locked_until = counted.locked_until,
                tell_at = counted.tell_at
             WHERE f.subject = counted.subject;
        END IF;
    ELSIF p_second_factor THEN
        IF p_second_factors = 0 OR (SELECT h.allowed FROM throttle_hit(
            ARRAY['second_factor'], ARRAY[subject], ARRAY[p_second_factors], p_now, 'all') h)
        THEN
            verdict := 'guarded';
        END IF;
    END IF;
    RETURN NEXT;
END
$$;

-- A try that was not judged, or is not over, and the lock that it would have meant.
CREATE FUNCTION sign_in_undone(p_subject bytea) RETURNS void LANGUAGE sql AS $$
    UPDATE sign_in_failures SET failures = greatest(failures - 1, 0), locked_until = 0,
           tell_at = NULL
     WHERE subject = p_subject
$$;
