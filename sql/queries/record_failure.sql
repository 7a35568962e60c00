-- Counts a failed refresh of stream table $1 with message $2; $3 puts it into status ERROR at once.
UPDATE pgtrickle.pgt_progress SET
    consecutive_errors = consecutive_errors OPERATOR(pg_catalog.+) 1, last_error_message = $2,
    last_error_at = pg_catalog.clock_timestamp(), in_error = in_error OR $3
WHERE pgt_id OPERATOR(pg_catalog.=) $1
RETURNING consecutive_errors
