-- Why: inputs that can never be processed, with their bytes; the same input fails once. An edit is a failure of its own that names
-- the one it mends.
CREATE TABLE failures (
  id           BLOB NOT NULL CONSTRAINT failures_pkey PRIMARY KEY, -- made from key and digest
  event_key    BLOB NOT NULL,
  digest       BLOB NOT NULL,
  reason       TEXT NOT NULL,
  message      TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  source       TEXT NOT NULL,
  event_id     TEXT NOT NULL,
  event_type   TEXT,
  exception_id TEXT,
  state        TEXT NOT NULL DEFAULT 'open'
    CONSTRAINT failures_state CHECK (state IN ('open', 'retrying', 'resolved', 'discarded')),
  received_at  INTEGER NOT NULL,
  attempts     INTEGER NOT NULL DEFAULT 0,
  announced    TEXT NOT NULL DEFAULT '',   -- the reasons it was announced with, joined by spaces
  outcome      TEXT CONSTRAINT failures_outcome CHECK (outcome IN ('applied', 'refused', 'parked', 'repeated')),
  code         TEXT,
  edited_from  BLOB CONSTRAINT failures_edited_from_fkey REFERENCES failures (id),
  properties   TEXT NOT NULL,          -- JSON
  body         BLOB NOT NULL,          -- last: it may be long, and what stands before it is read without it
  CONSTRAINT failures_once UNIQUE (event_key, digest)
) STRICT;
CREATE INDEX failures_edited_from ON failures (edited_from) WHERE edited_from IS NOT NULL;
CREATE INDEX failures_received ON failures (received_at, id);
CREATE INDEX failures_state ON failures (state, received_at, id); -- the list is mostly asked for one state
CREATE INDEX failures_retrying ON failures (received_at, id) WHERE state = 'retrying';
