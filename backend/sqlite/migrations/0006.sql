-- Results that may be inputs of others, and whose TTL ends some time, have no expires: a row and two entries of indexes less than in
-- a table of their own.
ALTER TABLE omniq_results ADD COLUMN until INTEGER; -- of one of these: when the TTL is over
ALTER TABLE omniq_results ADD COLUMN look INTEGER;  -- of one of these: when to look whether it is still needed; NULL for any other
UPDATE omniq_results SET (until, look) = (SELECT h.until, h.look FROM omniq_held h WHERE h.id = omniq_results.id)
	WHERE id IN (SELECT id FROM omniq_held);
DROP TABLE omniq_held;
CREATE INDEX omniq_results_look ON omniq_results (look) WHERE look IS NOT NULL;
