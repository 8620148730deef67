-- Why: what the exceptions of a ticket have in common, bounded whatever their number.
CREATE TABLE tickets (
  id                TEXT NOT NULL CONSTRAINT tickets_pkey PRIMARY KEY,
  earliest_due_date TEXT NOT NULL,     -- earliest original_due_date seen
  approved          INTEGER NOT NULL CONSTRAINT tickets_approved CHECK (approved >= 0), -- approved exceptions so far
  last_event_at     INTEGER            -- time of the newest ticket event applied
) STRICT, WITHOUT ROWID;
