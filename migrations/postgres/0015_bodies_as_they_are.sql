-- Why: raw bytes may be very many and compress badly: the slowest compression took longer than a turn may, so that a large
-- message could not even be set aside. Stored as they are they are written in a tenth of the time, and read from any place.
ALTER TABLE failures ALTER COLUMN body SET STORAGE EXTERNAL;
ALTER TABLE parked ALTER COLUMN body SET STORAGE EXTERNAL;
