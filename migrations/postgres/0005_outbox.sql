-- Why: what is to be published, written with what it tells of. No second index: a row lives for seconds.
CREATE TABLE outbox (
  id         bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT outbox_pkey PRIMARY KEY,
  free_at    timestamptz NOT NULL,     -- by the database's clock; until then the instance that wrote or claimed it has it in hand
  attempts   smallint NOT NULL DEFAULT 0,
  unroutable boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  body       text NOT NULL             -- the envelope, byte for byte; type, subject and headers are read from it
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
