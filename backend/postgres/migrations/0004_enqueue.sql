-- A call in a transaction that stays open is in nobody's way but of those who want the same ID or key: it locks no task and
-- no key that is there. And backslashes in what follows are themselves, whatever the database is set to.
ALTER FUNCTION {schema}.duration SET standard_conforming_strings = on;
ALTER FUNCTION {schema}.wrong_text SET standard_conforming_strings = on;

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
	notify       boolean     DEFAULT true
) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off -- a plan outlives the statistics that it was made with
	SET enable_bitmapscan = off
	SET jit = off
	SET standard_conforming_strings = on
AS $$
#variable_conflict use_column
DECLARE
	made   timestamptz := clock_timestamp();
	starts timestamptz := coalesce(enqueue.run_at, made);
	ends   timestamptz;
	holder uuid;
	task   text;
	wrong  text;
BEGIN
	wrong := CASE
		WHEN name IS NULL OR args IS NULL OR kwargs IS NULL OR queue IS NULL OR priority IS NULL OR notify IS NULL THEN
			'name, args, kwargs, queue, priority and notify may not be NULL'
		WHEN jsonb_typeof(args) <> 'array' THEN format('args are %s, want an array', args)
		WHEN jsonb_typeof(kwargs) <> 'object' THEN format('kwargs are %s, want an object', kwargs)
		WHEN queue !~ '^[A-Za-z0-9_.:/-]{1,100}$' THEN format('queue is %L, want 1 to 100 letters, digits or some of _-.:/', queue)
		WHEN starts < '0001-01-02Z'::timestamptz OR starts >= '9999-12-31Z'::timestamptz THEN
			format('run_at is %s, want a time in the years 1 to 9999', starts)
		WHEN max_attempts < 1 THEN format('max_attempts is %s, want at least 1', max_attempts)
		WHEN unique_for IS NOT NULL AND unique_key IS NULL THEN 'unique_for is for a task with a unique_key'
		WHEN jsonb_typeof(metadata) <> 'object' THEN format('metadata are %s, want an object of strings', metadata)
		WHEN id = '00000000-0000-0000-0000-000000000000' THEN 'id is nil'
		ELSE coalesce({schema}.wrong_text(name, 'name'), {schema}.wrong_text(unique_key, 'unique_key'))
	END;
	IF wrong IS NULL AND jsonb_typeof(metadata) = 'object' THEN
		SELECT format('metadata has %s: %s, want a key and a string', to_jsonb(m.key), m.value) INTO wrong
		FROM jsonb_each(metadata) AS m WHERE m.key = '' OR jsonb_typeof(m.value) <> 'string' LIMIT 1;
	END IF;
	IF wrong IS NOT NULL THEN
		RAISE EXCEPTION '%', wrong USING ERRCODE = 'invalid_parameter_value';
	END IF;

	IF id IS NULL THEN -- of version 7: what is new stands together in an index
		id := encode(overlay(overlay(uuid_send(gen_random_uuid())
			PLACING substring(int8send(floor(extract(epoch FROM made) * 1000)::bigint) FROM 3) FROM 1)
			PLACING set_byte('\x00', 0, 112 + floor(random() * 16)::integer) FROM 7), 'hex')::uuid;
	ELSE
		IF EXISTS (SELECT FROM {schema}.tasks t WHERE t.id = enqueue.id)
			OR EXISTS (SELECT FROM {schema}.results r WHERE r.id = enqueue.id AND (r.expires IS NULL OR r.expires > clock_timestamp()))
		THEN
			RETURN id;
		END IF;
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
		|| coalesce(',"unique_for":' || {schema}.duration(unique_for, 'unique_for', '1 microsecond'), '') || '}';
	ends := made + ttl;
	IF ends < starts THEN
		RAISE EXCEPTION 'run_at is %, and the ttl ends before, at %', starts, ends USING ERRCODE = 'invalid_parameter_value';
	ELSIF octet_length(task) > 16 * 1024 * 1024 THEN
		RAISE EXCEPTION 'the task has % bytes, want at most 16 MiB', octet_length(task) USING ERRCODE = 'invalid_parameter_value';
	END IF;

	WHILE unique_key IS NOT NULL LOOP -- a key that is held is not locked: its task must be able to end
		SELECT u.id INTO holder FROM {schema}.unique_keys u
		WHERE u.name = enqueue.name AND u.key = enqueue.unique_key AND NOT coalesce(u.until <= made, false);
		IF FOUND THEN
			RETURN holder;
		END IF;
		UPDATE {schema}.unique_keys u SET id = enqueue.id, until = made + enqueue.unique_for
		WHERE u.name = enqueue.name AND u.key = enqueue.unique_key AND coalesce(u.until <= made, false);
		EXIT WHEN FOUND;
		INSERT INTO {schema}.unique_keys (name, key, id, until)
		VALUES (enqueue.name, enqueue.unique_key, enqueue.id, made + enqueue.unique_for)
		ON CONFLICT DO NOTHING; -- waits for who is about to take or to release it
		EXIT WHEN FOUND;
	END LOOP;

	WITH removed AS ( -- of an earlier life
		DELETE FROM {schema}.results r WHERE r.id = enqueue.id AND r.expires <= clock_timestamp() RETURNING r.queue, r.status)
	INSERT INTO {schema}.counts SELECT removed.queue, removed.status, -1 FROM removed;
	INSERT INTO {schema}.tasks (id, seq, rank, due, deadline, wake, since, state, attempt, name, queue, unique_key, task)
	VALUES (enqueue.id, nextval('{schema}.task_order') * 65536, ~enqueue.priority, starts, ends,
		CASE WHEN starts > made THEN starts END, made, CASE WHEN starts <= made THEN 1 ELSE 0 END,
		0, enqueue.name, enqueue.queue, enqueue.unique_key, task)
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN -- somebody else was first with this id
		DELETE FROM {schema}.unique_keys u WHERE u.name = enqueue.name AND u.key = enqueue.unique_key AND u.id = enqueue.id;
		RETURN id;
	END IF;
	INSERT INTO {schema}.counts VALUES (enqueue.queue, CASE WHEN starts <= made THEN 1 ELSE 0 END, 1);
	IF keep_event IS NOT NULL THEN
		INSERT INTO {schema}.events (until, at, task_id, type, attempt, queue)
		VALUES (made + keep_event, made, enqueue.id, 1, 0, enqueue.queue);
	END IF;
	IF notify THEN
		PERFORM pg_notify('omniq:{schema}', 'queue:' || queue);
	END IF;
	RETURN id;
END $$;
