-- Why: what the exceptions of a ticket have in common, bounded whatever their number.
CREATE TABLE tickets (
  id                text COLLATE "C" CONSTRAINT tickets_pkey PRIMARY KEY,
  earliest_due_date date NOT NULL,     -- earliest original_due_date seen
  approved          integer NOT NULL CONSTRAINT tickets_approved CHECK (approved >= 0), -- approved exceptions so far
  last_event_at     timestamptz        -- time of the newest ticket event applied
) WITH (fillfactor = 80);
