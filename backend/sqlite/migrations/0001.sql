-- All times are microseconds since 1970 in UTC. Envelopes are the JSON forms of package omniq.

-- Tasks that are not final.
CREATE TABLE omniq_tasks (
	seq        INTEGER PRIMARY KEY, -- the order in which they were enqueued
	id         BLOB NOT NULL,       -- the UUID's 16 bytes
	name       TEXT NOT NULL,       -- of the function
	queue      TEXT NOT NULL,
	priority   INTEGER NOT NULL,
	due        INTEGER NOT NULL,    -- when it may start
	deadline   INTEGER,             -- when its TTL is over; NULL for never
	state      INTEGER NOT NULL,    -- 0 pending and due later, 1 pending and due, 2 running
	wake       INTEGER,             -- when something happens to it by itself: it is due or expires, or its lease runs out
	token      INTEGER,             -- of its lease; NULL for none
	attempt    INTEGER NOT NULL,    -- how often it was handed out, without those that were taken back
	since      INTEGER NOT NULL,    -- when it became pending or running
	worker     TEXT,                -- who has its lease or had the last one
	unique_key TEXT,                -- that it may hold, see omniq_unique
	error      TEXT,                -- of the last attempt that failed: JSON
	task       TEXT NOT NULL        -- its envelope
) STRICT;
CREATE UNIQUE INDEX omniq_tasks_id ON omniq_tasks (id);
-- Leasing walks this one, in the order of the contract.
CREATE INDEX omniq_tasks_ready ON omniq_tasks (queue, priority DESC, due, seq) WHERE state = 1;
CREATE INDEX omniq_tasks_wake ON omniq_tasks (wake) WHERE wake IS NOT NULL;

-- Tasks that are final. A row whose expires has passed is not there for anybody but those who waited for it in another
-- process; it is removed soon afterwards.
CREATE TABLE omniq_results (
	seq     INTEGER PRIMARY KEY, -- the order in which they became final
	id      BLOB NOT NULL,       -- of the task
	status  INTEGER NOT NULL,    -- omniq.Status: 3 success, 4 failure, 5 cancelled, 6 expired
	name    TEXT NOT NULL,       -- of the function; empty for a result that was recorded for another engine
	queue   TEXT NOT NULL,
	since   INTEGER NOT NULL,    -- when it became final
	due     INTEGER,             -- as of the task
	worker  TEXT,                -- who had the last lease
	expires INTEGER,             -- when its TTL is over; NULL for never
	result  TEXT NOT NULL,       -- its envelope
	task    TEXT                 -- the task's envelope, unless it succeeded
) STRICT;
CREATE UNIQUE INDEX omniq_results_id ON omniq_results (id);
CREATE INDEX omniq_results_expires ON omniq_results (expires) WHERE expires IS NOT NULL;
CREATE INDEX omniq_results_unsuccessful ON omniq_results (status, seq) WHERE status > 3;

-- Unique keys that are held.
CREATE TABLE omniq_unique (
	name  TEXT NOT NULL,    -- of the function
	key   TEXT NOT NULL,
	id    BLOB NOT NULL,    -- of the task that holds it
	until INTEGER,          -- NULL: until that task is final
	PRIMARY KEY (name, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX omniq_unique_until ON omniq_unique (until) WHERE until IS NOT NULL;

-- Queues that are paused.
CREATE TABLE omniq_paused (
	queue TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- How many tasks and results of each queue there are. state is as in omniq_tasks, or a result's status.
CREATE TABLE omniq_counts (
	queue TEXT NOT NULL,
	state INTEGER NOT NULL,
	n     INTEGER NOT NULL,
	PRIMARY KEY (queue, state)
) STRICT, WITHOUT ROWID;

-- Leases that were lost because their tasks were cancelled, until the worker asks for them.
CREATE TABLE omniq_revoked (
	worker TEXT NOT NULL,
	id     BLOB NOT NULL,
	token  INTEGER NOT NULL,
	until  INTEGER NOT NULL, -- when the lease would have run out
	PRIMARY KEY (worker, id, token)
) STRICT, WITHOUT ROWID;
CREATE INDEX omniq_revoked_until ON omniq_revoked (until);

-- Events in their order. Numbers are used once and have no gaps; those that are gone are the lowest.
CREATE TABLE omniq_events (
	seq   INTEGER PRIMARY KEY AUTOINCREMENT,
	until INTEGER NOT NULL, -- when it goes
	event TEXT NOT NULL     -- its envelope
) STRICT;
