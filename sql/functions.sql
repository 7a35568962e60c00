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

CREATE FUNCTION pgtrickle.row_count(n bigint, is_offset boolean) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgt_row_count';
COMMENT ON FUNCTION pgtrickle.row_count(bigint, boolean) IS
    'The number of rows that LIMIT or OFFSET gives for one outer row; an error if it is negative.';

CREATE FUNCTION pgtrickle.frontier_time() RETURNS timestamptz
    LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'pgt_frontier_time';
COMMENT ON FUNCTION pgtrickle.frontier_time() IS
    'Within a refresh: the time its stream table''s last refresh saw. Deltas of conditions with now() compare with it.';

CREATE FUNCTION pgtrickle.guard() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_guard';
COMMENT ON FUNCTION pgtrickle.guard() IS 'Refuses writes to a stream table by anyone but a refresh.';

CREATE FUNCTION pgtrickle.capture() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_capture';
-- Triggers fire without the right to call their function, but nobody can attach it to a table of his own.
REVOKE ALL ON FUNCTION pgtrickle.capture() FROM PUBLIC;
COMMENT ON FUNCTION pgtrickle.capture() IS
    'Records what a statement changed in the change buffer of the source whose OID is the argument.';

CREATE FUNCTION pgtrickle.catalog_changed() RETURNS trigger
    LANGUAGE c AS 'MODULE_PATHNAME', 'pgt_catalog_changed';
REVOKE ALL ON FUNCTION pgtrickle.catalog_changed() FROM PUBLIC;
COMMENT ON FUNCTION pgtrickle.catalog_changed() IS
    'Makes every session forget what it knows of stream tables, when the statement''s transaction commits.';

CREATE TRIGGER catalog_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgtrickle.pgt_definitions
    FOR EACH STATEMENT EXECUTE FUNCTION pgtrickle.catalog_changed();
CREATE TRIGGER catalog_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgtrickle.pgt_dependencies
    FOR EACH STATEMENT EXECUTE FUNCTION pgtrickle.catalog_changed();
CREATE TRIGGER catalog_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON pgtrickle.pgt_change_tracking
    FOR EACH STATEMENT EXECUTE FUNCTION pgtrickle.catalog_changed();
-- Also where rows arrive by replication or a restore.
ALTER TABLE pgtrickle.pgt_definitions ENABLE ALWAYS TRIGGER catalog_changed;
ALTER TABLE pgtrickle.pgt_dependencies ENABLE ALWAYS TRIGGER catalog_changed;
ALTER TABLE pgtrickle.pgt_change_tracking ENABLE ALWAYS TRIGGER catalog_changed;

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

-- The server has no BRIN class for xid8, but its minmax support asks only for the type's comparison operators.
CREATE OPERATOR CLASS pgtrickle.xid8_minmax_ops FOR TYPE pg_catalog.xid8 USING brin AS
    OPERATOR 1 pg_catalog.<, OPERATOR 2 pg_catalog.<=, OPERATOR 3 pg_catalog.=,
    OPERATOR 4 pg_catalog.>=, OPERATOR 5 pg_catalog.>,
    FUNCTION 1 pg_catalog.brin_minmax_opcinfo(internal),
    FUNCTION 2 pg_catalog.brin_minmax_add_value(internal, internal, internal, internal),
    FUNCTION 3 pg_catalog.brin_minmax_consistent(internal, internal, internal),
    FUNCTION 4 pg_catalog.brin_minmax_union(internal, internal, internal);
COMMENT ON OPERATOR CLASS pgtrickle.xid8_minmax_ops USING brin IS 'Finds the pending rows of a change buffer by block range.';
