-- {schema} stands for the name of the schema. Envelopes are the JSON forms of package omniq. States of tasks: 0 pending
-- and due later, 1 pending and due, 2 running. Statuses of results: 3 success, 4 failure, 5 cancelled, 6 expired.

-- Gives the order in which tasks are enqueued: a number for each statement, times 65536, and a place in it.
CREATE SEQUENCE {schema}.task_order;

-- Tasks that are not final.
CREATE TABLE {schema}.tasks (
	id         uuid PRIMARY KEY,
	seq        bigint NOT NULL,      -- the order in which they were enqueued
	rank       bigint NOT NULL,      -- the lower, the sooner: the priority with each bit turned over
	due        timestamptz NOT NULL, -- when it may start
	deadline   timestamptz,          -- when its TTL is over; NULL for never
	wake       timestamptz,          -- when something happens to it by itself: it is due or expires, or its lease runs out
	since      timestamptz NOT NULL, -- when it became pending or running
	token      bigint,               -- of its lease; NULL for none
	state      smallint NOT NULL,
	attempt    integer NOT NULL,     -- how often it was handed out, without those that were taken back
	name       text NOT NULL,        -- of the function
	queue      text NOT NULL,
	worker     text,                 -- who has its lease or had the last one
	unique_key text,                 -- that it may hold, see unique_keys
	error      text,                 -- of the last attempt that failed: JSON
	task       text NOT NULL         -- its envelope
);
-- Leasing walks this one, in the order of the contract.
CREATE INDEX tasks_ready ON {schema}.tasks (queue, rank, due, seq) WHERE state = 1;
CREATE INDEX tasks_wake ON {schema}.tasks (wake) WHERE wake IS NOT NULL;

-- Tasks that are final. A row whose expires has passed is not there for anybody but those who waited for it; it is
-- removed soon afterwards.
CREATE TABLE {schema}.results (
	id      uuid PRIMARY KEY,     -- of the task
	since   timestamptz NOT NULL, -- when it became final
	expires timestamptz,          -- when its TTL is over; NULL for never
	due     timestamptz,          -- as of the task
	status  smallint NOT NULL,
	name    text NOT NULL,        -- of the function; empty for a result that was recorded for another engine
	queue   text NOT NULL,
	worker  text,                 -- who had the last lease
	result  text NOT NULL,        -- its envelope
	task    text                  -- the task's envelope, unless it succeeded
);
CREATE INDEX results_expires ON {schema}.results (expires) WHERE expires IS NOT NULL;
CREATE INDEX results_unsuccessful ON {schema}.results (status, id) WHERE status > 3;

-- Unique keys that are held.
CREATE TABLE {schema}.unique_keys (
	name  text NOT NULL, -- of the function
	key   text NOT NULL,
	id    uuid NOT NULL, -- of the task that holds it
	until timestamptz,   -- NULL: until that task is final
	PRIMARY KEY (name, key)
);
CREATE INDEX unique_keys_until ON {schema}.unique_keys (until) WHERE until IS NOT NULL;

-- Queues that are paused.
CREATE TABLE {schema}.paused (queue text PRIMARY KEY);

-- By how much the numbers of tasks and results of a queue have changed: their sum is how many there are. state is as in
-- tasks, or a result's status. Rows are only added, so that nobody waits for anybody, and gathered into few now and then.
CREATE TABLE {schema}.counts (
	queue text NOT NULL,
	state smallint NOT NULL,
	n     bigint NOT NULL
);

-- Leases that were lost because their tasks were cancelled, until the worker asks for them.
CREATE TABLE {schema}.revoked (
	worker text NOT NULL,
	id     uuid NOT NULL,
	token  bigint NOT NULL,
	until  timestamptz NOT NULL, -- when the lease would have run out
	PRIMARY KEY (worker, id, token)
);
CREATE INDEX revoked_until ON {schema}.revoked (until);

-- Events. What is in several transactions at once becomes visible in another order than it is numbered in; therefore an
-- event is stored with seq alone, and gets its place, without gaps, when it is first read. Those that are gone have the
-- lowest places.
CREATE TABLE {schema}.events (
	seq     bigint GENERATED ALWAYS AS IDENTITY,
	place   bigint,
	until   timestamptz NOT NULL, -- when it goes
	at      timestamptz NOT NULL,
	task_id uuid NOT NULL,
	type    smallint NOT NULL,    -- omniq.EventType: 1 enqueued, 2 started, 3 completed, 4 failed, 5 retried, 6 cancelled, 7 expired
	attempt integer NOT NULL,
	queue   text NOT NULL,
	worker  text,
	error   text                  -- JSON
);
CREATE UNIQUE INDEX events_place ON {schema}.events (place) WHERE place IS NOT NULL;
CREATE INDEX events_new ON {schema}.events (seq) WHERE place IS NULL;

-- The last place that was given, and the last that is gone. Who gives places or removes events locks this row.
CREATE TABLE {schema}.event_places (
	last bigint NOT NULL,
	gone bigint NOT NULL
);
INSERT INTO {schema}.event_places VALUES (0, 0);

-- Rows of these live for moments. What is dead is to be removed early and fast, and most of it by the vacuum alone.
ALTER TABLE {schema}.tasks SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
	autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.counts SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.results SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.events SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.unique_keys SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0);
