-- What became of each hold, so that a second capture or release is told so: the state of an
-- account's credits (states, noun 'credit') has the open ones only. Amounts are hundredths,
-- instants microseconds since 1970.
CREATE TABLE credit_holds (
    hold_id text PRIMARY KEY,
    account_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('held', 'captured', 'released', 'expired')),
    amount bigint NOT NULL CHECK (amount > 0),
    captured bigint NOT NULL CHECK (captured BETWEEN 0 AND amount),
    expires_at bigint NOT NULL
);

-- Read models: an account's entries, from the decisions log and from the usage log. Together
-- they have every entry_no of an account once.
CREATE TABLE credit_decisions (
    account_id text NOT NULL,
    entry_no bigint NOT NULL,
    at_us bigint NOT NULL,
    kind text NOT NULL,
    amount bigint NOT NULL,
    before bigint NOT NULL,
    after bigint NOT NULL,
    operation text,
    hold_id text,
    lot bigint,
    source text,
    expires_at_us bigint,
    position bigint NOT NULL,
    PRIMARY KEY (account_id, entry_no)
);

-- One row for what one flush took of an account: its entries are first_entry + 1 up to and with
-- last_entry, one for each element of the lists.
CREATE TABLE credit_uses (
    account_id text NOT NULL,
    last_entry bigint NOT NULL,
    first_entry bigint NOT NULL,
    at_us bigint NOT NULL,
    before bigint NOT NULL,
    used bigint NOT NULL,
    amounts bigint[] NOT NULL,
    verification text NOT NULL,
    rows integer[] NOT NULL,
    keys text[] NOT NULL,
    operations text[] NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (account_id, last_entry)
);

INSERT INTO followers (name, log) VALUES
    ('credit_decisions', 'decisions'),
    ('credit_uses', 'usage');
