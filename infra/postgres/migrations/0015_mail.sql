-- Mail to be sent and mail that was. What it says and to whom is sealed, and NULL once it has
-- ended; address_digest is the digest that claims hold addresses by, so that erasure finds it.
CREATE TABLE mail (
    mail_id text PRIMARY KEY,
    account_id text,
    address_digest bytea NOT NULL,
    template text NOT NULL,
    once_digest bytea UNIQUE,
    sealed bytea,
    master_key_id text NOT NULL,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT '-infinity',
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    tries integer NOT NULL DEFAULT 0,
    problem text,
    outcome text CHECK (outcome IN ('sent', 'refused', 'given_up', 'forgotten')),
    ended_at timestamptz
);
CREATE INDEX mail_due_idx ON mail (due_at, mail_id) WHERE outcome IS NULL;
CREATE INDEX mail_waiting_idx ON mail (created_at) WHERE outcome IS NULL;
CREATE INDEX mail_ended_idx ON mail (ended_at) WHERE outcome IS NOT NULL;
CREATE INDEX mail_failed_idx ON mail (ended_at) WHERE outcome IN ('refused', 'given_up');
CREATE INDEX mail_forgotten_idx ON mail (mail_id) WHERE outcome = 'forgotten';
CREATE INDEX mail_account_idx ON mail (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX mail_address_idx ON mail (address_digest);
