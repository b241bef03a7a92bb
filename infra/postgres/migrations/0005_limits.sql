-- Counters carry their whole rule, and whoever knows a newer one brings it along: a plan that
-- changes is one event, and no job goes through everybody's rows. `carried` may be used on top
-- of the limit; `changes_at` is when an account's credits change by time alone.
ALTER TABLE counters
    ALTER COLUMN rule_no TYPE bigint,
    ADD COLUMN carried bigint NOT NULL DEFAULT 0,
    ADD COLUMN carry_max bigint NOT NULL DEFAULT 0,
    ADD COLUMN changes_at bigint NOT NULL DEFAULT 4611686018427387904;

DROP FUNCTION count_usage;

-- Count a flush: take its counters and append its usage event, in one round trip.
--
-- p_batch and p_metadata are JSON text; what is decided here is appended to the batch, so
-- the stored event holds all of it. Of each counter: what it counts (p_kinds: 0 quota, 1 rate,
-- 2 credits), the rule that the caller knows (p_rules, p_limits, p_carry), which of the
-- calendars (p_starts, p_bases, p_ends, p_next_ends, p_lengths) its windows are of, and how
-- much it is asked for in all, in how many takes. Where every counter can give that, nobody has
-- to be looked at one by one; else p_takes says who wants what, in order of arrival: row,
-- counter (1-based index into p_counters), amount, flat.
--
-- The clock is read after the rows are locked. A window never moves back: where the row is
-- already in a later one, that one counts. A row that has seen a newer rule, or a clock outside
-- both windows, refuses with -1: the caller looks again. Credits whose state has to be decided
-- anew refuse with -2. The oracle is domain.verification.take.
CREATE FUNCTION count_usage(
    p_stream text,
    p_version bigint,
    p_topic text,
    p_metadata text,
    p_batch text,
    p_counters bigint[],
    p_kinds integer[],
    p_rules bigint[],
    p_limits bigint[],
    p_carry bigint[],
    p_calendars integer[],
    p_totals bigint[],
    p_counts integer[],
    p_starts bigint[],
    p_bases bigint[],
    p_ends bigint[],
    p_next_ends bigint[],
    p_lengths bigint[],
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
    rules bigint[];
    limits bigint[];
    brought bigint[];
    carry bigint[];
    changes bigint[];
    closed integer[];
    locked bigint[];
    starts bigint[];
    bases bigint[];
    -- What is asked of an unlimited counter is counted up to here, and never overflows.
    most CONSTANT bigint := 2305843009213693952;
    crowded boolean := false;
    calendar integer;
    passed bigint;
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
               array_agg(c.window_start), array_agg(c.rule_no), array_agg(c.entry_no),
               array_agg(c.carried), array_agg(c.carry_max), array_agg(c.changes_at),
               array_agg(c.limit_amount + c.carried)
          INTO locked, limits, o_opening, o_windows, rules, o_entry_no, brought, carry, changes,
               o_limits
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
                              WHEN o_now >= c.e AND o_now < c.n THEN c.e END ORDER BY c.k),
               array_agg(CASE WHEN o_now >= c.e THEN c.e ELSE c.b END ORDER BY c.k)
          INTO starts, bases
          FROM unnest(p_starts, p_bases, p_ends, p_next_ends)
               WITH ORDINALITY AS c (s, b, e, n, k);
        closed := array_fill(0, ARRAY[n]);
        FOR i IN 1..n LOOP
            calendar := p_calendars[i];
            IF p_kinds[i] = 2 THEN
                IF rules[i] > p_rules[i] THEN
                    closed[i] := -1;
                    crowded := true;
                ELSIF rules[i] < p_rules[i] OR o_now >= changes[i] THEN
                    closed[i] := -2;
                    crowded := true;
                ELSIF o_opening[i] + p_totals[i] > o_limits[i] THEN
                    crowded := true;
                END IF;
            ELSIF rules[i] > p_rules[i] OR starts[calendar] IS NULL THEN
                closed[i] := -1;
                crowded := true;
            ELSE
                IF starts[calendar] > o_windows[i] THEN
                    IF least(carry[i], p_carry[i]) = 0 OR limits[i] IS NULL
                       OR o_windows[i] = 0 THEN
                        brought[i] := 0;
                    ELSIF o_windows[i] >= bases[calendar] THEN
                        brought[i] := least(brought[i], carry[i], p_carry[i]);
                    ELSE
                        passed := greatest(1, ceil(
                            (bases[calendar] - o_windows[i] - p_lengths[calendar] / 8)::numeric
                            / p_lengths[calendar]));
                        brought[i] := least(
                            greatest(limits[i] + brought[i] - o_opening[i], 0)
                                + (passed - 1)::numeric * limits[i],
                            carry[i], p_carry[i]);
                    END IF;
                    o_windows[i] := starts[calendar];
                    o_opening[i] := 0;
                END IF;
                IF rules[i] < p_rules[i] THEN
                    rules[i] := p_rules[i];
                    limits[i] := p_limits[i];
                    carry[i] := p_carry[i];
                    brought[i] := least(brought[i], p_carry[i]);
                END IF;
                o_limits[i] := limits[i] + brought[i];
                IF o_opening[i] + p_totals[i] > o_limits[i] THEN
                    crowded := true;
                END IF;
            END IF;
        END LOOP;

        taken := o_opening;
        given := p_counts;
        IF crowded THEN
            given := array_fill(0, ARRAY[n]);
            i := 1;
            WHILE i <= last_take LOOP
                first := i;
                reason := 0;
                WHILE i <= last_take AND p_takes[i] = p_takes[first] LOOP
                    here := p_takes[i + 1];
                    IF closed[here] < 0 THEN
                        -- Look again (-1) comes before decide first (-2).
                        reason := CASE WHEN reason < 0 THEN greatest(reason, closed[here])
                                       ELSE closed[here] END;
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
        ELSE
            SELECT array_agg(least(u.opening + u.total, most) ORDER BY u.k) INTO taken
              FROM unnest(o_opening, p_totals) WITH ORDINALITY AS u (opening, total, k);
        END IF;
        UPDATE counters c
           SET used = u.used, window_start = u.window_start, entry_no = c.entry_no + u.given,
               rule_no = u.rule_no, limit_amount = u.limit_amount, carried = u.carried,
               carry_max = u.carry_max
          FROM unnest(p_counters, taken, o_windows, given, rules, limits, brought, carry)
               AS u (id, used, window_start, given, rule_no, limit_amount, carried, carry_max)
         WHERE c.counter_id = u.id AND u.given > 0;
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
