-- Tasks that wait for tasks, flows, and what handlers leave of their tasks. A state of -1 is waiting. All that is new in a row is
-- NULL for a task that has nothing to do with others.
ALTER TABLE {schema}.tasks
	ADD COLUMN flow uuid,         -- that it is a member of
	ADD COLUMN tie bigint,        -- by which its edges and its stream are found: seq of its first life
	ADD COLUMN manual boolean,    -- nobody leases it
	ADD COLUMN open integer,      -- how many of its edges are open
	ADD COLUMN delay bigint,      -- microseconds after its release that it is due, NULL for one with a time of its own
	ADD COLUMN resumed boolean,   -- it has passed its result on: its edges are those that have passed
	ADD COLUMN followed smallint, -- others wait for it, or have: 1, and 2 more if its result is an input of theirs
	ADD COLUMN progress text,     -- JSON
	ADD COLUMN saved text;        -- what its handler has left for the next attempt: JSON
ALTER TABLE {schema}.results
	ADD COLUMN flow uuid,
	ADD COLUMN tie bigint,
	ADD COLUMN resumed boolean,
	ADD COLUMN followed smallint,
	ADD COLUMN progress text,
	ADD COLUMN saved text,
	ADD COLUMN blocked boolean,     -- it ended because of a task that it needed
	ADD COLUMN lapses timestamptz;  -- when it is looked whether others still need it; expires is NULL until then
CREATE INDEX tasks_flow ON {schema}.tasks (flow, id) WHERE flow IS NOT NULL;
CREATE INDEX results_flow ON {schema}.results (flow, id) WHERE flow IS NOT NULL;
CREATE INDEX results_lapses ON {schema}.results (lapses) WHERE lapses IS NOT NULL;

-- What tasks wait for, have waited for, or will wait for again when they are requeued. Only who has locked the row of the task
-- writes its edges, or removes them when nothing is kept of it.
CREATE TABLE {schema}.edges (
	tie    bigint NOT NULL,   -- of the task
	passed boolean NOT NULL,  -- the task was not enqueued with it, but has passed its result on
	n      integer NOT NULL,  -- the order of the dependencies
	task   uuid NOT NULL,
	dep    uuid NOT NULL,     -- what it waits for
	need   smallint NOT NULL, -- 0 success, 1 any end
	input  boolean NOT NULL,  -- the result of dep is handed out with the task
	met    boolean,           -- NULL while it is open, then whether dep has ended as it was needed
	PRIMARY KEY (tie, passed, n)
);
CREATE INDEX edges_dep ON {schema}.edges (dep, tie);

-- What is still to be done because of what is committed already. Nobody waits for rows that others have locked.
CREATE TABLE {schema}.work (
	id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at     timestamptz NOT NULL DEFAULT '-infinity', -- not before
	tries  smallint NOT NULL DEFAULT 0,
	kind   smallint NOT NULL, -- 0: ended have ended; 1: look whether dep has, and tell task; 2: remove what has this tie
	ended  uuid[],
	how    smallint[],        -- their statuses
	task   uuid,
	dep    uuid,
	tie    bigint             -- of the task; with 0, the last one of those that follow the first of ended that has been told
);
CREATE INDEX work_at ON {schema}.work (at, id);

-- Streams. The numbers ascend in each of them.
CREATE TABLE {schema}.items (
	tie  bigint NOT NULL, -- of the task
	name text NOT NULL,   -- of the stream
	n    bigint GENERATED ALWAYS AS IDENTITY,
	data text NOT NULL,   -- JSON
	PRIMARY KEY (tie, name, n)
);

-- Each row of edges is changed once: there is room in its page.
ALTER TABLE {schema}.edges SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.work SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
	autovacuum_vacuum_cost_delay = 0);
ALTER TABLE {schema}.items SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
	autovacuum_vacuum_cost_delay = 0);

-- The advisory lock of a flow, as this package takes it, too.
CREATE FUNCTION {schema}.flow_lock(flow uuid) RETURNS bigint
	LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
	SELECT hashtextextended('omniq {schema} ' || flow, 0)
$$;

