-- Results that may be inputs of others, and whose TTL ends some time, have no expires: a row and two entries of indexes less than in
-- a table of their own.
ALTER TABLE omniq_results ADD COLUMN until INTEGER; -- of one of these: when the TTL is over
ALTER TABLE omniq_results ADD COLUMN look INTEGER;  -- of one of these: when to look whether it is still needed; NULL for any other
UPDATE omniq_results SET (until, look) = (SELECT h.until, h.look FROM omniq_held h WHERE h.id = omniq_results.id)
	WHERE id IN (SELECT id FROM omniq_held);
DROP TABLE omniq_held;
CREATE INDEX omniq_results_look ON omniq_results (look) WHERE look IS NOT NULL;

-- An edge stands where the end of its dependency finds it, and nothing of it changes then if the result is an input: ended stays 0 when
-- that has succeeded, because its result is kept as long as the task can ask how it has ended.
CREATE TABLE omniq_edges_6 (
	task  BLOB NOT NULL,    -- who waits
	n     INTEGER NOT NULL, -- their order; from 1048576 on those that took the place of the first ones
	dep   BLOB NOT NULL,    -- for whom
	need  INTEGER NOT NULL, -- omniq.Need
	input INTEGER NOT NULL, -- 1: the result is an input
	ended INTEGER NOT NULL, -- the status of dep at its last end that the task has been told of; 0 for none, or for an input that has succeeded
	PRIMARY KEY (dep, task, n)
) STRICT, WITHOUT ROWID;
INSERT INTO omniq_edges_6 (task, n, dep, need, input, ended)
	SELECT task, n, dep, need, input, ended FROM omniq_edges ORDER BY dep, task, n;
CREATE TABLE omniq_waits (
	task BLOB PRIMARY KEY,  -- one that has waited for others
	open INTEGER NOT NULL   -- for how many it still waits
) STRICT, WITHOUT ROWID;
INSERT INTO omniq_waits (task, open) SELECT task, count(*) FROM omniq_edges WHERE ended = 0 GROUP BY task;
DROP TABLE omniq_edges;
ALTER TABLE omniq_edges_6 RENAME TO omniq_edges;
CREATE INDEX omniq_edges_task ON omniq_edges (task, n, input);

-- The last follower that was told: NULL before the first.
ALTER TABLE omniq_fallout ADD COLUMN task BLOB;
ALTER TABLE omniq_fallout ADD COLUMN n INTEGER;
