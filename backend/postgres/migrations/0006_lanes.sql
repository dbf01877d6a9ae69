-- Limits and lanes of queues. Both new columns are NULL for tasks of queues that have neither.
ALTER TABLE {schema}.tasks
	ADD COLUMN lane text COLLATE "C", -- NULL for none
	ADD COLUMN bound boolean;         -- true if its lane counts it, as that of each task with a lane does; NULL until its queue has a row in limits when it is leased
ALTER TABLE {schema}.results ADD COLUMN lane text COLLATE "C";

-- What has no lane is leased by this one, as before.
DROP INDEX {schema}.tasks_ready;
CREATE INDEX tasks_ready ON {schema}.tasks (queue, rank, due, seq) WHERE state = 1 AND lane IS NULL;
CREATE INDEX tasks_lane ON {schema}.tasks (queue, lane, rank, due, seq) WHERE state = 1 AND lane IS NOT NULL;
-- By this the leases of a limited queue and of its lanes are counted.
CREATE INDEX tasks_bound ON {schema}.tasks (queue, lane) WHERE state = 2 AND bound IS NOT NULL;

-- Queues that have a limit or lanes. Times are microseconds since 1970. Who leases of such a queue locks its row.
CREATE TABLE {schema}.limits (
	queue        text PRIMARY KEY,
	laned        boolean NOT NULL DEFAULT false, -- it has lanes: its tasks add to stirs
	seen         timestamptz NOT NULL,        -- when it was said last that it has lanes: the row stays for a while
	made         timestamptz,                 -- leases of before may not be bound yet; NULL if all are
	spec         text,                        -- the limit in JSON, NULL for none
	running      integer NOT NULL DEFAULT 0,  -- 0 for any number
	every        bigint NOT NULL DEFAULT 0,   -- how long a task takes of the rate; 0 for none
	burst        bigint NOT NULL DEFAULT 0,
	lane_running integer NOT NULL DEFAULT 0,  -- the same for each lane
	lane_every   bigint NOT NULL DEFAULT 0,
	lane_burst   bigint NOT NULL DEFAULT 0,
	used         bigint NOT NULL DEFAULT 0,   -- until when the rate is charged
	served       bigint NOT NULL DEFAULT 0    -- the last turn that a lane had
);

CREATE INDEX limits_seen ON {schema}.limits (seen) WHERE spec IS NULL;

-- Lanes of those that have lanes; '' is for what has none. Only who has locked the row of limits changes them, but for held.
CREATE TABLE {schema}.lanes (
	queue  text NOT NULL,
	lane   text COLLATE "C" NOT NULL,
	served bigint NOT NULL DEFAULT 0,
	n      bigint NOT NULL DEFAULT 0,  -- tasks that are ready or running: tells whether a lane is new among those that wait
	used   bigint NOT NULL DEFAULT 0,
	held   bigint NOT NULL DEFAULT 0,  -- nothing is handed out until then
	turn   boolean NOT NULL,           -- there may be something to hand out. A lane that is blocked or empty is not looked at
	opens  bigint,                     -- when it is looked at again; NULL if that is when its tasks stir
	PRIMARY KEY (queue, lane)
) WITH (fillfactor = 70);
CREATE INDEX lanes_turn ON {schema}.lanes (queue, served) WHERE turn;
CREATE INDEX lanes_idle ON {schema}.lanes (greatest(used, held)) WHERE n <= 0 AND lane <> '';
CREATE INDEX lanes_opens ON {schema}.lanes (queue, opens) WHERE opens IS NOT NULL;

-- What tasks of these do: they become ready, end, or go on after a lease. Rows are only added, so that nobody waits
-- for anybody, and who leases next takes what he sees: with the row he sees the task.
CREATE TABLE {schema}.stirs (
	id    bigint NOT NULL,    -- the order: seq of a task that is new, or a number as those of task_order
	queue text NOT NULL,
	lane  text COLLATE "C" NOT NULL,
	n     smallint NOT NULL,  -- by how much the number of tasks that are ready or running changes
	held  bigint              -- until when its lane is held back
);
CREATE INDEX stirs_id ON {schema}.stirs (queue, id);
ALTER TABLE {schema}.stirs REPLICA IDENTITY FULL;
ALTER TABLE {schema}.stirs SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.limits SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.lanes SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

CREATE FUNCTION {schema}.stir() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO {schema}.stirs (id, queue, lane, n) VALUES (NEW.seq, NEW.queue, coalesce(NEW.lane, ''), 1);
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO {schema}.stirs (id, queue, lane, n)
		VALUES (nextval('{schema}.task_order') * 65536, OLD.queue, coalesce(OLD.lane, ''), -1);
	ELSIF NEW.state <> OLD.state AND (NEW.state = 1 OR OLD.state IN (1, 2)) THEN
		INSERT INTO {schema}.stirs (id, queue, lane, n)
		VALUES (nextval('{schema}.task_order') * 65536, NEW.queue, coalesce(NEW.lane, ''), (NEW.state IN (1, 2))::integer - (OLD.state IN (1, 2))::integer);
	END IF;
	RETURN NULL;
END $$;
-- The conditions are as short as can be: each statement that changes tasks reads them anew, also where no queue has lanes.
CREATE TRIGGER stir_new AFTER INSERT ON {schema}.tasks FOR EACH ROW
	WHEN (NEW.bound AND NEW.state = 1) EXECUTE FUNCTION {schema}.stir();
CREATE TRIGGER stir_moved AFTER UPDATE OF state ON {schema}.tasks FOR EACH ROW
	WHEN (NEW.bound AND NEW.state <> 2) EXECUTE FUNCTION {schema}.stir();
CREATE TRIGGER stir_gone AFTER DELETE ON {schema}.tasks FOR EACH ROW
	WHEN (OLD.bound AND OLD.state > 0) EXECUTE FUNCTION {schema}.stir();
