-- Why: an assignment is explained by the rules file it was made with, also after that file has changed.
CREATE TABLE rule_sets (
  hash          TEXT NOT NULL CONSTRAINT rule_sets_pkey PRIMARY KEY, -- SHA-256 of the file, in hex
  version       TEXT NOT NULL,
  first_used_at INTEGER NOT NULL,
  body          TEXT NOT NULL
) STRICT;
