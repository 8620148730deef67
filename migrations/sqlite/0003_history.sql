-- Why: the append-only history. Its columns are the fields the hash chain is taken over, so that anybody can recompute it.
CREATE TABLE history (
  exception_key INTEGER NOT NULL,
  entry         INTEGER NOT NULL CONSTRAINT history_entry CHECK (entry > 0),
  at            INTEGER NOT NULL,
  kind          TEXT NOT NULL,
  actor         TEXT NOT NULL,
  actor_kind    TEXT NOT NULL
    CONSTRAINT history_actor_kind CHECK (actor_kind IN ('user', 'policy', 'timer', 'ticket_system')),
  source        TEXT,
  event_id      TEXT,
  event_type    TEXT,
  outcome       TEXT NOT NULL CONSTRAINT history_outcome CHECK (outcome IN ('applied', 'refused')),
  code          TEXT,
  revision      INTEGER NOT NULL,
  body          TEXT NOT NULL,             -- the event's data, byte for byte
  hash          BLOB NOT NULL CONSTRAINT history_hash CHECK (length(hash) = 32),
  CONSTRAINT history_pkey PRIMARY KEY (exception_key, entry),
  CONSTRAINT history_event CHECK ((source IS NULL) + (event_id IS NULL) + (event_type IS NULL) IN (0, 3)),
  CONSTRAINT history_code CHECK ((outcome = 'refused') = (code IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TRIGGER history_append_only BEFORE UPDATE ON history
BEGIN SELECT RAISE(ABORT, 'history is append-only: what is wrong is put right by a later entry'); END;
CREATE TRIGGER history_never_emptied BEFORE DELETE ON history
BEGIN SELECT RAISE(ABORT, 'history is append-only: what is wrong is put right by a later entry'); END;
-- REPLACE deletes what it finds without asking the trigger above.
CREATE TRIGGER history_never_replaced BEFORE INSERT ON history
WHEN EXISTS (SELECT 1 FROM history WHERE exception_key = NEW.exception_key AND entry = NEW.entry)
BEGIN SELECT RAISE(ABORT, 'history is append-only: what is wrong is put right by a later entry'); END;
