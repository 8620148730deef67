-- Why: a failure that is tried again and fails again is announced once for each reason, whatever the order of the reasons.
ALTER TABLE failures ADD COLUMN announced text[] COLLATE "C" NOT NULL DEFAULT '{}';
UPDATE failures SET announced = ARRAY[reason];
