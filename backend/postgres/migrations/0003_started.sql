-- Attempts count when they start, and leases that ran out are counted. A token without started is a task taken ahead.
ALTER TABLE {schema}.tasks
	ADD COLUMN started boolean NOT NULL DEFAULT false, -- the attempt of its lease has
	ADD COLUMN lost integer NOT NULL DEFAULT 0,        -- attempts whose leases ran out
	ADD COLUMN shunned timestamptz;                    -- when the first of the workers in a row that cannot run it gave it back
UPDATE {schema}.tasks SET started = true WHERE state = 2;
ALTER TABLE {schema}.results ADD COLUMN lost integer NOT NULL DEFAULT 0;

-- Room in each page for the row that says that the attempt has started: it changes no index then.
ALTER TABLE {schema}.tasks SET (fillfactor = 70);

-- wake is for what is due and for leases alone from now on: it is NULL for a task that is due. TTLs have an index of their
-- own, so that many that end at once are in nobody's way.
CREATE INDEX tasks_deadline ON {schema}.tasks (deadline) WHERE deadline IS NOT NULL AND state < 2;
-- For those who look after running tasks.
CREATE INDEX tasks_running ON {schema}.tasks (id) WHERE state = 2;

-- What an UPDATE or DELETE of a row that is replicated looks for it by. Rows of counts may be equal, and an index would cost
-- more than it is worth there.
ALTER TABLE {schema}.counts REPLICA IDENTITY FULL;
ALTER TABLE {schema}.event_places REPLICA IDENTITY FULL;
ALTER TABLE {schema}.events ADD PRIMARY KEY (seq);