CREATE FUNCTION {schema}.enqueue(
	name         text,
	args         jsonb       DEFAULT '[]',
	kwargs       jsonb       DEFAULT '{}',
	queue        text        DEFAULT 'default',
	priority     bigint      DEFAULT 0,
	run_at       timestamptz DEFAULT NULL,
	ttl          interval    DEFAULT NULL,
	max_attempts integer     DEFAULT NULL,
	timeout      interval    DEFAULT NULL,
	result_ttl   interval    DEFAULT NULL,
	metadata     jsonb       DEFAULT NULL,
	unique_key   text        DEFAULT NULL,
	unique_for   interval    DEFAULT NULL,
	id           uuid        DEFAULT NULL,
	keep_event   interval    DEFAULT NULL,
	notify       boolean     DEFAULT true,
	delay        interval    DEFAULT NULL,
	failure_ttl  interval    DEFAULT NULL,
	id_for       interval    DEFAULT NULL,
	after        uuid[]      DEFAULT NULL,
	after_final  uuid[]      DEFAULT NULL,
	flow         uuid        DEFAULT NULL,
	manual       boolean     DEFAULT false
) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off -- a plan outlives the statistics that it was made with
	SET enable_bitmapscan = off
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	made   timestamptz := clock_timestamp();
	starts timestamptz;
	ends   timestamptz;
	given  boolean := enqueue.id IS NOT NULL;
	holder uuid;
	task   text;
	wrong  text;
	size   integer;
	needs  uuid[] := coalesce(enqueue.after, '{}') || coalesce(enqueue.after_final, '{}');
	first  boolean := true; -- the flow has no members, but for those of this transaction
	gone   uuid[];          -- what it cannot wait for
	unmet  uuid[];          -- what it waits for
	waits  boolean;
	stored smallint;        -- its state
	place  bigint;          -- its seq
