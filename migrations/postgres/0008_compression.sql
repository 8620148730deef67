-- lz4 where the server has it: values over 2 kB are compressed, and pglz costs several times as much.
DO $$
BEGIN
  ALTER TABLE exceptions ALTER document SET COMPRESSION lz4;
  ALTER TABLE history ALTER body SET COMPRESSION lz4;
  ALTER TABLE outbox ALTER body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
  RAISE NOTICE 'no lz4 in this server: long documents are compressed with pglz';
END $$;
