-- Tells listeners of pg_trickle_alert about event $2 of stream table $1, with message $3.
SELECT pg_catalog.pg_notify('pg_trickle_alert', pg_catalog.json_build_object(
    'event', $2, 'stream_table', c.relname, 'schema', n.nspname, 'at', pg_catalog.clock_timestamp(),
    'message', pg_catalog.left($3, 4000))::pg_catalog.text)
FROM pgtrickle.pgt_definitions AS d
JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) d.pgt_relid
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE d.pgt_id OPERATOR(pg_catalog.=) $1
