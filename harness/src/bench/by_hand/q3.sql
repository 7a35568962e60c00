-- TPC-H Q3 by hand: the revenue of every order that qualifies, indexed by what the query orders by, so that its ten rows
-- are read from the index. The log says which orders changed in any of the three tables; those are computed anew.
CREATE TABLE by_hand.q3_orders (
    l_orderkey bigint PRIMARY KEY, revenue numeric, o_orderdate date, o_shippriority int);
CREATE INDEX ON by_hand.q3_orders (revenue DESC, o_orderdate);
CREATE TABLE by_hand.q3_log (o_orderkey bigint);
INSERT INTO by_hand.q3_orders {rows of all};
CREATE FUNCTION by_hand.q3_lineitem_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.q3_log SELECT DISTINCT l_orderkey FROM new_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.q3_lineitem_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.q3_log SELECT DISTINCT l_orderkey FROM old_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.q3_lineitem_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q3_log SELECT l_orderkey FROM old_rows UNION SELECT l_orderkey FROM new_rows;
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q3_orders_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.q3_log SELECT o_orderkey FROM new_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.q3_orders_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.q3_log SELECT o_orderkey FROM old_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.q3_orders_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q3_log SELECT o_orderkey FROM old_rows UNION SELECT o_orderkey FROM new_rows;
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q3_customer_any() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q3_log SELECT o_orderkey FROM orders JOIN changed_rows ON c_custkey = o_custkey;
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q3_customer_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q3_log SELECT o_orderkey FROM orders
    JOIN (SELECT c_custkey, c_mktsegment FROM old_rows EXCEPT ALL SELECT c_custkey, c_mktsegment FROM new_rows) c
    ON c.c_custkey = o_custkey
    UNION SELECT o_orderkey FROM orders
    JOIN (SELECT c_custkey, c_mktsegment FROM new_rows EXCEPT ALL SELECT c_custkey, c_mktsegment FROM old_rows) c
    ON c.c_custkey = o_custkey;
    RETURN NULL;
END $$;
CREATE TRIGGER q3_insert AFTER INSERT ON lineitem REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_lineitem_insert();
CREATE TRIGGER q3_update AFTER UPDATE ON lineitem REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_lineitem_update();
CREATE TRIGGER q3_delete AFTER DELETE ON lineitem REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_lineitem_delete();
CREATE TRIGGER q3_insert AFTER INSERT ON orders REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_orders_insert();
CREATE TRIGGER q3_update AFTER UPDATE ON orders REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_orders_update();
CREATE TRIGGER q3_delete AFTER DELETE ON orders REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_orders_delete();
CREATE TRIGGER q3_insert AFTER INSERT ON customer REFERENCING NEW TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_customer_any();
CREATE TRIGGER q3_update AFTER UPDATE ON customer REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_customer_update();
CREATE TRIGGER q3_delete AFTER DELETE ON customer REFERENCING OLD TABLE AS changed_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q3_customer_any();
CREATE FUNCTION by_hand.q3_refresh() RETURNS void LANGUAGE plpgsql AS $$
DECLARE changed bigint[];
BEGIN
    WITH taken AS (DELETE FROM by_hand.q3_log RETURNING o_orderkey)
    SELECT array_agg(DISTINCT o_orderkey) INTO changed FROM taken;
    WITH now AS ({rows of changed})
    MERGE INTO by_hand.q3_orders o
    USING (SELECT k AS o_orderkey, now.* FROM unnest(changed) k LEFT JOIN now ON now.l_orderkey = k) n
    ON n.o_orderkey = o.l_orderkey
    WHEN MATCHED AND n.l_orderkey IS NULL THEN DELETE
    WHEN MATCHED THEN UPDATE SET revenue = n.revenue, o_orderdate = n.o_orderdate, o_shippriority = n.o_shippriority
    WHEN NOT MATCHED AND n.l_orderkey IS NOT NULL
        THEN INSERT VALUES (n.l_orderkey, n.revenue, n.o_orderdate, n.o_shippriority);
END $$;
CREATE VIEW by_hand.q3 AS
SELECT l_orderkey, revenue, o_orderdate, o_shippriority FROM by_hand.q3_orders
ORDER BY revenue DESC, o_orderdate, l_orderkey, o_shippriority LIMIT 10;
