-- Why: two versions run side by side during an upgrade. A migration that an older worker cannot live with raises this number
-- to its own; a worker that knows no migration so new then refuses to start, and every other newer schema is fine.
CREATE TABLE schema_compatibility (
  only_row          boolean NOT NULL DEFAULT true
    CONSTRAINT schema_compatibility_pkey PRIMARY KEY CONSTRAINT schema_compatibility_one_row CHECK (only_row),
  oldest_compatible bigint NOT NULL
);
INSERT INTO schema_compatibility (oldest_compatible) VALUES (1);
