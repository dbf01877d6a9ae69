-- Tasks that wait for tasks, flows, and what handlers leave of their tasks.

-- omniq_tasks.state can be 7, too: waits for other tasks, or to be resolved. Its wake is its deadline then.
-- ties is a sum of: 1 others have it as a dependency, 2 it has dependencies, 4 manual, 8 it has passed its result on to other
-- tasks, 16 something in omniq_notes or omniq_items, 32 it has ended because of a dependency, 64 it is a member of a flow,
-- 128 its result is an input of others.
ALTER TABLE omniq_tasks ADD COLUMN ties INTEGER NOT NULL DEFAULT 0;
ALTER TABLE omniq_tasks ADD COLUMN delay INTEGER; -- of one that waits: from its release on; NULL for none, or for a time in due
ALTER TABLE omniq_tasks ADD COLUMN flow BLOB;
ALTER TABLE omniq_tasks ADD COLUMN member INTEGER; -- its number in the flow
CREATE INDEX omniq_tasks_waiting ON omniq_tasks (seq, queue) WHERE state = 7;
CREATE INDEX omniq_tasks_flow ON omniq_tasks (flow, member, state) WHERE flow IS NOT NULL;

ALTER TABLE omniq_results ADD COLUMN ties INTEGER NOT NULL DEFAULT 0;
ALTER TABLE omniq_results ADD COLUMN flow BLOB;
ALTER TABLE omniq_results ADD COLUMN member INTEGER;
-- A result that may be an input of others has no expires while it may be needed, whatever its TTL.
ALTER TABLE omniq_results ADD COLUMN until INTEGER; -- when its TTL is over
ALTER TABLE omniq_results ADD COLUMN look INTEGER;  -- when to look whether it is still needed; NULL for one that expires or stays
CREATE INDEX omniq_results_flow ON omniq_results (flow, member, status, expires) WHERE flow IS NOT NULL;
CREATE INDEX omniq_results_look ON omniq_results (look) WHERE look IS NOT NULL;

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
