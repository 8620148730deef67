-- Why: the metrics count exceptions by status, and this index alone answers, without the documents.
CREATE INDEX exceptions_by_status ON exceptions (status);
