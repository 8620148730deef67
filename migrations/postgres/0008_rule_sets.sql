-- Why: an assignment is explained by the rules file it was made with, also after that file has changed.
CREATE TABLE rule_sets (
  hash          text COLLATE "C" CONSTRAINT rule_sets_pkey PRIMARY KEY, -- SHA-256 of the file, in hex
  version       text NOT NULL,
  first_used_at timestamptz NOT NULL,
  body          text NOT NULL
);
