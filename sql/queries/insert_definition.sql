-- Registers a stream table.
INSERT INTO pgtrickle.pgt_definitions (pgt_id, pgt_relid, query_view, original_query, schedule, schedule_seconds,
    refresh_mode, supported_mode, downgrade_reason, settings, key_columns, state_tables, is_captured, functions_used,
    diamond_consistency, diamond_schedule_policy, requested_cdc_mode, is_append_only, pooler_compatibility_mode,
    freshness_deadline_ms, function_hashes)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::pg_catalog.jsonb, $11::pg_catalog.int2[],
    ARRAY(SELECT e FROM pg_catalog.json_array_elements_text($12::pg_catalog.json) AS e), $13,
    ARRAY(SELECT e FROM pg_catalog.json_array_elements_text($14::pg_catalog.json) AS e),
    $15, $16, $17, $18, $19, $20, $21)
