-- Why: exceptions are looked up by who, what and until when. LOCKS the table for about 45 s a million rows: meanwhile events wait. An older worker
-- would keep neither the day nor the tallies: none starts beside this, and those that run must be stopped before.
UPDATE schema_compatibility SET oldest_compatible = 17;

-- A list is read newest first, 4,096 keys at a time: an index that does not end with the key begins with the number of such a block. So whatever
-- is meant is found in a block by one step, or seen not to be there.
ALTER TABLE exceptions ADD COLUMN runs_until date; -- the day the ticket runs until now
UPDATE exceptions SET runs_until = CASE
  WHEN enforcement IN ('pending', 'in_force') THEN approved_due_date
  ELSE (document::json #>> '{request,current_due_date}')::date
END;

CREATE INDEX exceptions_state ON exceptions ((key >> 12), status, enforcement, runs_until, severity, key);
-- The same number in other words, so that no planner takes the one index for the other.
CREATE INDEX exceptions_named ON exceptions ((key / 4096), id);
CREATE INDEX exceptions_requester ON exceptions (requester COLLATE "C", key);
-- It also finds what lives on a ticket: a ticket has few exceptions, so that a partial index beside it is not worth its writes.
CREATE INDEX exceptions_ticket ON exceptions (ticket_id, key);
DROP INDEX exceptions_enforced;
-- What waits for its merge is looked through by every look-up: kept short.
CREATE INDEX exceptions_assigned ON exceptions USING gin (reviewers) WITH (gin_pending_list_limit = 256)
  WHERE status IN ('requested', 'under_review');

-- Counts that turns keep by their differences. Some thousand rows a month, rewritten in place; a row may go below 0 only after
-- exceptions were changed by hand.
CREATE TABLE tallies (
  kind  text COLLATE "C" NOT NULL CONSTRAINT tallies_kind CHECK (kind IN ('state', 'open', 'unassigned', 'enforced', 'decided')),
  day   text COLLATE "C" NOT NULL, -- as in 2026-11-24; of an open one when it came, of an enforced one until when; or empty
  part  text COLLATE "C" NOT NULL, -- the state; of a decision what it was and after how many hours; or empty
  count bigint NOT NULL,
  CONSTRAINT tallies_pkey PRIMARY KEY (kind, day, part)
) WITH (fillfactor = 50);
INSERT INTO tallies (kind, day, part, count)
SELECT 'state', '', status || '/' || enforcement, count(*) FROM exceptions GROUP BY 3
UNION ALL
SELECT 'open', to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), '', count(*) FROM exceptions
WHERE status IN ('requested', 'under_review') GROUP BY 2
UNION ALL
SELECT 'unassigned', '', '', count(*) FROM exceptions
WHERE status IN ('requested', 'under_review') AND (document::json #>> '{level,unassigned}') = 'true' HAVING count(*) > 0
UNION ALL
SELECT 'enforced', to_char(approved_due_date, 'YYYY-MM-DD'), '', count(*) FROM exceptions
WHERE enforcement IN ('pending', 'in_force') GROUP BY 2
UNION ALL
SELECT 'decided', day, status || '/' || CASE WHEN hours < 48 THEN hours ELSE hours / 24 * 24 END, count(*)
FROM (
  SELECT status, to_char(decided_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day,
    greatest(floor(extract(epoch FROM decided_at - created_at) / 3600)::bigint, 0) AS hours
  FROM exceptions WHERE decided_at IS NOT NULL
) AS d GROUP BY day, 3;
