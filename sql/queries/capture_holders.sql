-- Capture triggers of source $1 (its OID as text), wherever they are.
SELECT t.tgrelid, t.tgname::pg_catalog.text
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
WHERE n.nspname OPERATOR(pg_catalog.=) 'pgtrickle' AND p.proname OPERATOR(pg_catalog.=) 'capture'
    AND t.tgparentid OPERATOR(pg_catalog.=) 0::pg_catalog.oid
    AND t.tgargs OPERATOR(pg_catalog.=) (pg_catalog.convert_to($1, 'UTF8') OPERATOR(pg_catalog.||) '\x00'::pg_catalog.bytea)
ORDER BY t.tgrelid, t.tgname
