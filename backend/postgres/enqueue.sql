-- The function for plain SQL, made anew after each migration. Whoever changes it adds a migration, so that it is run.
CREATE OR REPLACE FUNCTION {schema}.enqueue(
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
	manual       boolean     DEFAULT false,
	lane         text        DEFAULT NULL
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
			{schema}.wrong_text(lane, 'lane'),
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
		|| CASE WHEN manual THEN ',"manual":true' ELSE '' END
		|| coalesce(',"lane":' || to_jsonb(lane)::text, '') || '}';
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
		flow, tie, manual, open, delay, lane, bound)
	VALUES (enqueue.id, place, ~enqueue.priority, starts, ends,
		CASE WHEN NOT waits AND starts > made THEN starts END, made, stored,
		0, enqueue.name, enqueue.queue, enqueue.unique_key, task,
		enqueue.flow, CASE WHEN cardinality(needs) > 0 THEN place END, nullif(enqueue.manual, false),
		CASE WHEN waits THEN coalesce(cardinality(unmet), 0) END,
		CASE WHEN waits AND enqueue.run_at IS NULL THEN coalesce((extract(epoch FROM enqueue.delay) * 1000000)::bigint, 0) END,
		enqueue.lane, enqueue.lane IS NOT NULL OR (SELECT l.laned FROM {schema}.limits l WHERE l.queue = enqueue.queue))
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
	INSERT INTO {schema}.tallies (at, what, n, us, queue, name) VALUES (made, 1, 1, 0, enqueue.queue, enqueue.name);
	IF keep_event IS NOT NULL THEN
		INSERT INTO {schema}.events (until, at, name, task_id, type, attempt, queue)
		VALUES (made + keep_event, made, enqueue.name, enqueue.id, 1, 0, enqueue.queue);
	END IF;
	IF notify THEN
		PERFORM pg_notify('omniq:{schema}', 'queue:' || queue);
	END IF;
	RETURN id;
END $$;

-- Whoever could call one with other parameters can call this one.
DO $$
DECLARE
	new regprocedure := '{schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer, interval, interval, jsonb, text,'
		' interval, uuid, interval, boolean, interval, interval, interval, uuid[], uuid[], uuid, boolean, text)';
	old regprocedure;
	may record;
BEGIN
	EXECUTE format('COMMENT ON FUNCTION %s IS %L', new,
		'Enqueues a task for the workers of OmniQ, in the transaction that it is called in. Returns its ID; or, if there is a task'
		' with the id or the unique_key already, that one''s. It waits for the success of the tasks in after, and the end of those in'
		' after_final. Tasks of a flow are enqueued in one transaction. keep_event is for how long its event is kept, where there are events;'
		' without notify, workers find it when they poll. Who may call it needs no right on the tables.');
	FOR old IN SELECT p.oid FROM pg_proc p WHERE p.pronamespace = '{schema}'::regnamespace AND p.proname = 'enqueue' AND p.oid <> new
	LOOP
		EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', new); -- it is a new one
		FOR may IN SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who, a.is_grantable AS pass_on
			FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE p.oid = old AND a.grantee <> p.proowner
		LOOP
			EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', new, may.who) || CASE WHEN may.pass_on THEN ' WITH GRANT OPTION' ELSE '' END;
		END LOOP;
		EXECUTE format('DROP FUNCTION %s', old);
	END LOOP;
END $$;
