-- What is told of workers, and of what was done. A program of the version before this one that is still connected tells neither.

-- Workers that are there.
CREATE TABLE {schema}.workers (
	id    text COLLATE "C" PRIMARY KEY,
	seen  timestamptz NOT NULL, -- when it has told last that it is there
	until timestamptz NOT NULL, -- when it is gone, unless it tells that again
	info  text NOT NULL         -- what it has told: JSON
);
CREATE INDEX workers_until ON {schema}.workers (until);

-- What each statement has done with the tasks of a queue that call a function. Rows are only added, so that nobody waits for anybody,
-- and moved into history now and then.
CREATE TABLE {schema}.tallies (
	at    timestamptz NOT NULL,
	what  smallint NOT NULL, -- omniq.EventType, see events
	n     integer NOT NULL,
	us    bigint NOT NULL,   -- microseconds, together: of 2, how long they had been due; else how long their handlers ran
	queue text COLLATE "C" NOT NULL,
	name  text COLLATE "C" NOT NULL
);
ALTER TABLE {schema}.tallies REPLICA IDENTITY FULL;

-- The same by the minute, in UTC. Who writes it holds the advisory lock of its writers.
CREATE TABLE {schema}.history (
	minute    timestamptz NOT NULL, -- when it began
	queue     text COLLATE "C" NOT NULL,
	name      text COLLATE "C" NOT NULL,
	enqueued  bigint NOT NULL,
	started   bigint NOT NULL, -- attempts
	succeeded bigint NOT NULL,
	failed    bigint NOT NULL,
	retried   bigint NOT NULL, -- attempts
	cancelled bigint NOT NULL,
	expired   bigint NOT NULL,
	wait      bigint NOT NULL, -- microseconds
	run       bigint NOT NULL, -- microseconds
	PRIMARY KEY (minute, queue, name)
) WITH (fillfactor = 50);

ALTER TABLE {schema}.workers SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.tallies SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.history SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0);

-- What has ended without success is listed in the order in which it did.
DROP INDEX {schema}.results_unsuccessful;
CREATE INDEX results_unsuccessful ON {schema}.results (status, since, id) WHERE status > 3;

-- A task's own events are found without those of others. An event has a place once somebody reads.
ALTER TABLE {schema}.events ADD COLUMN name text; -- of the function; NULL for none
CREATE INDEX events_task ON {schema}.events (task_id, place) WHERE place IS NOT NULL;
