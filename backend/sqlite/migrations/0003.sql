-- Tasks that wait for tasks, flows, and what handlers leave of their tasks.

-- omniq_tasks.state can be 7, too: waits for other tasks, or to be resolved. Its wake is its deadline then.
-- ties is a sum of: 1 others have it as a dependency, 2 it has dependencies, 4 manual, 8 it has passed its result on to other
-- tasks, 16 something in omniq_notes or omniq_items, 32 it has ended because of a dependency, 64 it is a member of a flow,
-- 128 its result is an input of others, 256 its dependency is the task whose unique key it has taken.
ALTER TABLE omniq_tasks ADD COLUMN ties INTEGER NOT NULL DEFAULT 0;
ALTER TABLE omniq_tasks ADD COLUMN delay INTEGER; -- of one that waits: from its release on; NULL for none, or for a time in due
CREATE INDEX omniq_tasks_waiting ON omniq_tasks (seq, queue) WHERE state = 7;
ALTER TABLE omniq_results ADD COLUMN ties INTEGER NOT NULL DEFAULT 0;

-- Members of flows: tasks, or their results.
CREATE TABLE omniq_members (
	flow   BLOB NOT NULL,
	member INTEGER NOT NULL, -- their order
	id     BLOB NOT NULL,    -- of the task
	PRIMARY KEY (flow, member)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX omniq_members_id ON omniq_members (id);

-- What tasks wait for, or have waited for. They stay as long as the task or its result.
CREATE TABLE omniq_edges (
	task  BLOB NOT NULL,    -- who waits
	n     INTEGER NOT NULL, -- their order; from 1048576 on those that took the place of the first ones
	dep   BLOB NOT NULL,    -- for whom
	need  INTEGER NOT NULL, -- omniq.Need
	input INTEGER NOT NULL, -- 1: the result is an input
	ended INTEGER NOT NULL, -- the status of dep at its last end that the task has been told of; 0 for none: it is waited for
	PRIMARY KEY (task, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX omniq_edges_dep ON omniq_edges (dep, ended);
CREATE INDEX omniq_edges_open ON omniq_edges (task) WHERE ended = 0;

-- Results that may be inputs of others, and whose TTL ends some time. They have no expires.
CREATE TABLE omniq_held (
	id    BLOB PRIMARY KEY, -- of the task
	until INTEGER NOT NULL, -- when the TTL is over
	look  INTEGER NOT NULL  -- when to look whether it is still needed
) STRICT, WITHOUT ROWID;
CREATE INDEX omniq_held_look ON omniq_held (look);

-- Tasks that have ended, of whose followers some are still to be told.
CREATE TABLE omniq_fallout (
	seq    INTEGER PRIMARY KEY,
	id     BLOB NOT NULL,
	status INTEGER NOT NULL,
	name   TEXT NOT NULL, -- of the function
	result TEXT           -- its envelope, unless it succeeded
) STRICT;
CREATE UNIQUE INDEX omniq_fallout_id ON omniq_fallout (id);

-- What handlers have left last of tasks. kind is 0 for the progress, 1 for the state.
CREATE TABLE omniq_notes (
	seq  INTEGER PRIMARY KEY,
	id   BLOB NOT NULL, -- of the task
	kind INTEGER NOT NULL,
	data TEXT NOT NULL  -- JSON
) STRICT;
CREATE UNIQUE INDEX omniq_notes_id ON omniq_notes (id, kind);

-- Items of streams of tasks. Numbers are used once.
CREATE TABLE omniq_items (
	n    INTEGER PRIMARY KEY AUTOINCREMENT,
	id   BLOB NOT NULL, -- of the task
	name TEXT NOT NULL, -- of the stream
	data TEXT NOT NULL  -- JSON
) STRICT;
CREATE INDEX omniq_items_stream ON omniq_items (id, name, n);
