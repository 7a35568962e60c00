-- What a scheduler needs to know of every stream table. Times are milliseconds: since the epoch, and of the wall clock.
SELECT d.pgt_id, d.schedule, d.refresh_mode, d.refresh_tier,
    NOT d.suspended AND p.is_populated AND NOT p.in_error,
    (SELECT pg_catalog.string_agg(s.pgt_id::pg_catalog.text, ',')
     FROM pgtrickle.pgt_dependencies AS e
     JOIN pgtrickle.pgt_definitions AS s ON s.pgt_relid OPERATOR(pg_catalog.=) e.source_relid
     WHERE e.pgt_id OPERATOR(pg_catalog.=) d.pgt_id),
    (pg_catalog.date_part('epoch', p.last_refresh_at) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8,
    (pg_catalog.date_part('epoch', p.last_refresh_at::pg_catalog.timestamp) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8,
    d.pgt_relid::pg_catalog.regclass::pg_catalog.text
FROM pgtrickle.pgt_definitions AS d
JOIN pgtrickle.pgt_progress AS p ON p.pgt_id OPERATOR(pg_catalog.=) d.pgt_id
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.pgt_relid
ORDER BY d.pgt_id
