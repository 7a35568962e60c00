-- Stream tables whose owner the current user may act for: pgt_id.
SELECT d.pgt_id
FROM pgtrickle.pgt_definitions AS d
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.pgt_relid
WHERE pg_catalog.pg_has_role(c.relowner, 'USAGE')
ORDER BY d.pgt_id
