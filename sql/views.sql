-- What users and tools read.

-- One row per stream table that exists: definition, settings and progress. A stream table dropped with DROP TABLE
-- disappears here at once, before its rows are collected.
CREATE VIEW pgtrickle.pgt_stream_tables AS
SELECT d.pgt_id, d.pgt_relid, c.relname::text AS pgt_name, n.nspname::text AS pgt_schema,
    coalesce(pg_get_viewdef(v.oid), d.original_query) AS defining_query, d.original_query, d.schedule,
    d.refresh_mode, p.effective_refresh_mode,
    CASE WHEN d.suspended THEN 'SUSPENDED' WHEN p.in_error THEN 'ERROR'
        WHEN NOT p.is_populated THEN 'INITIALIZING' ELSE 'ACTIVE' END AS status,
    p.is_populated,
    -- As of when the contents are right. A refresh that found nothing to do wrote nothing.
    CASE WHEN p.is_populated THEN greatest(p.data_timestamp, pgtrickle.checked_at(d.pgt_id)) END AS data_timestamp,
    jsonb_build_object('snapshot', p.snapshot, 'own_xid', p.own_xid::text, 'consumed', p.consumed, 'time', p.data_timestamp,
        'system_identifier', p.system_identifier, 'database', p.database_oid) AS frontier,
    p.last_refresh_at, p.consecutive_errors, p.needs_reinit, d.auto_threshold, p.last_full_ms, d.functions_used,
    d.function_hashes, d.topk_limit, d.topk_order_by, d.topk_offset, d.diamond_consistency,
    d.diamond_schedule_policy, d.has_keyless_source, d.requested_cdc_mode, d.is_append_only, d.scc_id,
    p.last_fixpoint_iterations, d.pooler_compatibility_mode, d.refresh_tier, d.fuse_mode, p.fuse_state,
    d.fuse_ceiling, d.fuse_sensitivity, p.blown_at, p.blow_reason, p.last_error_message, p.last_error_at,
    d.downstream_publication_name, d.freshness_deadline_ms, d.st_partition_key, d.in_shadow_build,
    d.shadow_table_name, d.created_at, d.updated_at,
    d.supported_mode, d.downgrade_reason, d.schedule_seconds
FROM pgtrickle.pgt_definitions AS d
JOIN pg_class AS c ON c.oid = d.pgt_relid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_class AS v ON v.oid = d.query_view
JOIN pgtrickle.pgt_progress AS p ON p.pgt_id = d.pgt_id;

CREATE VIEW pgtrickle.stream_tables_info AS
SELECT s.*, now() - s.data_timestamp AS staleness,
    coalesce(now() - s.data_timestamp > make_interval(secs => s.schedule_seconds::float8), false) AS stale,
    s.topk_limit IS NOT NULL AS is_topk
FROM pgtrickle.pgt_stream_tables AS s;

CREATE VIEW pgtrickle.pg_stat_stream_tables AS
SELECT s.pgt_id, s.pgt_schema, s.pgt_name, s.status, s.refresh_mode, s.is_populated, s.data_timestamp, s.schedule,
    s.staleness, s.stale, s.consecutive_errors, s.needs_reinit, s.last_refresh_at,
    h.total_refreshes, h.successful_refreshes, h.failed_refreshes, h.total_rows_inserted, h.total_rows_deleted,
    h.avg_duration_ms, l.action AS last_action, l.status AS last_status, l.initiated_by AS last_initiated_by,
    (SELECT array_agg(DISTINCT d.cdc_mode) FROM pgtrickle.pgt_dependencies AS d
     WHERE d.pgt_id = s.pgt_id AND d.cdc_mode IS NOT NULL) AS cdc_modes,
    s.scc_id, s.last_fixpoint_iterations, s.refresh_tier, s.downstream_publication_name AS downstream_publication
FROM pgtrickle.stream_tables_info AS s
CROSS JOIN LATERAL (
    SELECT count(*) AS total_refreshes,
        count(*) FILTER (WHERE h.status = 'COMPLETED') AS successful_refreshes,
        count(*) FILTER (WHERE h.status = 'FAILED') AS failed_refreshes,
        coalesce(sum(h.rows_inserted), 0)::bigint AS total_rows_inserted,
        coalesce(sum(h.rows_deleted), 0)::bigint AS total_rows_deleted,
        avg(extract(epoch FROM h.end_time - h.start_time) * 1000)::float8 AS avg_duration_ms
    FROM pgtrickle.pgt_refresh_history AS h WHERE h.pgt_id = s.pgt_id
) AS h
LEFT JOIN LATERAL (
    SELECT h.action, h.status, h.initiated_by
    FROM pgtrickle.pgt_refresh_history AS h WHERE h.pgt_id = s.pgt_id
    ORDER BY h.refresh_id DESC LIMIT 1
) AS l ON true;

CREATE VIEW pgtrickle.pgt_cdc_status AS
SELECT s.pgt_schema, s.pgt_name, d.source_relid, c.relname::text AS source_name, n.nspname::text AS source_schema,
    d.cdc_mode, d.slot_name, d.decoder_confirmed_lsn, d.transition_started_at
FROM pgtrickle.pgt_dependencies AS d
JOIN pgtrickle.pgt_stream_tables AS s ON s.pgt_id = d.pgt_id
JOIN pg_class AS c ON c.oid = d.source_relid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE d.cdc_mode IS NOT NULL;

CREATE VIEW pgtrickle.quick_health AS
SELECT t.*,
    CASE WHEN t.total_stream_tables = 0 THEN 'EMPTY'
        WHEN t.error_tables > 0 OR NOT t.scheduler_running THEN 'CRITICAL'
        WHEN t.stale_tables > 0 THEN 'WARNING' ELSE 'OK' END AS status
FROM (
    SELECT count(*) AS total_stream_tables,
        count(*) FILTER (WHERE s.status IN ('ERROR', 'SUSPENDED')) AS error_tables,
        count(*) FILTER (WHERE s.stale) AS stale_tables,
        EXISTS (SELECT 1 FROM pg_stat_activity AS a
                WHERE a.backend_type LIKE 'pg_trickle scheduler%' AND a.datname = current_database())
            AS scheduler_running
    FROM pgtrickle.stream_tables_info AS s
) AS t;

GRANT SELECT ON ALL TABLES IN SCHEMA pgtrickle TO PUBLIC;
