-- How many keys each account was issued in the hour that began at window_start (microseconds).
CREATE TABLE keys_issued (
    account_id text PRIMARY KEY,
    window_start bigint NOT NULL,
    issued bigint NOT NULL
);

-- Count one more key of the account's in this hour, or refuse (TH004). Whoever comes second waits
-- for the first one's commit, and a transaction that ends without one has counted nothing. A
-- process whose clock is behind counts in the later hour.
CREATE FUNCTION count_key_issued(p_account text, p_limit bigint, p_window bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    so_many bigint;
BEGIN
    INSERT INTO keys_issued AS k (account_id, window_start, issued)
    VALUES (p_account, p_window, 1)
    ON CONFLICT (account_id) DO UPDATE SET
        issued = CASE WHEN k.window_start >= excluded.window_start THEN k.issued + 1 ELSE 1 END,
        window_start = greatest(k.window_start, excluded.window_start)
    RETURNING issued INTO so_many;
    IF so_many > p_limit THEN
        RAISE EXCEPTION 'too many keys within the hour' USING ERRCODE = 'TH004';
    END IF;
END
$$;
