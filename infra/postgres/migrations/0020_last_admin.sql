-- An admin is left, whatever happens at once. Two admins who dismiss each other each see the other
-- when they decide; so it is judged here, one after the other: whatever makes an account that could
-- manage staff one that can't waits for whoever does the same, and is refused (TH020) if it was the
-- last.
CREATE FUNCTION is_acting_admin(p_state bytea) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
BEGIN
    RETURN state_json(p_state) ->> 'status' = 'active' AND state_json(p_state) -> 'roles' ? 'admin';
END
$$;

-- Accounts whose state says "admin" somewhere: a look at the bytes, for every account that is
-- written. Which of them are admins is asked of those few.
CREATE INDEX states_admins_idx ON states (stream_id)
    WHERE noun = 'account' AND position('\x2261646d696e22'::bytea in state) > 0;

CREATE FUNCTION leave_an_admin() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- But not who is erased: staff can't be, unless they were before this copy of the database was
    -- made the one in use; and then they are, whoever is left.
    IF is_acting_admin(OLD.state) AND NOT is_acting_admin(NEW.state)
       AND state_json(NEW.state) ->> 'status' <> 'erased' THEN
        PERFORM pg_advisory_xact_lock(hashtext('tollhouse admins'));
        -- A statement of its own, so it sees what whoever held the lock has committed.
        IF NOT EXISTS (
            SELECT 1 FROM states
             WHERE noun = 'account' AND position('\x2261646d696e22'::bytea in state) > 0
               AND is_acting_admin(state)
        ) THEN
            RAISE EXCEPTION 'the last admin' USING ERRCODE = 'TH020';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER states_leave_an_admin AFTER UPDATE ON states FOR EACH ROW
    WHEN (OLD.noun = 'account' AND position('\x2261646d696e22'::bytea in OLD.state) > 0)
    EXECUTE FUNCTION leave_an_admin();
