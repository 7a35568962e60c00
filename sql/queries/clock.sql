-- The time now in milliseconds: since the epoch, and of the wall clock.
SELECT (pg_catalog.date_part('epoch', t.now) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8,
    (pg_catalog.date_part('epoch', t.now::pg_catalog.timestamp) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8
FROM (SELECT pg_catalog.clock_timestamp() AS now) AS t
