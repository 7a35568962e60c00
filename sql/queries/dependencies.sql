-- What a stream table ($1) reads, by ascending OID, with the stream table a source is.
SELECT d.source_relid, d.source_type, pg_catalog.array_to_string(d.columns_used, ','), d.cdc_mode IS NOT NULL,
    s.pgt_id
FROM pgtrickle.pgt_dependencies AS d
LEFT JOIN pgtrickle.pgt_definitions AS s ON s.pgt_relid OPERATOR(pg_catalog.=) d.source_relid
WHERE d.pgt_id OPERATOR(pg_catalog.=) $1
ORDER BY d.source_relid
