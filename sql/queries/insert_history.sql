-- Records a finished refresh that began $2 milliseconds ago.
INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, data_timestamp, start_time, end_time, action, refresh_reason,
    rows_inserted, rows_deleted, delta_row_count, was_full_fallback, status, initiated_by, tick_snapshot)
VALUES ($1, pg_catalog.now(),
    pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
        pg_catalog.make_interval(secs => $2::pg_catalog.float8 OPERATOR(pg_catalog./) 1000.0),
    pg_catalog.clock_timestamp(), $3, $4, $5, $6, $7, $8, 'COMPLETED', $9, $10::pg_catalog.pg_snapshot)
RETURNING refresh_id
