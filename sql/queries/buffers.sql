-- The generations of the change buffers of the sources $1 (array text).
SELECT t.generation, t.buffer_relid, pg_catalog.array_to_string(t.columns, ','), t.method, t.is_current, t.source_relid
FROM pgtrickle.pgt_change_tracking AS t
WHERE t.source_relid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
ORDER BY t.source_relid, t.generation
