-- Read models: what the logs fold to, for reading only. Each is written by one follower, and
-- made anew by `tollhouse rebuild`: never write to them, never decide on them. Indexes have no
-- names of their own here, so that those of a rebuilt table are called the same.
CREATE TABLE account_list (
    account_id text PRIMARY KEY,
    username text,
    kind text NOT NULL,
    actor_type text NOT NULL,
    status text NOT NULL,
    plan text NOT NULL,
    roles text[] NOT NULL,
    email_verified boolean NOT NULL,
    registered_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL
);
CREATE INDEX ON account_list (plan, account_id);
CREATE INDEX ON account_list (username);

CREATE TABLE key_list (
    key_id text PRIMARY KEY,
    account_id text NOT NULL,
    name text NOT NULL,
    hint text NOT NULL,
    kind text NOT NULL,
    environment text NOT NULL,
    enabled boolean NOT NULL,
    expires_at timestamptz,
    issued_at timestamptz NOT NULL,
    revoked_at timestamptz,
    external_id text,
    generation integer NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    state text NOT NULL
);
CREATE INDEX ON key_list (account_id, key_id);

CREATE TABLE history (
    position bigint PRIMARY KEY,
    stream text NOT NULL,
    version bigint NOT NULL,
    noun text NOT NULL,
    type text NOT NULL,
    at timestamptz NOT NULL,
    account_id text,
    actor text NOT NULL,
    request_id text,
    cause text,
    data jsonb NOT NULL
);
CREATE UNIQUE INDEX ON history (stream, version);
CREATE INDEX ON history (account_id, position);

-- Updated in place once a second for every key in use.
CREATE TABLE key_uses (
    key_id text PRIMARY KEY,
    verifications bigint NOT NULL,
    denied bigint NOT NULL,
    cost numeric NOT NULL,
    last_used_at timestamptz
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);
