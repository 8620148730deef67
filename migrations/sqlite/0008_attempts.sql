-- Why: a note that outlives the process tells which message ended it, as in the Postgres schema.
CREATE TABLE attempts (
  key   BLOB NOT NULL CONSTRAINT attempts_pkey PRIMARY KEY, -- first 16 bytes of SHA-256 over the message as it came
  run   BLOB NOT NULL,                                      -- the process that tried last
  tries INTEGER NOT NULL CONSTRAINT attempts_tries CHECK (tries > 0),
  at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_at ON attempts (at);
