-- Who stores many tasks of a lane tells it in one row of stirs. A program of the version before this one adds one for each, as SQL does.
ALTER TABLE {schema}.tasks ADD COLUMN told boolean; -- what stored it has told of it in stirs; NULL if it has not
ALTER TABLE {schema}.stirs ALTER COLUMN n TYPE integer;

DROP TRIGGER stir_new ON {schema}.tasks;
CREATE OR REPLACE FUNCTION {schema}.stir() RETURNS trigger
	LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	IF TG_OP = 'INSERT' THEN
		INSERT INTO {schema}.stirs (id, queue, lane, n)
		SELECT NEW.seq, NEW.queue, coalesce(NEW.lane, ''), 1 WHERE NEW.state = 1;
	ELSIF TG_OP = 'DELETE' THEN
		INSERT INTO {schema}.stirs (id, queue, lane, n)
		VALUES (nextval('{schema}.task_order') * 65536, OLD.queue, coalesce(OLD.lane, ''), -1);
	ELSIF NEW.state <> OLD.state AND (NEW.state = 1 OR OLD.state IN (1, 2)) THEN
		INSERT INTO {schema}.stirs (id, queue, lane, n)
		VALUES (nextval('{schema}.task_order') * 65536, NEW.queue, coalesce(NEW.lane, ''), (NEW.state IN (1, 2))::integer - (OLD.state IN (1, 2))::integer);
	END IF;
	RETURN NULL;
END $$;
-- As short as can be, see the other two.
CREATE TRIGGER stir_new AFTER INSERT ON {schema}.tasks FOR EACH ROW
	WHEN (NEW.bound AND NEW.told IS NULL) EXECUTE FUNCTION {schema}.stir();
