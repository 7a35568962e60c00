-- Stores the frontier of a refresh.
UPDATE pgtrickle.pgt_progress SET
    version = version OPERATOR(pg_catalog.+) 1, is_populated = true,
    snapshot = $2::pg_catalog.pg_snapshot, own_xid = $3::pg_catalog.xid8, consumed = $4::pg_catalog.jsonb,
    data_timestamp = pg_catalog.now(), system_identifier = $5, database_oid = $6, state_is_valid = $7,
    effective_refresh_mode = $8, last_refresh_at = pg_catalog.clock_timestamp(),
    last_full_ms = CASE WHEN $9 IS NULL THEN last_full_ms ELSE $9::pg_catalog.float8 END,
    needs_reinit = false, in_error = false, consecutive_errors = 0
WHERE pgt_id OPERATOR(pg_catalog.=) $1
