-- Why: one row per exception request. Columns only for look-ups, CHECKs and the history chain; the aggregate is the document.
-- Turns are serial, so uniqueness is decided by reading; the constraints turn a bug into an error instead of a wrong row.
CREATE TABLE exceptions (
  key                bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT exceptions_pkey PRIMARY KEY, -- ours: 8 bytes, in order of time
  id                 text COLLATE "C" NOT NULL CONSTRAINT exceptions_id_key UNIQUE,              -- theirs: any spelling, any order
  ticket_id          text COLLATE "C" NOT NULL,
  status             text COLLATE "C" NOT NULL
    CONSTRAINT exceptions_status CHECK (status IN ('requested', 'under_review', 'approved', 'denied', 'cancelled')),
  enforcement        text COLLATE "C" NOT NULL
    CONSTRAINT exceptions_enforcement CHECK (enforcement IN ('none', 'pending', 'in_force', 'ended')),
  severity           text COLLATE "C" NOT NULL,
  requester          text NOT NULL,
  reviewers          text[] NOT NULL,      -- of the current level; empty when decided
  approvers          text[] NOT NULL,      -- whose approvals count
  requested_due_date date NOT NULL,
  approved_due_date  date,
  revision           integer NOT NULL,
  sequence           integer NOT NULL,     -- of the last outgoing event
  entries            integer NOT NULL,     -- history entries so far
  head               bytea NOT NULL,       -- hash of the last of them
  due_at             timestamptz,          -- when the clock next matters to it: a function of the state, null when never
  decided_at         timestamptz,
  created_at         timestamptz NOT NULL,
  updated_at         timestamptz NOT NULL,
  document           text NOT NULL,        -- the aggregate: JSON with its own "v"
  CONSTRAINT exceptions_no_self_approval CHECK (requester <> ALL (approvers)),
  CONSTRAINT exceptions_approved_has_date CHECK ((status = 'approved') = (approved_due_date IS NOT NULL)),
  CONSTRAINT exceptions_enforced_means_approved CHECK ((enforcement <> 'none') = (status = 'approved')),
  CONSTRAINT exceptions_final_has_time CHECK ((status IN ('requested', 'under_review')) = (decided_at IS NULL)),
  CONSTRAINT exceptions_counters CHECK (revision > 0 AND sequence >= 0 AND entries >= 0),
  CONSTRAINT exceptions_head CHECK (octet_length(head) = 32)
) WITH (fillfactor = 90);

-- At most one request of a ticket waits for a decision; with the next index it also finds what lives on a ticket.
CREATE UNIQUE INDEX exceptions_one_open ON exceptions (ticket_id) WHERE status IN ('requested', 'under_review');
CREATE INDEX exceptions_enforced ON exceptions (ticket_id) WHERE enforcement IN ('pending', 'in_force');
CREATE INDEX exceptions_due ON exceptions (due_at) WHERE due_at IS NOT NULL;
