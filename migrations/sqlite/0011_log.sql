-- Why: with the embedded broker an event is published when it stands here, written by the turn that it tells of. Whoever follows
-- reads on from the last id he has seen; ids are never used again.
CREATE TABLE log (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  at   INTEGER NOT NULL, -- by the database's clock; never less than that of the row before, or nearly
  body TEXT NOT NULL     -- the envelope, byte for byte
) STRICT;
