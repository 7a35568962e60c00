-- Functions the engine's own SQL is made of.

CREATE FUNCTION pgtrickle.image(value anyelement) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_image';
COMMENT ON FUNCTION pgtrickle.image(anyelement) IS
    'The bytes of a value, detoasted. Two values of one type are the same row content iff their images are equal.';

CREATE FUNCTION pgtrickle.hash_v1(VARIADIC "values" "any") RETURNS bigint
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_hash_v1';
COMMENT ON FUNCTION pgtrickle.hash_v1("any") IS
    'NULL-safe hash of several values under grouping equality. Its results are frozen: they are in indexes.';

CREATE FUNCTION pgtrickle.single_row(n bigint, value anyelement) RETURNS anyelement
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_single_row';
COMMENT ON FUNCTION pgtrickle.single_row(bigint, anyelement) IS
    'The value of a scalar subquery that had n rows; an error if n > 1.';

CREATE FUNCTION pgtrickle.guard() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_guard';
COMMENT ON FUNCTION pgtrickle.guard() IS 'Refuses writes to a stream table by anyone but a refresh.';

-- A row of a change buffer is pending for a frontier (snapshot, own_xid, consumed) iff this is true. The frontier's
-- snapshot counts own_xid as in progress; of its rows those up to change_id `consumed` are consumed.
CREATE FUNCTION pgtrickle.pending(
    xid pg_catalog.xid8, change_id bigint,
    snapshot pg_catalog.pg_snapshot, own_xid pg_catalog.xid8, consumed bigint
) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN NOT pg_catalog.pg_visible_in_snapshot($1, $3)
        AND NOT ($1 OPERATOR(pg_catalog.=) $4 AND $2 OPERATOR(pg_catalog.<=) $5);
COMMENT ON FUNCTION pgtrickle.pending(xid8, bigint, pg_snapshot, xid8, bigint) IS
    'Whether a captured change has not been consumed by the refresh that stored this frontier.';
