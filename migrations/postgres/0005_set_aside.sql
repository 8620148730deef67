-- What waits for its submission, and what can never be processed; both with their raw bytes.
CREATE TABLE parked (
  id           bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT parked_pkey PRIMARY KEY, -- in the order of arrival
  exception_id text COLLATE "C" NOT NULL,
  event_key    uuid NOT NULL,
  parked_at    timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  properties   text NOT NULL,
  body         bytea NOT NULL
);
CREATE INDEX parked_exception ON parked (exception_id, id);
CREATE INDEX parked_expires ON parked (expires_at);

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
  state        text COLLATE "C" NOT NULL DEFAULT 'open',
  attempts     integer NOT NULL DEFAULT 0,
  received_at  timestamptz NOT NULL,
  properties   text NOT NULL,
  body         bytea NOT NULL,
  CONSTRAINT failures_once UNIQUE (event_key, digest),
  CONSTRAINT failures_state CHECK (state IN ('open', 'retrying', 'resolved', 'discarded'))
);
CREATE INDEX failures_open ON failures (fingerprint, id) WHERE state = 'open';
