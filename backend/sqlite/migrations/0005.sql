-- What is told of workers, and of what was done.

-- Workers that are there.
CREATE TABLE omniq_workers (
	id    TEXT PRIMARY KEY,
	seen  INTEGER NOT NULL, -- when it has told last that it is there
	until INTEGER NOT NULL, -- when it is gone, unless it tells that again
	info  TEXT NOT NULL     -- what it has told: JSON
) STRICT, WITHOUT ROWID;
CREATE INDEX omniq_workers_until ON omniq_workers (until);

-- What was done with tasks, by the minute in which that was. Times in wait and run are in microseconds.
CREATE TABLE omniq_history (
	minute    INTEGER NOT NULL, -- when it began
	queue     TEXT NOT NULL,
	name      TEXT NOT NULL,    -- of the function
	enqueued  INTEGER NOT NULL,
	started   INTEGER NOT NULL, -- attempts
	succeeded INTEGER NOT NULL,
	failed    INTEGER NOT NULL,
	retried   INTEGER NOT NULL, -- attempts
	cancelled INTEGER NOT NULL,
	expired   INTEGER NOT NULL,
	wait      INTEGER NOT NULL, -- how long those that started had been due
	run       INTEGER NOT NULL, -- how long handlers ran
	PRIMARY KEY (minute, queue, name)
) STRICT, WITHOUT ROWID;

-- A task's own events are found without those of others.
ALTER TABLE omniq_events ADD COLUMN task BLOB; -- its ID
UPDATE omniq_events SET task = unhex(replace(event ->> '$.task_id', '-', '')) WHERE json_valid(event);
CREATE INDEX omniq_events_task ON omniq_events (task);
