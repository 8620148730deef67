-- Why: `pick: least_loaded` asks who has the fewest open assignments. Turns keep the count, so that nobody has to count exceptions.
-- Half of each page is left free: a row is rewritten in place, without touching the index.
CREATE TABLE reviewers (
  id               text COLLATE "C" CONSTRAINT reviewers_pkey PRIMARY KEY,
  open_assignments integer NOT NULL CONSTRAINT reviewers_not_negative CHECK (open_assignments >= 0)
) WITH (fillfactor = 50);

-- The column names the reviewers of the current level, and is empty when decided.
INSERT INTO reviewers (id, open_assignments)
SELECT r.id, count(*) FROM exceptions AS x CROSS JOIN LATERAL unnest(x.reviewers) AS r (id) GROUP BY r.id;
