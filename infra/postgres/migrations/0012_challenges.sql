-- Proofs of an address that are under way: a code was mailed, and whoever tells it has the mailbox.
-- Codes and tokens are digests under the pepper; what waits for the proof (a pending registration)
-- is sealed under the master key. One row for every request, whoever the address belongs to.
CREATE TABLE challenges (
    challenge_id text PRIMARY KEY,
    purpose text NOT NULL,
    address_digest bytea NOT NULL,
    account_id text,
    code_digest bytea,
    guesses_left integer NOT NULL,
    token_digest bytea UNIQUE,
    sealed bytea NOT NULL,
    master_key_id text NOT NULL,
    made_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
CREATE INDEX challenges_address_idx ON challenges (address_digest, purpose, made_at);
CREATE INDEX challenges_account_idx ON challenges (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX challenges_expires_idx ON challenges (expires_at);

-- Judge one guess of a code (its digests under every pepper in use). A wrong one costs a guess; of
-- many at once each is counted. A right one answers the row; with p_token it is spent by that and
-- the token stands in its place, so of many at once one is right. Asked again with the same token
-- (the reply was lost), the answer is the same.
CREATE FUNCTION guess_challenge(
    p_id text, p_purposes text[], p_codes bytea[], p_now timestamptz,
    p_token bytea, p_token_until timestamptz
) RETURNS SETOF challenges LANGUAGE plpgsql AS $$
DECLARE
    found challenges;
BEGIN
    SELECT * INTO found FROM challenges c
     WHERE c.challenge_id = p_id AND c.purpose = ANY (p_purposes) AND c.expires_at > p_now
       FOR UPDATE;
    IF found.challenge_id IS NULL OR found.token_digest = p_token THEN
        IF found.challenge_id IS NOT NULL THEN RETURN NEXT found; END IF;
        RETURN;
    END IF;
    IF found.guesses_left <= 0 OR found.code_digest IS NULL THEN
        RETURN;
    END IF;
    IF found.code_digest <> ALL (p_codes) THEN
        UPDATE challenges c SET guesses_left = c.guesses_left - 1 WHERE c.challenge_id = p_id;
        RETURN;
    END IF;
    IF p_token IS NOT NULL THEN
        UPDATE challenges c SET token_digest = p_token, code_digest = NULL,
               expires_at = p_token_until WHERE c.challenge_id = p_id;
    END IF;
    RETURN NEXT found;
END
$$;

-- Spend a proof in the transaction of what it was for, or refuse (THCHL): whoever comes second
-- waits for the first one's commit, and finds nothing.
CREATE FUNCTION spend_challenge(p_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM challenges WHERE challenge_id = p_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the proof was used' USING ERRCODE = 'THCHL';
    END IF;
END
$$;

-- Passwords that are known from breaches, as SHA-1 as lists of them are published. Nothing here is
-- about anybody who is known to this server.
CREATE TABLE breached_passwords (
    digest bytea PRIMARY KEY
);
