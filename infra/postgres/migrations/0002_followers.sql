-- Whoever follows a log: how far, who holds it, and what stops it. The checkpoint is moved
-- by compare-and-set on `holder`, in the transaction of the rows that it stands for.
CREATE TABLE followers (
    name text PRIMARY KEY,
    log text NOT NULL CHECK (log IN ('decisions', 'usage')),
    position bigint NOT NULL DEFAULT 0,
    holder text,
    seen_at timestamptz,
    caught_up_at timestamptz,
    stopped_at bigint,
    problem text
);

INSERT INTO followers (name, log) VALUES
    ('accounts', 'decisions'),
    ('keys', 'decisions'),
    ('history', 'decisions'),
    ('key_uses', 'usage'),
    ('publish_events', 'decisions'),
    ('publish_usage', 'usage'),
    ('lake_events', 'decisions'),
    ('lake_usage', 'usage');
