-- Event triggers: DDL on sources and stream tables.

REVOKE ALL ON FUNCTION pgtrickle.relation_changed(oid, text), pgtrickle.relation_dropped(oid, text),
    pgtrickle.collect_changes() FROM PUBLIC;

CREATE FUNCTION pgtrickle.on_ddl() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed record;
BEGIN
    FOR changed IN
        SELECT DISTINCT coalesce(t.tgrelid, r.ev_class, c.objid) AS relid
        FROM pg_event_trigger_ddl_commands() AS c
        LEFT JOIN pg_trigger AS t ON c.classid = 'pg_trigger'::regclass AND t.oid = c.objid
        LEFT JOIN pg_rewrite AS r ON c.classid = 'pg_rewrite'::regclass AND r.oid = c.objid
        WHERE c.classid IN ('pg_class'::regclass, 'pg_trigger'::regclass, 'pg_rewrite'::regclass)
    LOOP
        PERFORM pgtrickle.relation_changed(changed.relid, tg_tag);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION pgtrickle.on_ddl() FROM PUBLIC;

CREATE FUNCTION pgtrickle.on_drop() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    dropped record;
BEGIN
    -- Dropping the extension drops its catalog in the same command.
    IF to_regclass('pgtrickle.pgt_definitions') IS NULL THEN
        RETURN;
    END IF;
    FOR dropped IN
        SELECT DISTINCT d.objid FROM pg_event_trigger_dropped_objects() AS d
        WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0
            AND d.object_type IN ('table', 'view', 'materialized view', 'foreign table')
    LOOP
        PERFORM pgtrickle.relation_dropped(dropped.objid, tg_tag);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION pgtrickle.on_drop() FROM PUBLIC;

CREATE EVENT TRIGGER pgtrickle_ddl ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE TRIGGER', 'CREATE RULE',
        'CREATE FOREIGN TABLE', 'ALTER FOREIGN TABLE')
    EXECUTE FUNCTION pgtrickle.on_ddl();

CREATE EVENT TRIGGER pgtrickle_drop ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP VIEW', 'DROP MATERIALIZED VIEW', 'DROP FOREIGN TABLE', 'DROP SCHEMA',
        'DROP OWNED', 'ALTER TABLE', 'DROP FUNCTION', 'DROP TYPE', 'DROP EXTENSION')
    EXECUTE FUNCTION pgtrickle.on_drop();
