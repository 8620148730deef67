-- Why: a migration that an older program cannot live with raises this number to its own; a program that knows no migration so new
-- refuses to start.
CREATE TABLE schema_compatibility (
  only_row          INTEGER NOT NULL DEFAULT 1
    CONSTRAINT schema_compatibility_pkey PRIMARY KEY CONSTRAINT schema_compatibility_one_row CHECK (only_row = 1),
  oldest_compatible INTEGER NOT NULL
) STRICT;
INSERT INTO schema_compatibility (oldest_compatible) VALUES (1);
