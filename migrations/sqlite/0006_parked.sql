-- Why: events that came before their submission wait here, as they came.
CREATE TABLE parked (
  id           INTEGER PRIMARY KEY AUTOINCREMENT, -- in the order of arrival
  exception_id TEXT NOT NULL,
  event_key    BLOB NOT NULL,
  parked_at    INTEGER NOT NULL,
  expires_at   INTEGER NOT NULL,
  properties   TEXT NOT NULL,          -- JSON
  body         BLOB NOT NULL
) STRICT;
CREATE INDEX parked_exception ON parked (exception_id, id);
CREATE INDEX parked_expires ON parked (expires_at, id);
