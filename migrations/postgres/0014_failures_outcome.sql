-- Why: `resolved` does not say how: an event that was let in again may have been applied, or refused.
ALTER TABLE failures
  ADD COLUMN outcome text COLLATE "C"
    CONSTRAINT failures_outcome CHECK (outcome IN ('applied', 'refused', 'parked', 'repeated')),
  ADD COLUMN code text COLLATE "C";
