-- Why: `pick: least_loaded` asks who has the fewest open assignments. Turns keep the count.
CREATE TABLE reviewers (
  id               TEXT NOT NULL CONSTRAINT reviewers_pkey PRIMARY KEY,
  open_assignments INTEGER NOT NULL CONSTRAINT reviewers_not_negative CHECK (open_assignments >= 0)
) STRICT, WITHOUT ROWID;
