-- Columns of relation $1 to capture ($2, attribute numbers): name, type, collation, and the expression of a column
-- that is computed when it is read. Whether its values can be compared by their type's own `=`.
SELECT a.attnum, pg_catalog.quote_ident(a.attname), pg_catalog.format_type(a.atttypid, a.atttypmod),
    CASE WHEN a.attcollation OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
        THEN pg_catalog.format('%I.%I', n.nspname, c.collname) END,
    CASE WHEN a.attgenerated OPERATOR(pg_catalog.=) 'v' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
    a.atttypid OPERATOR(pg_catalog.=) ANY ('{bool,int2,int4,int8,oid,date,timestamp,timestamptz,uuid}'::pg_catalog.regtype[])
FROM pg_catalog.pg_attribute AS a
LEFT JOIN pg_catalog.pg_collation AS c ON c.oid OPERATOR(pg_catalog.=) a.attcollation
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.collnamespace
LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid OPERATOR(pg_catalog.=) a.attrelid
    AND d.adnum OPERATOR(pg_catalog.=) a.attnum
WHERE a.attrelid OPERATOR(pg_catalog.=) $1
    AND a.attnum OPERATOR(pg_catalog.=) ANY ($2::pg_catalog.int2[]) AND NOT a.attisdropped
ORDER BY a.attnum
