-- Which accounts change their plan later, and when: what a renewal looks for. Written with the
-- event that schedules it, deleted with the one that carries it out or cancels it.
CREATE TABLE plan_changes (
    account_id text PRIMARY KEY,
    plan text NOT NULL,
    due_at timestamptz NOT NULL
);
CREATE INDEX plan_changes_due_idx ON plan_changes (due_at, account_id);
