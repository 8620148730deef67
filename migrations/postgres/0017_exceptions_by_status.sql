-- Why: the metrics count exceptions by status, and nobody wants five million documents read for that. This index alone answers;
-- equal entries are stored once, so it stays small. A new row and a changed status pay one entry; any other change pays nothing,
-- since a row whose status stays as it is needs no new entry.
CREATE INDEX exceptions_by_status ON exceptions (status);
