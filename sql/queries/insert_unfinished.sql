-- Records a refresh of stream table $1 that failed or was skipped (status $2) with message $3; it began
-- $4 milliseconds ago.
INSERT INTO pgtrickle.pgt_refresh_history (pgt_id, start_time, end_time, action, error_message, status, initiated_by)
SELECT d.pgt_id,
    pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-)
        pg_catalog.make_interval(secs => $4::pg_catalog.float8 OPERATOR(pg_catalog./) 1000.0),
    pg_catalog.clock_timestamp(),
    CASE WHEN $2 OPERATOR(pg_catalog.=) 'SKIPPED' THEN 'SKIP'
         WHEN d.refresh_mode OPERATOR(pg_catalog.=) 'FULL' THEN 'FULL' ELSE d.supported_mode END,
    $3, $2, 'SCHEDULER'
FROM pgtrickle.pgt_definitions AS d
WHERE d.pgt_id OPERATOR(pg_catalog.=) $1
