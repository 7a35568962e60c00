-- TPC-H Q6 by hand: one sum, moved by a log of the revenue of changed lineitems that the query looks at.
CREATE TABLE by_hand.q6_sum (revenue numeric, n bigint);
INSERT INTO by_hand.q6_sum SELECT coalesce(sum(l_extendedprice * l_discount), 0), count(l_extendedprice * l_discount)
FROM lineitem WHERE {condition};
CREATE TABLE by_hand.q6_log (sign int, revenue numeric);
CREATE FUNCTION by_hand.q6_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q6_log SELECT 1, l_extendedprice * l_discount FROM new_rows WHERE {condition};
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q6_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q6_log SELECT -1, l_extendedprice * l_discount FROM old_rows WHERE {condition};
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q6_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q6_log
    SELECT -1, l_extendedprice * l_discount FROM old_rows WHERE {condition}
    UNION ALL SELECT 1, l_extendedprice * l_discount FROM new_rows WHERE {condition};
    RETURN NULL;
END $$;
CREATE TRIGGER q6_insert AFTER INSERT ON lineitem REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q6_insert();
CREATE TRIGGER q6_update AFTER UPDATE ON lineitem REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q6_update();
CREATE TRIGGER q6_delete AFTER DELETE ON lineitem REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q6_delete();
CREATE FUNCTION by_hand.q6_refresh() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH taken AS (DELETE FROM by_hand.q6_log RETURNING *),
    change AS (
        SELECT coalesce(sum(sign * revenue), 0) AS revenue, coalesce(sum(sign) FILTER (WHERE revenue IS NOT NULL), 0) AS n
        FROM taken
    )
    UPDATE by_hand.q6_sum s SET revenue = s.revenue + c.revenue, n = s.n + c.n FROM change c;
END $$;
CREATE VIEW by_hand.q6 AS SELECT CASE WHEN n > 0 THEN revenue END AS revenue FROM by_hand.q6_sum;
