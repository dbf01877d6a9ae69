-- omniq_tasks.attempt is how many attempts have started, without those that were taken back.
ALTER TABLE omniq_tasks ADD COLUMN started INTEGER NOT NULL DEFAULT 0; -- 1: the attempt of its lease has started
ALTER TABLE omniq_tasks ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;    -- attempts whose leases expired
ALTER TABLE omniq_tasks ADD COLUMN shunned INTEGER;                    -- since when workers that cannot run it give it back; NULL for no
UPDATE omniq_tasks SET started = 1 WHERE wake IS NOT NULL AND state = 2;
-- What is due is found by its queue, too, while there is more than can be made ready at once.
CREATE INDEX omniq_tasks_scheduled ON omniq_tasks (queue, priority DESC, due, seq) WHERE state = 0;
CREATE INDEX omniq_tasks_running ON omniq_tasks (seq, queue) WHERE state = 2;

ALTER TABLE omniq_results ADD COLUMN lost INTEGER NOT NULL DEFAULT 0; -- as of the task
-- For lists of a queue, and to count.
CREATE INDEX omniq_results_queue ON omniq_results (queue, status);

-- omniq_unique with an empty name holds IDs: the key is the text of the ID, and until says for how long it is kept.

-- When the counts were last compared with what there is. One row.
CREATE TABLE omniq_counted (
	at INTEGER NOT NULL
) STRICT;
INSERT INTO omniq_counted (at) VALUES (unixepoch() * 1000000);
