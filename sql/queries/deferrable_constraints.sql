-- The deferrable constraints on stream table $1 and the foreign keys that refer to it, those deferred at first apart.
SELECT
    pg_catalog.string_agg(c.name, ', '),
    pg_catalog.string_agg(c.name, ', ') FILTER (WHERE c.condeferred)
FROM (
    SELECT pg_catalog.format('%I.%I', n.nspname, c.conname) AS name, c.condeferred
    FROM pg_catalog.pg_constraint AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.connamespace
    WHERE c.condeferrable
        AND (c.conrelid OPERATOR(pg_catalog.=) $1 OR c.confrelid OPERATOR(pg_catalog.=) $1)
) AS c
