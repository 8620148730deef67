-- Why: events that came before their submission wait here, as they came.
CREATE TABLE parked (
  id           bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT parked_pkey PRIMARY KEY, -- in the order of arrival
  exception_id text COLLATE "C" NOT NULL,
  event_key    uuid NOT NULL,
  parked_at    timestamptz NOT NULL,
  expires_at   timestamptz NOT NULL,
  properties   text NOT NULL,          -- JSON
  body         bytea NOT NULL
);
CREATE INDEX parked_exception ON parked (exception_id, id);
CREATE INDEX parked_expires ON parked (expires_at, id);
