-- Objects on stream table $1 that would change what the engine's statements do; $2 the view with its query.
SELECT pg_catalog.format('trigger "%s"', t.tgname)
FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid OPERATOR(pg_catalog.=) $1 AND NOT t.tgisinternal
    AND (t.tgtype::pg_catalog.int4 OPERATOR(pg_catalog.&) 3) OPERATOR(pg_catalog.=) 3
UNION ALL
SELECT pg_catalog.format('rule "%s"', r.rulename)
FROM pg_catalog.pg_rewrite AS r
WHERE r.ev_class OPERATOR(pg_catalog.=) $1
UNION ALL
SELECT 'FORCE ROW LEVEL SECURITY'
FROM pg_catalog.pg_class AS c
WHERE c.oid OPERATOR(pg_catalog.=) $1 AND c.relforcerowsecurity
UNION ALL
SELECT 'changed column list'
WHERE EXISTS (SELECT 1 FROM pg_catalog.pg_class AS v WHERE v.oid OPERATOR(pg_catalog.=) $2)
    AND EXISTS (
        SELECT 1
        FROM (SELECT a.* FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid OPERATOR(pg_catalog.=) $1 AND a.attnum OPERATOR(pg_catalog.>) 0) AS t
        FULL JOIN (SELECT a.* FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid OPERATOR(pg_catalog.=) $2 AND a.attnum OPERATOR(pg_catalog.>) 0) AS q
            ON q.attnum OPERATOR(pg_catalog.=) t.attnum
        WHERE t.attname IS DISTINCT FROM q.attname OR t.atttypid IS DISTINCT FROM q.atttypid
            OR t.atttypmod IS DISTINCT FROM q.atttypmod
    )
UNION ALL
SELECT 'inheritance'
FROM pg_catalog.pg_inherits AS i
WHERE i.inhparent OPERATOR(pg_catalog.=) $1 OR i.inhrelid OPERATOR(pg_catalog.=) $1
LIMIT 1
