-- Every rules file that assigned something, so that it can be explained after the file has changed.
CREATE TABLE rule_sets (
  hash          text COLLATE "C" CONSTRAINT rule_sets_pkey PRIMARY KEY, -- SHA-256 of the file, in hex
  version       text NOT NULL,
  first_used_at timestamptz NOT NULL DEFAULT now(),
  body          text NOT NULL
);
