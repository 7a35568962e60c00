-- How far a stream table ($1) is.
SELECT p.version, p.is_populated, p.snapshot::pg_catalog.text, p.own_xid::pg_catalog.text, p.consumed::pg_catalog.text,
    p.system_identifier, p.database_oid, p.state_is_valid, p.needs_reinit, p.in_error, p.consecutive_errors,
    p.data_timestamp::pg_catalog.text, p.last_full_ms,
    -- Microseconds since 2000-01-01, as the server counts them.
    ((pg_catalog.extract('epoch', p.data_timestamp) OPERATOR(pg_catalog.-) 946684800)
        OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8,
    EXISTS (
        SELECT 1
        FROM pgtrickle.pgt_dependencies AS d
        JOIN pgtrickle.pgt_invalidations AS i ON i.relid OPERATOR(pg_catalog.=) d.source_relid
        WHERE d.pgt_id OPERATOR(pg_catalog.=) p.pgt_id
            AND pgtrickle.pending(i.xid, 1, p.snapshot, p.own_xid, 0)
    )
FROM pgtrickle.pgt_progress AS p
WHERE p.pgt_id OPERATOR(pg_catalog.=) $1
