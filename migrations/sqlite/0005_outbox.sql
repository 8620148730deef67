-- Why: what is to be published to another broker, written with what it tells of. AUTOINCREMENT: an id is never used again, or
-- the fate of a deleted row could be taken for that of a new one.
CREATE TABLE outbox (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  free_at    INTEGER NOT NULL,     -- by the database's clock; until then the instance that wrote or claimed it has it in hand
  attempts   INTEGER NOT NULL DEFAULT 0,
  unroutable INTEGER NOT NULL DEFAULT 0 CONSTRAINT outbox_unroutable CHECK (unroutable IN (0, 1)),
  created_at INTEGER NOT NULL,
  body       TEXT NOT NULL         -- the envelope, byte for byte
) STRICT;

-- What is free is found, and the rows are counted, without reading a body.
CREATE INDEX outbox_free ON outbox (id, free_at);
