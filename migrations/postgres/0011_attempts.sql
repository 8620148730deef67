-- Why: a message that ends the whole process cannot be blamed from inside. A note that outlives the process can: it is written
-- before a suspect is looked at, by the bytes of the suspect, and goes with the turn that settles it.
CREATE TABLE attempts (
  key   uuid CONSTRAINT attempts_pkey PRIMARY KEY, -- first 16 bytes of SHA-256 over the message as it came
  run   uuid NOT NULL,                             -- the process that tried last: the same one trying again is no new try
  tries smallint NOT NULL CONSTRAINT attempts_tries CHECK (tries > 0),
  at    timestamptz NOT NULL
);
CREATE INDEX attempts_at ON attempts (at);
