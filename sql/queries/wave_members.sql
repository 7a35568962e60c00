-- The stream tables $1 (array text) and every stream table they read, directly or not, with their direct upstreams.
WITH RECURSIVE member AS (
    SELECT t.id AS pgt_id FROM pg_catalog.unnest($1::pg_catalog.int8[]) AS t(id)
    UNION
    SELECT s.pgt_id
    FROM member AS m
    JOIN pgtrickle.pgt_dependencies AS d ON d.pgt_id OPERATOR(pg_catalog.=) m.pgt_id
    JOIN pgtrickle.pgt_definitions AS s ON s.pgt_relid OPERATOR(pg_catalog.=) d.source_relid
)
SELECT m.pgt_id, df.generation, df.pgt_relid,
    (SELECT pg_catalog.string_agg(s.pgt_id::pg_catalog.text, ',' ORDER BY s.pgt_id)
     FROM pgtrickle.pgt_dependencies AS d
     JOIN pgtrickle.pgt_definitions AS s ON s.pgt_relid OPERATOR(pg_catalog.=) d.source_relid
     WHERE d.pgt_id OPERATOR(pg_catalog.=) m.pgt_id)
FROM member AS m
JOIN pgtrickle.pgt_definitions AS df ON df.pgt_id OPERATOR(pg_catalog.=) m.pgt_id
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) df.pgt_relid
ORDER BY m.pgt_id
