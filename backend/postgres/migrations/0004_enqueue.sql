-- What plain SQL enqueues is checked as a client checks it: what a worker or a reader could not read back is refused.

-- A duration as it stands in an envelope, NULL for NULL. Go's time.Duration has no longer one.
CREATE OR REPLACE FUNCTION {schema}.duration(value interval, parameter text, shortest interval) RETURNS text
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	seconds numeric;
BEGIN
	IF value IS NULL THEN
		RETURN NULL;
	ELSIF isfinite(value) THEN
		seconds := extract(epoch FROM value)::numeric;
	END IF;
	IF seconds IS NULL OR seconds < extract(epoch FROM shortest)::numeric OR seconds > 106751 * 86400::numeric THEN
		RAISE EXCEPTION '% is %, want % to 106751 days', parameter, value, shortest USING ERRCODE = 'invalid_parameter_value';
	END IF;
	RETURN '"PT' || trim_scale(round(seconds, 6)) || 'S"';
END $$;

-- What is wrong with a name or a key, NULL if nothing is. White space is what it is for the client, whatever the collation.
CREATE OR REPLACE FUNCTION {schema}.wrong_text(value text, parameter text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	space text := E'\\s\\u0085\\u00a0';
BEGIN
	IF getdatabaseencoding() = 'UTF8' THEN
		space := space || E'\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000';
	END IF;
	IF value = '' OR octet_length(convert_to(value, 'UTF8')) > 255 OR value ~ E'[\\u0001-\\u001f\\u007f-\\u009f]'
		OR value ~ ('^[' || space || ']|[' || space || ']$')
	THEN
		RETURN format('%s is %L, want 1 to 255 bytes without control characters, and no white space at an end', parameter, left(value, 255));
	END IF;
	RETURN NULL;
END $$;

-- What is wrong with arguments, NULL if nothing is. Only long ones can be too deep, or have such numbers.
CREATE FUNCTION {schema}.wrong_payload(value jsonb, parameter text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
	size integer := octet_length(value::text);
BEGIN
	IF size >= 1024 AND jsonb_path_exists(value, 'strict $.**{511 to last} ? (@.type() == "array" || @.type() == "object")') THEN
		RETURN parameter || ' have more than 511 levels of arrays and objects';
	ELSIF size > 300 AND jsonb_path_exists(value,
		'strict $.** ? (@.type() == "number" && (@ > 1.7976931348623157e308 || @ < -1.7976931348623157e308))')
	THEN
		RETURN parameter || ' have a number beyond the range of float64';
	END IF;
	RETURN NULL;
END $$;

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
	id_for       interval    DEFAULT NULL
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
BEGIN
	wrong := CASE
		WHEN name IS NULL OR args IS NULL OR kwargs IS NULL OR queue IS NULL OR priority IS NULL OR notify IS NULL THEN
			'name, args, kwargs, queue, priority and notify may not be NULL'
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
		|| coalesce(',"id_for":' || {schema}.duration(id_for, 'id_for', '1 microsecond'), '') || '}';
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
	INSERT INTO {schema}.tasks (id, seq, rank, due, deadline, wake, since, state, attempt, name, queue, unique_key, task)
	VALUES (enqueue.id, nextval('{schema}.task_order') * 65536, ~enqueue.priority, starts, ends,
		CASE WHEN starts > made THEN starts END, made, CASE WHEN starts <= made THEN 1 ELSE 0 END,
		0, enqueue.name, enqueue.queue, enqueue.unique_key, task)
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
	WITH removed AS ( -- of an earlier life
		DELETE FROM {schema}.results r WHERE r.id = enqueue.id AND given RETURNING r.queue, r.status)
	INSERT INTO {schema}.counts (queue, state, n) SELECT removed.queue, removed.status, -1 FROM removed;
	INSERT INTO {schema}.counts (queue, state, n) VALUES (enqueue.queue, CASE WHEN starts <= made THEN 1 ELSE 0 END, 1);
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
	interval, uuid, interval, boolean, interval, interval, interval) IS
	'Enqueues a task for the workers of OmniQ, in the transaction that it is called in. Returns its ID; or, if there is a task'
	' with the id or the unique_key already, that one''s. keep_event is for how long its event is kept, where there are events;'
	' without notify, workers find it when they poll. Who may call it needs no right on the tables.';
REVOKE ALL ON FUNCTION {schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer, interval, interval, jsonb, text,
	interval, uuid, interval, boolean, interval, interval, interval) FROM PUBLIC;

-- Who could call the old one can call this one.
DO $$
DECLARE
	old regprocedure := '{schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer, interval, interval, jsonb,'
		' text, interval, uuid, interval, boolean)';
	may record;
BEGIN
	FOR may IN SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS who, a.is_grantable AS pass_on
		FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a WHERE p.oid = old AND a.grantee <> p.proowner
	LOOP
		EXECUTE format('GRANT EXECUTE ON FUNCTION {schema}.enqueue(text, jsonb, jsonb, text, bigint, timestamptz, interval, integer,'
			' interval, interval, jsonb, text, interval, uuid, interval, boolean, interval, interval, interval) TO %s', may.who)
			|| CASE WHEN may.pass_on THEN ' WITH GRANT OPTION' ELSE '' END;
	END LOOP;
	EXECUTE 'DROP FUNCTION ' || old;
END $$;
