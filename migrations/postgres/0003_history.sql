-- Why: the append-only history. Its columns are the fields the hash chain is taken over, so that anybody can recompute it.
CREATE TABLE history (
  exception_key bigint NOT NULL,
  entry         integer NOT NULL CONSTRAINT history_entry CHECK (entry > 0),
  at            timestamptz NOT NULL,
  kind          text COLLATE "C" NOT NULL,
  actor         text COLLATE "C" NOT NULL,
  actor_kind    text COLLATE "C" NOT NULL
    CONSTRAINT history_actor_kind CHECK (actor_kind IN ('user', 'policy', 'timer', 'ticket_system')),
  source        text,
  event_id      text,
  event_type    text COLLATE "C",
  outcome       text COLLATE "C" NOT NULL CONSTRAINT history_outcome CHECK (outcome IN ('applied', 'refused')),
  code          text COLLATE "C",
  revision      integer NOT NULL,
  body          text NOT NULL,             -- the event's data, byte for byte
  hash          bytea NOT NULL CONSTRAINT history_hash CHECK (octet_length(hash) = 32),
  CONSTRAINT history_pkey PRIMARY KEY (exception_key, entry),
  CONSTRAINT history_event CHECK (num_nulls(source, event_id, event_type) IN (0, 3)),
  CONSTRAINT history_code CHECK ((outcome = 'refused') = (code IS NOT NULL))
);

CREATE FUNCTION history_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'history is append-only' USING HINT = 'what is wrong is put right by a later entry';
END $$;
CREATE TRIGGER history_append_only BEFORE UPDATE OR DELETE ON history
  FOR EACH ROW EXECUTE FUNCTION history_refuse_change();
CREATE TRIGGER history_never_emptied BEFORE TRUNCATE ON history
  FOR EACH STATEMENT EXECUTE FUNCTION history_refuse_change();
