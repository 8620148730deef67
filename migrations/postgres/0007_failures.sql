-- Why: inputs that can never be processed, with their bytes; the same input fails once.
CREATE TABLE failures (
  id           uuid CONSTRAINT failures_pkey PRIMARY KEY, -- made from key and digest
  event_key    uuid NOT NULL,
  digest       uuid NOT NULL,
  reason       text COLLATE "C" NOT NULL,
  message      text NOT NULL,
  fingerprint  text COLLATE "C" NOT NULL,
  source       text NOT NULL,
  event_id     text NOT NULL,
  event_type   text,
  exception_id text COLLATE "C",
  state        text COLLATE "C" NOT NULL DEFAULT 'open'
    CONSTRAINT failures_state CHECK (state IN ('open', 'retrying', 'resolved', 'discarded')),
  received_at  timestamptz NOT NULL,
  attempts     integer NOT NULL DEFAULT 0,
  properties   text NOT NULL,          -- JSON
  body         bytea NOT NULL,
  CONSTRAINT failures_once UNIQUE (event_key, digest)
);
