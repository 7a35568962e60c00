-- The stream tables $1 (array text), once per relation that they read, with the stream table that this one is.
SELECT df.pgt_id, df.generation, df.pgt_relid, d.source_relid, s.pgt_id
FROM pgtrickle.pgt_definitions AS df
LEFT JOIN pgtrickle.pgt_dependencies AS d ON d.pgt_id OPERATOR(pg_catalog.=) df.pgt_id
LEFT JOIN pgtrickle.pgt_definitions AS s ON s.pgt_relid OPERATOR(pg_catalog.=) d.source_relid
WHERE df.pgt_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])
ORDER BY df.pgt_id, s.pgt_id
