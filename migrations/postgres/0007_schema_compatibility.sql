-- A migration that breaks older workers raises the number; a worker whose newest migration is below it refuses to start.
CREATE TABLE schema_compatibility (
  single    boolean DEFAULT true CONSTRAINT schema_compatibility_pkey PRIMARY KEY CONSTRAINT schema_compatibility_one_row CHECK (single),
  migration bigint NOT NULL
);
INSERT INTO schema_compatibility (migration) VALUES (1);
