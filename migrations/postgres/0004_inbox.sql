-- Why: what was seen, by 16 bytes of SHA-256, so that a repeat has no effect. Four rings, each emptied whole when its turn
-- comes again: deleting millions of rows one by one would cost more than writing them.
CREATE TABLE inbox (
  key     uuid NOT NULL,               -- first 16 bytes of SHA-256(length of source, source, id)
  ring    smallint NOT NULL,           -- of inbox_rings
  digest  uuid NOT NULL,               -- first 16 bytes of the content digest
  outcome text COLLATE "C" NOT NULL
    CONSTRAINT inbox_outcome CHECK (outcome IN ('applied', 'refused', 'failed', 'parked')),
  code    text COLLATE "C",
  CONSTRAINT inbox_pkey PRIMARY KEY (key, ring),
  CONSTRAINT inbox_code CHECK ((outcome IN ('refused', 'failed')) = (code IS NOT NULL))
) PARTITION BY LIST (ring);
CREATE TABLE inbox_0 PARTITION OF inbox FOR VALUES IN (0);
CREATE TABLE inbox_1 PARTITION OF inbox FOR VALUES IN (1);
CREATE TABLE inbox_2 PARTITION OF inbox FOR VALUES IN (2);
CREATE TABLE inbox_3 PARTITION OF inbox FOR VALUES IN (3);

-- The epoch (15 days each, since 1970) a ring was last entered. New rows go to the ring with the newest.
CREATE TABLE inbox_rings (
  ring  smallint CONSTRAINT inbox_rings_pkey PRIMARY KEY CONSTRAINT inbox_rings_ring CHECK (ring BETWEEN 0 AND 3),
  epoch bigint NOT NULL CONSTRAINT inbox_rings_epoch UNIQUE
);
