-- The two logs, in the format of the eventsourcing library's application recorder
-- (text stream ids), so that its recorder reads and writes them. Ours differs in the
-- autovacuum settings only: its defaults wait for 100 million dead rows.
CREATE TYPE stored_event_text AS (
    originator_id text,
    originator_version bigint,
    topic text,
    state bytea
);

CREATE TABLE decisions (
    originator_id text NOT NULL,
    originator_version bigint NOT NULL,
    topic text,
    state bytea,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX decisions_notification_id_idx ON decisions (notification_id ASC);

CREATE TABLE usage (
    originator_id text NOT NULL,
    originator_version bigint NOT NULL,
    topic text,
    state bytea,
    notification_id bigserial,
    PRIMARY KEY (originator_id, originator_version)
);
CREATE UNIQUE INDEX usage_notification_id_idx ON usage (notification_id ASC);

-- Rows that must be right when a command returns. They are written in its transaction.

CREATE TABLE claims (
    kind text NOT NULL,
    digest bytea NOT NULL,
    account_id text NOT NULL,
    PRIMARY KEY (kind, digest)
);
CREATE INDEX claims_account_idx ON claims (account_id);

CREATE TABLE states (
    stream_id text PRIMARY KEY,
    noun text NOT NULL,
    account_id text,
    version bigint NOT NULL,
    state bytea NOT NULL
);
CREATE INDEX states_account_idx ON states (noun, account_id, stream_id);

CREATE TABLE key_digests (
    digest bytea PRIMARY KEY,
    key_id text NOT NULL
);

-- Every allowance is a row here. Updated in place, thousands of times a second when hot:
-- room on the page keeps updates heap-only, and dead rows must go early.
CREATE TABLE counters (
    counter_id bigint PRIMARY KEY,
    owner_id text NOT NULL,
    account_id text NOT NULL,
    limit_amount bigint,
    used bigint NOT NULL DEFAULT 0 CHECK (used >= 0),
    window_start bigint NOT NULL DEFAULT 0,
    rule_no integer NOT NULL DEFAULT 1,
    entry_no bigint NOT NULL DEFAULT 0
) WITH (
    fillfactor = 50,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);
CREATE INDEX counters_account_idx ON counters (account_id);

CREATE TABLE data_keys (
    account_id text PRIMARY KEY,
    wrapped bytea NOT NULL,
    master_key_id text NOT NULL
);

CREATE TABLE passwords (
    account_id text PRIMARY KEY,
    hash text NOT NULL
);

CREATE TABLE sessions (
    session_id text PRIMARY KEY,
    account_id text NOT NULL,
    refresh_digest bytea NOT NULL UNIQUE,
    generation integer NOT NULL DEFAULT 1,
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_account_idx ON sessions (account_id);

CREATE TABLE answers (
    digest bytea PRIMARY KEY,
    body_digest bytea NOT NULL,
    answer bytea NOT NULL,
    stream_id text NOT NULL,
    version bigint NOT NULL,
    answered_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX answers_answered_at_idx ON answers (answered_at);

CREATE TABLE signing_keys (
    key_id text PRIMARY KEY,
    sealed bytea NOT NULL,
    master_key_id text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- Count a flush: take its counters and append its usage event, in one round trip.
--
-- p_batch and p_metadata are JSON text; what is decided here is appended to the batch, so
-- the stored event holds all of it. Of each counter: the rule that the caller knows, which of
-- the calendars (p_starts, p_ends, p_next_ends) its windows are of, and how much it is asked
-- for in all, in how many takes. Where every counter can give that, nobody has to be looked at
-- one by one; else p_takes says who wants what, in order of arrival: row, counter (1-based
-- index into p_counters), amount, flat.
--
-- The clock is read after the rows are locked. A window never moves back: where the row is
-- already in a later one, that one counts. A row that knows another rule, or a clock outside
-- both windows, refuses with -1: the caller looks again. The oracle is
-- domain.verification.take.
CREATE FUNCTION count_usage(
    p_stream text,
    p_version bigint,
    p_topic text,
    p_metadata text,
    p_batch text,
    p_counters bigint[],
    p_rules integer[],
    p_calendars integer[],
    p_totals bigint[],
    p_counts integer[],
    p_starts bigint[],
    p_ends bigint[],
    p_next_ends bigint[],
    p_takes bigint[],
    OUT o_position bigint,
    OUT o_now bigint,
    OUT o_windows bigint[],
    OUT o_limits bigint[],
    OUT o_opening bigint[],
    OUT o_entry_no bigint[],
    OUT o_refused bigint[],
    OUT o_refused_by integer[]
) LANGUAGE plpgsql AS $$
DECLARE
    n integer := coalesce(array_length(p_counters, 1), 0);
    taken bigint[];
    given integer[];
    rules integer[];
    locked bigint[];
    starts bigint[];
    -- What is asked of an unlimited counter is counted up to here, and never overflows.
    most CONSTANT bigint := 2305843009213693952;
    crowded boolean := false;
    i integer;
    j integer;
    first integer;
    here integer;
    reason integer;
    last_take integer := coalesce(array_length(p_takes, 1), 0);
BEGIN
    o_windows := '{}'; o_limits := '{}'; o_opening := '{}'; o_entry_no := '{}';
    o_refused := '{}'; o_refused_by := '{}';
    IF n > 0 THEN
        SELECT array_agg(c.counter_id), array_agg(c.limit_amount), array_agg(c.used),
               array_agg(c.window_start), array_agg(c.rule_no), array_agg(c.entry_no)
          INTO locked, o_limits, o_opening, o_windows, rules, o_entry_no
          FROM (SELECT * FROM counters WHERE counter_id = ANY (p_counters)
                ORDER BY counter_id FOR UPDATE) c;
        IF locked IS DISTINCT FROM p_counters THEN
            RAISE EXCEPTION 'counters are missing or out of order' USING ERRCODE = 'TH001';
        END IF;
    END IF;

    LOCK TABLE usage IN EXCLUSIVE MODE;
    o_now := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

    IF n > 0 THEN
        -- The window that is now, by calendar; null where the clock is outside of both.
        SELECT array_agg(CASE WHEN o_now >= c.s AND o_now < c.e THEN c.s
                              WHEN o_now >= c.e AND o_now < c.n THEN c.e END ORDER BY c.k)
          INTO starts
          FROM unnest(p_starts, p_ends, p_next_ends) WITH ORDINALITY AS c (s, e, n, k);
        FOR i IN 1..n LOOP
            IF rules[i] <> p_rules[i] OR starts[p_calendars[i]] IS NULL THEN
                rules[i] := -1;
                crowded := true;
            ELSE
                IF starts[p_calendars[i]] > o_windows[i] THEN
                    o_windows[i] := starts[p_calendars[i]];
                    o_opening[i] := 0;
                END IF;
                IF o_opening[i] + p_totals[i] > o_limits[i] THEN
                    crowded := true;
                END IF;
            END IF;
        END LOOP;

        IF crowded THEN
            taken := o_opening;
            given := array_fill(0, ARRAY[n]);
            i := 1;
            WHILE i <= last_take LOOP
                first := i;
                reason := 0;
                WHILE i <= last_take AND p_takes[i] = p_takes[first] LOOP
                    here := p_takes[i + 1];
                    IF rules[here] = -1 THEN
                        reason := -1;
                    ELSIF reason = 0 AND taken[here] + p_takes[i + 2] > o_limits[here] THEN
                        reason := here;
                    END IF;
                    i := i + 3;
                END LOOP;
                IF reason = 0 THEN
                    j := first;
                    WHILE j < i LOOP
                        here := p_takes[j + 1];
                        taken[here] := least(taken[here] + p_takes[j + 2], most);
                        given[here] := given[here] + 1;
                        j := j + 3;
                    END LOOP;
                ELSE
                    o_refused := o_refused || p_takes[first];
                    o_refused_by := o_refused_by || reason;
                END IF;
            END LOOP;
            UPDATE counters c
               SET used = u.used, window_start = u.window_start, entry_no = c.entry_no + u.given
              FROM unnest(p_counters, taken, o_windows, given) AS u (id, used, window_start, given)
             WHERE c.counter_id = u.id AND u.given > 0;
        ELSE
            UPDATE counters c
               SET used = least(u.opening + u.total, most), window_start = u.window_start,
                   entry_no = c.entry_no + u.given
              FROM unnest(p_counters, o_opening, p_totals, o_windows, p_counts)
                   AS u (id, opening, total, window_start, given)
             WHERE c.counter_id = u.id AND u.given > 0;
        END IF;
    END IF;

    INSERT INTO usage AS t (originator_id, originator_version, topic, state)
    VALUES (p_stream, p_version, p_topic, convert_to(
        '{"event":{' || p_batch
        || ',"counted_at_us":' || o_now
        || ',"windows":' || array_to_json(o_windows)
        || ',"limits":' || array_to_json(o_limits)
        || ',"opening":' || array_to_json(o_opening)
        || ',"entry_no":' || array_to_json(o_entry_no)
        || ',"refused":' || array_to_json(o_refused)
        || ',"refused_by":' || array_to_json(o_refused_by)
        || '},"metadata":' || p_metadata || '}', 'UTF8'))
    RETURNING notification_id INTO o_position;
    NOTIFY usage;
END
$$;

-- Keep an answer for its Idempotency-Key. A second request in flight is told at once (TH002)
-- instead of waiting for the first one's commit; one that comes later meets the primary key.
CREATE FUNCTION remember_answer(
    p_digest bytea, p_body_digest bytea, p_answer bytea, p_stream text, p_version bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended(encode(p_digest, 'hex'), 0)) THEN
        RAISE EXCEPTION 'in flight' USING ERRCODE = 'TH002';
    END IF;
    DELETE FROM answers WHERE digest = p_digest AND answered_at <= now() - interval '7 days';
    INSERT INTO answers (digest, body_digest, answer, stream_id, version)
    VALUES (p_digest, p_body_digest, p_answer, p_stream, p_version);
END
$$;

-- Refuse (TH003) unless the account has fewer than so many of a noun that have not ended.
-- Whoever asks waits for the others that ask for the same account, so that two at once
-- can't both be the last one.
CREATE FUNCTION require_fewer_than(p_account text, p_noun text, p_limit bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    living bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(p_noun || ' of ' || p_account, 0));
    SELECT count(*) INTO living FROM states
     WHERE noun = p_noun AND account_id = p_account
       AND convert_from(state, 'UTF8')::jsonb ->> 'revoked_at' IS NULL;
    IF living >= p_limit THEN
        RAISE EXCEPTION 'the plan allows no more' USING ERRCODE = 'TH003';
    END IF;
END
$$;
