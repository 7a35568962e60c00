-- A column of a source of stream table $1 that role $2 may not read.
SELECT pg_catalog.format('column "%s" of %s', a.attname, d.source_relid::pg_catalog.regclass)
FROM pgtrickle.pgt_dependencies AS d
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.source_relid
JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) d.source_relid
    AND a.attnum OPERATOR(pg_catalog.=) ANY (d.columns_used)
WHERE d.pgt_id OPERATOR(pg_catalog.=) $1
    AND NOT (pg_catalog.has_column_privilege($2, d.source_relid, a.attnum, 'SELECT')
        AND pg_catalog.has_schema_privilege($2, c.relnamespace, 'USAGE'))
LIMIT 1
