-- GET /v1/events: pages in the order of the log, by any filter, at any depth.
--
-- Instants are almost in the order of positions, and almost isn't enough for pages. `latest` is
-- the highest instant up to and with this row: it only rises, so the place where a stretch of
-- time begins and ends is found by one look. `straggler`: the row is more than ten seconds
-- older than that; those few are looked up apart.
ALTER TABLE history
    ADD COLUMN latest timestamptz,
    ADD COLUMN straggler boolean NOT NULL DEFAULT false;

-- Events of that version said the username, and so did their rows here: erasing the person would
-- leave it.
UPDATE history h SET latest = w.latest, straggler = h.at < w.latest - interval '10 seconds',
       data = CASE h.type WHEN 'account.registered.v1' THEN h.data - 'username' ELSE h.data END
  FROM (SELECT position, max(at) OVER (ORDER BY position) AS latest FROM history) w
 WHERE w.position = h.position;

CREATE INDEX ON history (latest, position);
CREATE INDEX ON history (at, position) WHERE straggler;
CREATE INDEX ON history (type, position);
CREATE INDEX ON history (actor, type, position);
CREATE INDEX ON history (stream, position);
