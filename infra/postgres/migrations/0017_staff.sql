-- The list of accounts, in pages: each filter alone is an index in the order of ids, so a page at
-- any depth is so many steps from where the last one ended. Usernames are compared byte by byte
-- ("C"), whatever the database's own order is, so that all with a prefix stand together.
ALTER TABLE account_list ADD COLUMN external_id text;
DROP INDEX IF EXISTS account_list_username_idx;
-- Status and plan stand in this one, so that those of another are passed over within it.
CREATE INDEX ON account_list (username COLLATE "C", status, plan) WHERE username IS NOT NULL;
CREATE INDEX ON account_list (status, account_id);
CREATE INDEX ON account_list (plan, status, account_id);
CREATE INDEX ON account_list (external_id) WHERE external_id IS NOT NULL;
-- Roles are few and the accounts that have any are fewer.
CREATE INDEX ON account_list USING gin (roles) WHERE roles <> '{}';
CREATE INDEX ON account_list (account_id) WHERE roles <> '{}';
