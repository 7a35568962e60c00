-- Stream tables; what follows says which.
SELECT d.pgt_id, d.pgt_relid, d.query_view, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, c.relowner,
    d.original_query, d.schedule, d.refresh_mode, d.supported_mode, d.downgrade_reason, d.suspended,
    d.settings::pg_catalog.text, d.generation, pg_catalog.array_to_string(d.key_columns, ','),
    pg_catalog.to_json(d.state_tables)::pg_catalog.text, d.is_captured, d.key_columns IS NOT NULL,
    d.function_hashes
FROM pgtrickle.pgt_definitions AS d
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.pgt_relid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
