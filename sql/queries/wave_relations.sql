-- Relations a refresh of the stream tables $1 locks: their sources with all partitions and inheritance children, and
-- the change buffers of the sources. `is_buffer` orders sources before their buffers.
WITH RECURSIVE source AS (
    SELECT d.source_relid AS relid
    FROM pgtrickle.pgt_dependencies AS d
    WHERE d.pgt_id OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.int8[])
    UNION
    SELECT i.inhrelid
    FROM source AS s
    JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) s.relid
)
SELECT s.relid, false AS is_buffer
FROM source AS s
UNION ALL
SELECT t.buffer_relid, true
FROM pgtrickle.pgt_change_tracking AS t
WHERE t.source_relid OPERATOR(pg_catalog.=) ANY (ARRAY(SELECT s.relid FROM source AS s))
ORDER BY 2, 1
