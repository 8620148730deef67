-- Why: one row per exception request, as in the Postgres schema: columns only for look-ups, CHECKs and the history chain; the
-- aggregate is the document. Times are microseconds since 1970, dates are text as in 2026-11-24, lists of people are joined by
-- spaces, which no user id contains, with one before and one after.
CREATE TABLE exceptions (
  key                INTEGER PRIMARY KEY, -- ours, in order of time
  id                 TEXT NOT NULL CONSTRAINT exceptions_id_key UNIQUE, -- theirs
  ticket_id          TEXT NOT NULL,
  status             TEXT NOT NULL
    CONSTRAINT exceptions_status CHECK (status IN ('requested', 'under_review', 'approved', 'denied', 'cancelled')),
  enforcement        TEXT NOT NULL
    CONSTRAINT exceptions_enforcement CHECK (enforcement IN ('none', 'pending', 'in_force', 'ended')),
  severity           TEXT NOT NULL,
  requester          TEXT NOT NULL,
  reviewers          TEXT NOT NULL,       -- of the current level; empty when decided
  approvers          TEXT NOT NULL,       -- whose approvals count
  requested_due_date TEXT NOT NULL,
  approved_due_date  TEXT,
  revision           INTEGER NOT NULL,
  sequence           INTEGER NOT NULL,    -- of the last outgoing event
  entries            INTEGER NOT NULL,    -- history entries so far
  head               BLOB NOT NULL,       -- hash of the last of them
  due_at             INTEGER,             -- when the clock next matters to it: a function of the state, null when never
  decided_at         INTEGER,
  created_at         INTEGER NOT NULL,
  updated_at         INTEGER NOT NULL,
  document           TEXT NOT NULL,       -- the aggregate: JSON with its own "v"
  CONSTRAINT exceptions_no_self_approval CHECK (instr(approvers, ' ' || requester || ' ') = 0),
  CONSTRAINT exceptions_approved_has_date CHECK ((status = 'approved') = (approved_due_date IS NOT NULL)),
  CONSTRAINT exceptions_enforced_means_approved CHECK ((enforcement <> 'none') = (status = 'approved')),
  CONSTRAINT exceptions_final_has_time CHECK ((status IN ('requested', 'under_review')) = (decided_at IS NULL)),
  CONSTRAINT exceptions_counters CHECK (revision > 0 AND sequence >= 0 AND entries >= 0),
  CONSTRAINT exceptions_head CHECK (length(head) = 32)
) STRICT;

-- At most one request of a ticket waits for a decision; with the next index it also finds what lives on a ticket.
CREATE UNIQUE INDEX exceptions_one_open ON exceptions (ticket_id) WHERE status IN ('requested', 'under_review');
CREATE INDEX exceptions_enforced ON exceptions (ticket_id) WHERE enforcement IN ('pending', 'in_force');
CREATE INDEX exceptions_due ON exceptions (due_at) WHERE due_at IS NOT NULL;
