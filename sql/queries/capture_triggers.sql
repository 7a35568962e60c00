-- Capture triggers present on relation $1, with how they are enabled.
SELECT t.tgname::pg_catalog.text, t.tgenabled::pg_catalog.text
FROM pg_catalog.pg_trigger AS t
WHERE t.tgrelid OPERATOR(pg_catalog.=) $1 AND t.tgname OPERATOR(pg_catalog.~~) 'pgt\_capture\_%'
