-- Which events were seen, in four rings of 15 days: entering one that holds an older epoch truncates it, no row by row deletes.
CREATE TABLE inbox (
  key     uuid NOT NULL,               -- first 16 bytes of SHA-256(length of source, source, id)
  ring    smallint NOT NULL,           -- epoch % 4, where epoch = days since 1970 / 15
  digest  uuid NOT NULL,               -- first 16 bytes of the content digest
  outcome text COLLATE "C" NOT NULL CONSTRAINT inbox_outcome CHECK (outcome IN ('applied', 'refused', 'failed', 'parked')),
  code    text COLLATE "C",
  CONSTRAINT inbox_pkey PRIMARY KEY (key, ring)
) PARTITION BY LIST (ring);
CREATE TABLE inbox_0 PARTITION OF inbox FOR VALUES IN (0);
CREATE TABLE inbox_1 PARTITION OF inbox FOR VALUES IN (1);
CREATE TABLE inbox_2 PARTITION OF inbox FOR VALUES IN (2);
CREATE TABLE inbox_3 PARTITION OF inbox FOR VALUES IN (3);

CREATE TABLE inbox_rings (
  ring  smallint CONSTRAINT inbox_rings_pkey PRIMARY KEY,
  epoch bigint NOT NULL                -- what the ring holds; by the database's clock
);
INSERT INTO inbox_rings (ring, epoch) VALUES (0, 0), (1, 0), (2, 0), (3, 0);
