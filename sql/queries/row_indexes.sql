-- The indexes by which the engine finds rows of stream table $1: on a hash of the row or its key, or unique on the key
-- columns $2.
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname)
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) i.indexrelid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE i.indrelid OPERATOR(pg_catalog.=) $1
    AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k WHERE k.conindid OPERATOR(pg_catalog.=) i.indexrelid)
    AND (pg_catalog.pg_get_indexdef(i.indexrelid) OPERATOR(pg_catalog.~~) '%pgtrickle.hash\_v1(%'
        OR (i.indisunique AND i.indkey::pg_catalog.text OPERATOR(pg_catalog.=) $2))
