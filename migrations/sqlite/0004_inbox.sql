-- Why: what was seen, by 16 bytes of SHA-256, so that a repeat has no effect. Row ids grow in the order of arrival: what is old
-- is found at the beginning, and deleted a little at a time.
CREATE TABLE inbox (
  id      INTEGER PRIMARY KEY,
  key     BLOB NOT NULL CONSTRAINT inbox_key UNIQUE, -- first 16 bytes of SHA-256(length of source, source, id)
  at      INTEGER NOT NULL,                          -- by the database's clock
  digest  BLOB NOT NULL,                             -- first 16 bytes of the content digest
  outcome TEXT NOT NULL CONSTRAINT inbox_outcome CHECK (outcome IN ('applied', 'refused', 'failed', 'parked')),
  code    TEXT,
  CONSTRAINT inbox_code CHECK ((outcome IN ('refused', 'failed')) = (code IS NOT NULL))
) STRICT;
