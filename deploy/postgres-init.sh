#!/bin/sh
# Run once by the Postgres image, on an empty volume: the role and the database of Tollhouse. The
# role owns its database and is no superuser; the superuser's password stays with Postgres.
set -eu

# The password is given by environment and read by psql itself, so no process list shows it.
psql -v ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres --no-psqlrc <<'SQL'
\getenv password DATABASE_PASSWORD
CREATE ROLE tollhouse LOGIN PASSWORD :'password';
CREATE DATABASE tollhouse OWNER tollhouse;
REVOKE ALL ON DATABASE tollhouse FROM PUBLIC;
SQL
