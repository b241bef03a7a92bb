-- Second factors, as they are checked at a sign-in. Secrets are sealed under the master key,
-- recovery codes are keyed digests; nothing here says whose they are but an account id.

-- last_step is the newest step of 30 seconds that a code of was used: it only rises, so a code
-- is good once, whoever presents it how often at the same moment. guesses counts the codes that
-- were tried since guessing_since and not right.
CREATE TABLE totps (
    account_id text PRIMARY KEY,
    sealed bytea NOT NULL,
    master_key_id text NOT NULL,
    last_step bigint NOT NULL,
    guesses integer NOT NULL DEFAULT 0,
    guessing_since timestamptz NOT NULL DEFAULT '-infinity'
);

-- An app that was shown its secret and has not proven yet that it has it. One an account.
CREATE TABLE totp_enrolments (
    account_id text PRIMARY KEY,
    sealed bytea NOT NULL,
    master_key_id text NOT NULL,
    expires_at timestamptz NOT NULL
);

CREATE TABLE recovery_codes (
    account_id text NOT NULL,
    digest bytea NOT NULL,
    PRIMARY KEY (account_id, digest)
);

-- WebAuthn credentials. What their owners call them is in the log, sealed.
CREATE TABLE passkeys (
    passkey_id text PRIMARY KEY,
    account_id text NOT NULL,
    credential_id bytea NOT NULL UNIQUE,
    public_key bytea NOT NULL,
    sign_count bigint NOT NULL,
    transports text[] NOT NULL,
    backed_up boolean NOT NULL,
    made_at timestamptz NOT NULL,
    last_used_at timestamptz
);
CREATE INDEX passkeys_account_idx ON passkeys (account_id, passkey_id);

-- Challenges say themselves whether we made them and until when they are good
-- (application/passkey_challenges.py): only those that were used are kept, until then.
CREATE TABLE passkey_challenges (
    digest bytea PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
CREATE INDEX passkey_challenges_expires_idx ON passkey_challenges (expires_at);
