-- The states once more, in the form in which the key directory holds them (projections.packing):
-- small and close together, so that a starting process reads a million of them in a second or
-- two. Written in the statement that writes the state; `body` null says that it was not, and
-- then the state itself counts. What belongs to accounts is apart from what belongs to keys:
-- a process that looks keys up as they are used reads only the former when it starts.
CREATE TABLE packed_states (
    part text NOT NULL CHECK (part IN ('account', 'key')),
    stream_id text NOT NULL,
    noun text NOT NULL,
    version bigint NOT NULL,
    id bytea,
    digest bytea,
    previous bytea,
    algorithms text[],
    body bytea,
    PRIMARY KEY (part, stream_id)
) PARTITION BY LIST (part);
CREATE TABLE packed_accounts PARTITION OF packed_states FOR VALUES IN ('account');
CREATE TABLE packed_keys PARTITION OF packed_states FOR VALUES IN ('key');
CREATE INDEX ON packed_states (algorithms) WHERE algorithms IS NOT NULL;

-- Of which part a state is. A rule is its owner's.
CREATE FUNCTION part_of(p_noun text, p_state bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE p_noun WHEN 'account' THEN 'account' WHEN 'api_key' THEN 'key'
           ELSE CASE WHEN convert_from(p_state, 'UTF8')::jsonb ->> 'owner_id' LIKE 'acct\_%'
                THEN 'account' ELSE 'key' END END
$$;

-- Whoever writes a state without its packed form voids that form: a process that starts must
-- not take an old one for true.
CREATE FUNCTION void_packed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM 1 FROM packed_states WHERE part IN ('account', 'key')
        AND stream_id = NEW.stream_id AND version = NEW.version;
    IF NOT FOUND THEN
        INSERT INTO packed_states (part, stream_id, noun, version)
        VALUES (part_of(NEW.noun, NEW.state), NEW.stream_id, NEW.noun, NEW.version)
        ON CONFLICT (part, stream_id) DO UPDATE SET version = excluded.version, id = NULL,
            digest = NULL, previous = NULL, algorithms = NULL, body = NULL;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER states_void_packed AFTER INSERT OR UPDATE ON states FOR EACH ROW
    WHEN (NEW.noun IN ('account', 'api_key', 'allowance')) EXECUTE FUNCTION void_packed();

INSERT INTO packed_states (part, stream_id, noun, version)
SELECT part_of(noun, state), stream_id, noun, version FROM states
 WHERE noun IN ('account', 'api_key', 'allowance');

-- Which types of events there are is asked at every start: this answers it without the log.
CREATE INDEX decisions_topic_idx ON decisions (topic);
