-- The manifest of the lake: which Parquet files there are. A file is named here before it is
-- put in place, with the positions and the day of its rows: so it can be made again from its
-- log, under the same name, whatever was lost. Only what has `placed_at` and no `replaced_at`
-- is shown. `level` counts how often its rows were merged into a larger file.
CREATE TABLE lake_files (
    path text PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('usage', 'events')),
    date date NOT NULL,
    first_position bigint NOT NULL,
    last_position bigint NOT NULL CHECK (last_position >= first_position),
    level smallint NOT NULL DEFAULT 0,
    rows bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 text NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    placed_at timestamptz,
    replaced_at timestamptz
);
CREATE INDEX lake_files_kind_idx ON lake_files (kind, date, first_position)
    WHERE replaced_at IS NULL;
