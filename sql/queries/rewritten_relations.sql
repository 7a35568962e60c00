-- Relations of $1 whose storage is not the one the snapshot shows: truncated or rewritten since.
SELECT c.oid::pg_catalog.regclass::pg_catalog.text
FROM pg_catalog.pg_class AS c
WHERE c.oid OPERATOR(pg_catalog.=) ANY ($1::pg_catalog.oid[])
    AND c.relfilenode OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
    AND c.relfilenode OPERATOR(pg_catalog.<>) pg_catalog.pg_relation_filenode(c.oid)
LIMIT 1
