-- Columns of relation $1 to capture ($2, attribute numbers): type and collation.
SELECT a.attnum, pg_catalog.format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
        THEN pg_catalog.format('%I.%I', n.nspname, c.collname) END
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_collation AS c ON c.oid OPERATOR(pg_catalog.=) a.attcollation
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.collnamespace
WHERE a.attrelid OPERATOR(pg_catalog.=) $1
    AND a.attnum OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.int2[]) AND NOT a.attisdropped
ORDER BY a.attnum
