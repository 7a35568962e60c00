-- The generations of source $1's change buffer.
SELECT t.generation, t.buffer_relid, pg_catalog.array_to_string(t.columns, ','), t.method, t.is_current
FROM pgtrickle.pgt_change_tracking AS t
WHERE t.source_relid OPERATOR(pg_catalog.=) $1
ORDER BY t.generation