BEGIN
	wrong := CASE
		WHEN name IS NULL OR args IS NULL OR kwargs IS NULL OR queue IS NULL OR priority IS NULL OR notify IS NULL
			OR manual IS NULL
		THEN 'name, args, kwargs, queue, priority, notify and manual may not be NULL'
		WHEN jsonb_typeof(args) <> 'array' THEN format('args are %s, want an array', left(args::text, 100))
		WHEN jsonb_typeof(kwargs) <> 'object' THEN format('kwargs are %s, want an object', left(kwargs::text, 100))
		WHEN queue !~ '^[A-Za-z0-9_.:/-]{1,100}$' THEN
			format('queue is %L, want 1 to 100 letters, digits or some of _-.:/', left(queue, 100))
		WHEN run_at < '0001-01-02Z'::timestamptz OR run_at >= '9999-12-31Z'::timestamptz THEN
			format('run_at is %s, want a time in the years 1 to 9999', run_at)
		WHEN run_at IS NOT NULL AND delay <> '0' THEN 'delay is for a task without a run_at'
		WHEN max_attempts < 1 THEN format('max_attempts is %s, want at least 1', max_attempts)
		WHEN unique_for IS NOT NULL AND unique_key IS NULL THEN 'unique_for is for a task with a unique_key'
		WHEN jsonb_typeof(metadata) <> 'object' THEN format('metadata are %s, want an object of strings', left(metadata::text, 100))
		WHEN id = '00000000-0000-0000-0000-000000000000' THEN 'id is nil'
		WHEN flow = '00000000-0000-0000-0000-000000000000' THEN 'flow is nil'
		WHEN array_position(needs, NULL) IS NOT NULL THEN 'after and after_final may not have a NULL'
		WHEN id = ANY (needs) THEN 'it depends on itself'
		WHEN cardinality(needs) > 100000 THEN format('%s dependencies, want at most 100000', cardinality(needs))
		WHEN cardinality(needs) <> (SELECT count(DISTINCT d) FROM unnest(needs) d) THEN 'it depends on one task twice'
		ELSE coalesce({schema}.wrong_text(name, 'name'), {schema}.wrong_text(unique_key, 'unique_key'),
			{schema}.wrong_payload(args, 'args'), {schema}.wrong_payload(kwargs, 'kwargs'))
	END;
	IF wrong IS NULL AND jsonb_typeof(metadata) = 'object' THEN
		SELECT format('metadata has %s: %s, want a key and a string', left(to_jsonb(m.key)::text, 100), left(m.value::text, 100)) INTO wrong
		FROM jsonb_each(metadata) AS m WHERE m.key = '' OR jsonb_typeof(m.value) <> 'string' LIMIT 1;
	END IF;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION '%', wrong USING ERRCODE = 'invalid_parameter_value';
	END IF;

	IF NOT given THEN -- of version 7: what is new stands together in an index
		id := encode(overlay(overlay(uuid_send(gen_random_uuid())
			PLACING substring(int8send(floor(extract(epoch FROM made) * 1000)::bigint) FROM 3) FROM 1)
			PLACING set_byte(E'\\x00', 0, 112 + floor(random() * 16)::integer) FROM 7), 'hex')::uuid;
	END IF;
	task := '{"id":"' || id || '","func_name":' || to_jsonb(name)::text || ',"args":' || args::text || ',"kwargs":' || kwargs::text
		|| ',"created_at":"' || to_char(made AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '","ttl":' || coalesce({schema}.duration(ttl, 'ttl', '1 microsecond'), 'null')
		|| CASE WHEN queue <> 'default' THEN ',"queue":"' || queue || '"' ELSE '' END
		|| CASE WHEN priority <> 0 THEN ',"priority":' || priority ELSE '' END
		|| coalesce(',"run_at":"' || to_char(run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '"', '')
		|| coalesce(',"max_attempts":' || max_attempts, '')
		|| coalesce(',"timeout":' || {schema}.duration(timeout, 'timeout', '1 microsecond'), '')
		|| coalesce(',"result_ttl":' || {schema}.duration(result_ttl, 'result_ttl', '0'), '')
		|| coalesce(',"metadata":' || nullif(metadata, '{}')::text, '')
		|| coalesce(',"unique_key":' || to_jsonb(unique_key)::text, '')
		|| coalesce(',"unique_for":' || {schema}.duration(unique_for, 'unique_for', '1 microsecond'), '')
		|| coalesce(',"delay":' || nullif({schema}.duration(delay, 'delay', '0'), '"PT0S"'), '')
		|| coalesce(',"failure_ttl":' || {schema}.duration(failure_ttl, 'failure_ttl', '0'), '')
		|| coalesce(',"id_for":' || {schema}.duration(id_for, 'id_for', '1 microsecond'), '')
		|| coalesce(',"flow":"' || flow || '"', '')
		|| coalesce(',"after":[' || (SELECT string_agg('{"id":"' || d.id
				|| CASE WHEN d.n > cardinality(coalesce(enqueue.after, '{}')) THEN '","need":"FINAL"}' ELSE '"}' END, ',' ORDER BY d.n)
			FROM unnest(needs) WITH ORDINALITY AS d (id, n)) || ']', '')
		|| CASE WHEN manual THEN ',"manual":true' ELSE '' END || '}';
	PERFORM {schema}.duration(keep_event, 'keep_event', '1 microsecond');
	ttl := extract(epoch FROM ttl) * interval '1 second'; -- a month is 30 days, as in the envelope
	delay := extract(epoch FROM delay) * interval '1 second';
	unique_for := extract(epoch FROM unique_for) * interval '1 second';
	id_for := extract(epoch FROM id_for) * interval '1 second';
	starts := coalesce(run_at, made + delay, made);
	ends := made + ttl;
	size := octet_length(convert_to(task, 'UTF8'));
	IF ends < starts THEN
		RAISE EXCEPTION 'run_at is %, and the ttl ends before, at %', starts, ends USING ERRCODE = 'invalid_parameter_value';
	ELSIF size > 16 * 1024 * 1024 THEN
		RAISE EXCEPTION 'the task has % bytes, want at most 16 MiB', size USING ERRCODE = 'invalid_parameter_value';
	END IF;

	-- Nothing that is there is locked: this transaction is the caller's, and may stay open. Who enqueues the same ID or the
	-- same key at this moment is waited for.
	IF given AND (EXISTS (SELECT FROM {schema}.tasks t WHERE t.id = enqueue.id)
		OR EXISTS (SELECT FROM {schema}.results r WHERE r.id = enqueue.id AND (r.expires IS NULL OR r.expires > made))
		OR id_for IS NOT NULL AND EXISTS (SELECT FROM {schema}.unique_keys u WHERE u.name = '' AND u.key = enqueue.id::text AND u.until > made))
	THEN
		RETURN id;
	END IF;
	IF flow IS NOT NULL THEN
		-- Who brings tasks of the same flow waits until this transaction has ended.
		PERFORM pg_advisory_xact_lock({schema}.flow_lock(flow));
		first := NOT EXISTS (SELECT FROM {schema}.tasks t WHERE t.flow = enqueue.flow)
			AND NOT EXISTS (SELECT FROM {schema}.results r WHERE r.flow = enqueue.flow AND (r.expires IS NULL OR r.expires > made));
	END IF;
	IF unique_key IS NOT NULL THEN
		LOOP
			UPDATE {schema}.unique_keys u SET id = enqueue.id, until = made + enqueue.unique_for
			WHERE u.name = enqueue.name AND u.key = enqueue.unique_key AND coalesce(u.until <= made, false);
			EXIT WHEN FOUND;
			SELECT u.id INTO holder FROM {schema}.unique_keys u WHERE u.name = enqueue.name AND u.key = enqueue.unique_key;
			IF FOUND THEN
				RETURN holder;
			END IF;
			INSERT INTO {schema}.unique_keys (name, key, id, until)
			VALUES (enqueue.name, enqueue.unique_key, enqueue.id, made + enqueue.unique_for) ON CONFLICT (name, key) DO NOTHING;
			EXIT WHEN FOUND;
		END LOOP;
	END IF;
	SELECT array_agg(d.id) FILTER (WHERE d.status IS NULL), array_agg(d.id) FILTER (WHERE d.status = 0 OR d.status > 3 AND d.strict)
	INTO gone, unmet
	FROM (SELECT d.id, d.n <= cardinality(coalesce(enqueue.after, '{}')) AS strict, coalesce(
			(SELECT 0 FROM {schema}.tasks t WHERE t.id = d.id),
			(SELECT r.status FROM {schema}.results r WHERE r.id = d.id AND (r.expires IS NULL OR r.expires > made))) AS status
		FROM unnest(needs) WITH ORDINALITY AS d (id, n)) d;
	IF gone IS NOT NULL THEN
		RAISE EXCEPTION 'task % depends on task %, which is unknown or gone', id, gone[1] USING ERRCODE = 'invalid_parameter_value';
	END IF;
	waits := manual OR unmet IS NOT NULL;
	stored := CASE WHEN waits THEN -1 WHEN starts <= made THEN 1 ELSE 0 END;
	place := nextval('{schema}.task_order') * 65536;
	INSERT INTO {schema}.tasks (id, seq, rank, due, deadline, wake, since, state, attempt, name, queue, unique_key, task,
		flow, tie, manual, open, delay)
	VALUES (enqueue.id, place, ~enqueue.priority, starts, ends,
		CASE WHEN NOT waits AND starts > made THEN starts END, made, stored,
		0, enqueue.name, enqueue.queue, enqueue.unique_key, task,
		enqueue.flow, CASE WHEN cardinality(needs) > 0 THEN place END, nullif(enqueue.manual, false),
		CASE WHEN waits THEN coalesce(cardinality(unmet), 0) END,
		CASE WHEN waits AND enqueue.run_at IS NULL THEN coalesce((extract(epoch FROM enqueue.delay) * 1000000)::bigint, 0) END)
	ON CONFLICT (id) DO NOTHING;
	IF FOUND AND id_for IS NOT NULL THEN
		INSERT INTO {schema}.unique_keys AS u (name, key, id, until)
		VALUES ('', enqueue.id::text, enqueue.id, made + enqueue.id_for)
		ON CONFLICT (name, key) DO UPDATE SET id = excluded.id, until = excluded.until WHERE u.until <= made;
		IF NOT FOUND THEN
			DELETE FROM {schema}.tasks t WHERE t.id = enqueue.id;
			holder := id;
		END IF;
	ELSIF NOT FOUND THEN
		holder := id;
	END IF;
	IF holder IS NOT NULL THEN -- somebody else was first with this ID
		DELETE FROM {schema}.unique_keys u WHERE u.name = enqueue.name AND u.key = enqueue.unique_key AND u.id = enqueue.id;
		RETURN id;
	END IF;
	IF NOT first AND coalesce(current_setting('omniq.flows', true), '') NOT LIKE '%' || enqueue.flow || '%' THEN
		RAISE EXCEPTION 'flow % is stored already: only its members can add to it', flow USING ERRCODE = 'invalid_parameter_value';
	ELSIF flow IS NOT NULL AND first THEN -- for the others that this transaction enqueues
		PERFORM set_config('omniq.flows', coalesce(current_setting('omniq.flows', true), '') || ' ' || flow, true);
	END IF;
	IF cardinality(needs) > 0 THEN
		INSERT INTO {schema}.edges (tie, passed, n, task, dep, need, input, met)
		SELECT place, false, d.n - 1, enqueue.id, d.id, CASE WHEN d.n > cardinality(coalesce(enqueue.after, '{}')) THEN 1 ELSE 0 END, false,
			CASE WHEN (d.id = ANY (unmet)) IS NOT TRUE THEN true END
		FROM unnest(needs) WITH ORDINALITY AS d (id, n);
		-- They are looked at when this can be seen by those who end them.
		INSERT INTO {schema}.work (kind, task, dep, tie) SELECT 1, enqueue.id, d, place FROM unnest(unmet) AS d;
	END IF;
	WITH removed AS ( -- of an earlier life
		DELETE FROM {schema}.results r WHERE r.id = enqueue.id AND given RETURNING r.queue, r.status, r.tie),
	untied AS (INSERT INTO {schema}.work (kind, tie) SELECT 2, removed.tie FROM removed WHERE removed.tie IS NOT NULL)
	INSERT INTO {schema}.counts (queue, state, n) SELECT removed.queue, removed.status, -1 FROM removed;
	INSERT INTO {schema}.counts (queue, state, n) VALUES (enqueue.queue, stored, 1);
	IF keep_event IS NOT NULL THEN
		INSERT INTO {schema}.events (until, at, task_id, type, attempt, queue)
		VALUES (made + keep_event, made, enqueue.id, 1, 0, enqueue.queue);
	END IF;
	IF notify THEN
		PERFORM pg_notify('omniq:{schema}', 'queue:' || queue);
	END IF;
	RETURN id;
END $$;

COMMENT ON FUNCTION {schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer, interval, interval, jsonb, text,
	interval, uuid, interval, boolean, interval, interval, interval,
	uuid[], uuid[], uuid, boolean) IS
	'Enqueues a task for the workers of OmniQ, in the transaction that it is called in. Returns its ID; or, if there is a task'
	' with the id or the unique_key already, that one''s. It waits for the success of the tasks in after, and the end of those in'
	' after_final. Tasks of a flow are enqueued in one transaction. keep_event is for how long its event is kept, where there are events;'
	' without notify, workers find it when they poll. Who may call it needs no right on the tables.';
REVOKE ALL ON FUNCTION {schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer, interval, interval, jsonb, text,
	interval, uuid, interval, boolean, interval, interval, interval,
	uuid[], uuid[], uuid, boolean) FROM PUBLIC;

-- Who could call the old one can call this one.
DO $$
DECLARE
	old regprocedure := '{schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer, interval, interval, jsonb,'
		' text, interval, uuid, interval, boolean, interval, interval, interval)';
	may record;
BEGIN
	FOR may IN SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who, a.is_grantable AS pass_on
		FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE p.oid = old AND a.grantee <> p.proowner
	LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer,'
			' interval, interval, jsonb, text, interval, uuid, interval, boolean, interval, interval, interval, uuid[], uuid[], uuid, boolean) TO %s', may.who)
			|| CASE WHEN may.pass_on THEN ' WITH GRANT OPTION' ELSE '' END;
	END LOOP;
	EXECUTE 'DROP FUNCTION ' || old;
END $$;
