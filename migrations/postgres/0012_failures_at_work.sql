-- Why: failures are listed, grouped, retried and edited. An edit is a failure of its own that names the one it mends: the old
-- bytes stay.
ALTER TABLE failures ADD COLUMN edited_from uuid CONSTRAINT failures_edited_from_fkey REFERENCES failures (id);
CREATE INDEX failures_edited_from ON failures (edited_from) WHERE edited_from IS NOT NULL;
CREATE INDEX failures_received ON failures (received_at, id);
CREATE INDEX failures_open ON failures (fingerprint, received_at) WHERE state = 'open';
CREATE INDEX failures_retrying ON failures (received_at, id) WHERE state = 'retrying';
