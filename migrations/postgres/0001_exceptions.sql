-- The requests and what the exceptions of one ticket have in common.
-- One writer at a time (every turn holds an advisory lock), so uniqueness across rows is decided by reading; the constraints
-- repeat what the domain has decided and turn a bug into an error instead of a wrong row.
CREATE TABLE exceptions (
  key                bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT exceptions_pkey PRIMARY KEY, -- ours: 8 bytes, in order of time
  id                 text COLLATE "C" NOT NULL CONSTRAINT exceptions_id_key UNIQUE,              -- theirs: any spelling, any order
  ticket_id          text COLLATE "C" NOT NULL,
  status             text COLLATE "C" NOT NULL,
  enforcement        text COLLATE "C" NOT NULL,
  severity           text COLLATE "C" NOT NULL,
  requester          text COLLATE "C" NOT NULL,
  reviewers          text[] NOT NULL,      -- of the current level; empty when closed
  approvers          text[] NOT NULL,
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
  CONSTRAINT exceptions_status CHECK (status IN ('requested', 'under_review', 'approved', 'denied', 'cancelled')),
  CONSTRAINT exceptions_enforcement CHECK (enforcement IN ('none', 'pending', 'in_force', 'ended')),
  CONSTRAINT exceptions_no_self_approval CHECK (requester <> ALL (approvers)),
  CONSTRAINT exceptions_approved_has_date CHECK ((status = 'approved') = (approved_due_date IS NOT NULL)),
  CONSTRAINT exceptions_enforced_means_approved CHECK ((enforcement <> 'none') = (status = 'approved')),
  CONSTRAINT exceptions_head_is_a_hash CHECK (octet_length(head) = 32)
) WITH (fillfactor = 90);
-- The live exceptions of a ticket: at most one open, and the enforced ones.
CREATE UNIQUE INDEX exceptions_one_open ON exceptions (ticket_id) WHERE status IN ('requested', 'under_review');
CREATE INDEX exceptions_enforced ON exceptions (ticket_id) WHERE enforcement IN ('pending', 'in_force');
CREATE INDEX exceptions_due ON exceptions (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE tickets (
  id                text COLLATE "C" CONSTRAINT tickets_pkey PRIMARY KEY,
  earliest_due_date date NOT NULL,     -- earliest original_due_date seen
  approved          integer NOT NULL,  -- approved exceptions so far
  last_event_at     timestamptz        -- time of the newest ticket event applied
) WITH (fillfactor = 80);
