-- Whether DDL on a source of stream table $1 is not consumed by its frontier ($2 snapshot, $3 own transaction).
SELECT 1
FROM pgtrickle.pgt_dependencies AS d
JOIN pgtrickle.pgt_invalidations AS i ON i.relid OPERATOR(pg_catalog.=) d.source_relid
WHERE d.pgt_id OPERATOR(pg_catalog.=) $1
    AND pgtrickle.pending(i.xid, 1, $2::pg_catalog.pg_snapshot, $3::pg_catalog.xid8, 0)
LIMIT 1
