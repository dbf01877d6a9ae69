-- Limits of queues, and lanes of tasks.

ALTER TABLE omniq_tasks ADD COLUMN lane TEXT; -- of its queue, NULL for none
-- Leasing walks this one, and in the lanes of a queue the other.
DROP INDEX omniq_tasks_ready;
CREATE INDEX omniq_tasks_ready ON omniq_tasks (queue, priority DESC, due, seq) WHERE state = 1 AND lane IS NULL;
CREATE INDEX omniq_tasks_lane ON omniq_tasks (queue, lane, priority DESC, due, seq) WHERE state = 1 AND lane IS NOT NULL;

CREATE TABLE omniq_limits (
	queue  TEXT PRIMARY KEY,
	bounds TEXT NOT NULL,              -- the text form of omniq.Limit
	used   INTEGER NOT NULL DEFAULT 0  -- when what its rate was charged is used up
) STRICT, WITHOUT ROWID;

-- Queues of which tasks have lanes, or are held back.
CREATE TABLE omniq_laned (
	queue  TEXT PRIMARY KEY,
	served INTEGER NOT NULL, -- the last number of a turn
	most   INTEGER NOT NULL  -- how many tasks of each lane may run at once, 0 for any number
) STRICT, WITHOUT ROWID;

-- Their lanes; the empty one is that of the tasks that have none.
CREATE TABLE omniq_lanes (
	queue   TEXT NOT NULL,
	lane    TEXT NOT NULL,
	ready   INTEGER NOT NULL,           -- tasks in state 1
	running INTEGER NOT NULL,           -- tasks in state 2
	served  INTEGER NOT NULL,           -- when it was served last
	used    INTEGER NOT NULL DEFAULT 0, -- when what its rate was charged is used up
	held    INTEGER NOT NULL DEFAULT 0, -- until when it is held back
	opens   INTEGER,                    -- when a task of it may be handed out, by its rate and by held; NULL for now
	turn    INTEGER,                    -- served, if a task of it may be handed out; NULL if not
	PRIMARY KEY (queue, lane)
) STRICT, WITHOUT ROWID;
CREATE INDEX omniq_lanes_turn ON omniq_lanes (queue, turn) WHERE turn IS NOT NULL;
CREATE INDEX omniq_lanes_opens ON omniq_lanes (opens) WHERE opens IS NOT NULL;
CREATE INDEX omniq_lanes_idle ON omniq_lanes (used) WHERE ready = 0 AND running = 0 AND lane <> '';
