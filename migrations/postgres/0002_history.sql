-- What happened to each exception: append-only, each row hashed over the one before it.
CREATE TABLE history (
  exception_key bigint NOT NULL,
  entry         integer NOT NULL,          -- 1..n without gap
  at            timestamptz NOT NULL,
  kind          text COLLATE "C" NOT NULL,
  actor         text COLLATE "C" NOT NULL,
  actor_kind    text COLLATE "C" NOT NULL,
  source        text COLLATE "C",          -- the event behind it; timers have none
  event_id      text COLLATE "C",
  event_type    text COLLATE "C",
  outcome       text COLLATE "C" NOT NULL CONSTRAINT history_outcome CHECK (outcome IN ('applied', 'refused')),
  code          text COLLATE "C",
  revision      integer NOT NULL,
  body          text NOT NULL,             -- the event's data, byte for byte; empty for timers
  hash          bytea NOT NULL,
  CONSTRAINT history_pkey PRIMARY KEY (exception_key, entry)
);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the history is append-only';
END $$;
CREATE TRIGGER history_append_only BEFORE UPDATE OR DELETE ON history FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER history_never_truncated BEFORE TRUNCATE ON history FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
