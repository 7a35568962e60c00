-- Functions that only look. `stream_table_id` raises for NULL, for an unknown name and for other relations.

CREATE FUNCTION pgtrickle.pgt_status()
    RETURNS TABLE(name text, status text, refresh_mode text, is_populated boolean, consecutive_errors int,
        schedule text, data_timestamp timestamptz, staleness interval, scc_id int)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.pgt_schema || '.' || s.pgt_name, s.status, s.refresh_mode, s.is_populated, s.consecutive_errors,
        s.schedule, s.data_timestamp, s.staleness, s.scc_id
    FROM pgtrickle.stream_tables_info AS s ORDER BY 1
$$;

CREATE FUNCTION pgtrickle.get_refresh_history(name text, max_rows int DEFAULT 20)
    RETURNS TABLE(refresh_id bigint, data_timestamp timestamptz, start_time timestamptz, end_time timestamptz,
        action text, status text, rows_inserted bigint, rows_deleted bigint, duration_ms float8, error_message text)
    LANGUAGE sql STABLE
AS $$
    SELECT h.refresh_id, h.data_timestamp, h.start_time, h.end_time, h.action, h.status, h.rows_inserted,
        h.rows_deleted,
        (pg_catalog.date_part('epoch', h.end_time OPERATOR(pg_catalog.-) h.start_time) OPERATOR(pg_catalog.*) 1000.0),
        h.error_message
    FROM pgtrickle.pgt_refresh_history AS h
    WHERE h.pgt_id OPERATOR(pg_catalog.=) pgtrickle.stream_table_id(name)
    ORDER BY h.refresh_id DESC
    LIMIT pgtrickle.required_int('max_rows', max_rows)
$$;

CREATE FUNCTION pgtrickle.explain_refresh_mode(name text)
    RETURNS TABLE(configured_mode text, effective_mode text, downgrade_reason text)
    LANGUAGE sql STABLE
AS $$
    SELECT d.refresh_mode,
        CASE WHEN d.refresh_mode OPERATOR(pg_catalog.=) 'FULL' THEN 'FULL' ELSE d.supported_mode END,
        CASE WHEN d.refresh_mode OPERATOR(pg_catalog.<>) 'FULL' THEN d.downgrade_reason END
    FROM pgtrickle.pgt_definitions AS d
    WHERE d.pgt_id OPERATOR(pg_catalog.=) pgtrickle.stream_table_id(name)
$$;

CREATE FUNCTION pgtrickle.get_staleness(name text) RETURNS float8
    LANGUAGE sql STABLE
AS $$
    SELECT pg_catalog.date_part('epoch', s.staleness)
    FROM pgtrickle.stream_tables_info AS s
    WHERE s.pgt_id OPERATOR(pg_catalog.=) pgtrickle.stream_table_id(name)
$$;
