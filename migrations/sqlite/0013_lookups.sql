-- Why: exceptions are listed by who, what and until when, newest first, and counted without being read, as in the Postgres schema: 4,096 keys
-- are a block. The key ends every index by itself. An older worker would keep neither the day nor the tallies.
UPDATE schema_compatibility SET oldest_compatible = 13;

ALTER TABLE exceptions ADD COLUMN runs_until TEXT; -- the day the ticket runs until now
UPDATE exceptions SET runs_until = CASE
  WHEN enforcement IN ('pending', 'in_force') THEN approved_due_date ELSE document ->> '$.request.current_due_date'
END;

CREATE INDEX exceptions_state ON exceptions (key >> 12, status, enforcement, coalesce(runs_until, ''), severity);
CREATE INDEX exceptions_named ON exceptions (key >> 12, id);
CREATE INDEX exceptions_requester ON exceptions (requester);
CREATE INDEX exceptions_ticket ON exceptions (ticket_id); -- what lives on a ticket is found by it too
DROP INDEX exceptions_enforced;
-- Who is assigned is read from the index alone.
CREATE INDEX exceptions_assigned ON exceptions (key, reviewers, status) WHERE status IN ('requested', 'under_review');

-- Counts that turns keep by their differences; a row may go below 0 only after exceptions were changed by hand.
CREATE TABLE tallies (
  kind  TEXT NOT NULL CONSTRAINT tallies_kind CHECK (kind IN ('state', 'open', 'unassigned', 'enforced', 'decided')),
  day   TEXT NOT NULL, -- as in 2026-11-24; of an open one when it came, of an enforced one until when; or empty
  part  TEXT NOT NULL, -- the state; of a decision what it was and after how many hours; or empty
  count INTEGER NOT NULL,
  CONSTRAINT tallies_pkey PRIMARY KEY (kind, day, part)
) STRICT, WITHOUT ROWID;
INSERT INTO tallies (kind, day, part, count)
SELECT 'state', '', status || '/' || enforcement, count(*) FROM exceptions GROUP BY 3
UNION ALL
SELECT 'open', date(created_at / 1000000, 'unixepoch'), '', count(*) FROM exceptions
WHERE status IN ('requested', 'under_review') GROUP BY 2
UNION ALL
SELECT 'unassigned', '', '', count(*) FROM exceptions
WHERE status IN ('requested', 'under_review') AND document ->> '$.level.unassigned' HAVING count(*) > 0
UNION ALL
SELECT 'enforced', approved_due_date, '', count(*) FROM exceptions WHERE enforcement IN ('pending', 'in_force') GROUP BY 2
UNION ALL
SELECT 'decided', day, status || '/' || CASE WHEN hours < 48 THEN hours ELSE hours / 24 * 24 END, count(*)
FROM (
  SELECT status, date(decided_at / 1000000, 'unixepoch') AS day, max((decided_at - created_at) / 3600000000, 0) AS hours
  FROM exceptions WHERE decided_at IS NOT NULL
) GROUP BY day, 3;
