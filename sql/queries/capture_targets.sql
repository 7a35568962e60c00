-- Relation $1 with all its partitions and inheritance children.
WITH RECURSIVE tree AS (
    SELECT $1 AS relid
    UNION
    SELECT i.inhrelid
    FROM tree AS t
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) t.relid
)
SELECT t.relid, c.relkind::pg_catalog.text, c.relispartition
FROM tree AS t
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.relid
ORDER BY t.relid
