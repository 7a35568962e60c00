-- TPC-H Q1 by hand: the sums and counts of its four groups, moved by a log of changed lineitems. Only rows that the query
-- looks at are logged, with only the columns that it needs. Averages are computed where the table is read.
CREATE TABLE by_hand.q1_sums (
    l_returnflag text, l_linestatus text, sum_qty numeric, sum_base_price numeric, sum_disc_price numeric,
    sum_charge numeric, sum_discount numeric, qty_count bigint, price_count bigint, disc_count bigint,
    count_order bigint, UNIQUE NULLS NOT DISTINCT (l_returnflag, l_linestatus));
CREATE TABLE by_hand.q1_log (
    sign int, l_returnflag text, l_linestatus text, l_quantity numeric, l_extendedprice numeric, l_discount numeric,
    l_tax numeric);
CREATE FUNCTION by_hand.q1_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q1_log
    SELECT 1, l_returnflag, l_linestatus, l_quantity, l_extendedprice, l_discount, l_tax FROM new_rows
    WHERE {condition};
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q1_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q1_log
    SELECT -1, l_returnflag, l_linestatus, l_quantity, l_extendedprice, l_discount, l_tax FROM old_rows
    WHERE {condition};
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.q1_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.q1_log
    SELECT -1, l_returnflag, l_linestatus, l_quantity, l_extendedprice, l_discount, l_tax FROM old_rows
    WHERE {condition}
    UNION ALL
    SELECT 1, l_returnflag, l_linestatus, l_quantity, l_extendedprice, l_discount, l_tax FROM new_rows
    WHERE {condition};
    RETURN NULL;
END $$;
CREATE TRIGGER q1_insert AFTER INSERT ON lineitem REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q1_insert();
CREATE TRIGGER q1_update AFTER UPDATE ON lineitem REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q1_update();
CREATE TRIGGER q1_delete AFTER DELETE ON lineitem REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.q1_delete();
CREATE FUNCTION by_hand.q1_refresh() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH taken AS (DELETE FROM by_hand.q1_log RETURNING *),
    change AS (
        SELECT l_returnflag, l_linestatus, coalesce(sum(sign * l_quantity), 0) AS qty,
            coalesce(sum(sign * l_extendedprice), 0) AS price,
            coalesce(sum(sign * l_extendedprice * (1 - l_discount)), 0) AS disc_price,
            coalesce(sum(sign * l_extendedprice * (1 - l_discount) * (1 + l_tax)), 0) AS charge,
            coalesce(sum(sign * l_discount), 0) AS discount,
            coalesce(sum(sign) FILTER (WHERE l_quantity IS NOT NULL), 0) AS qty_count,
            coalesce(sum(sign) FILTER (WHERE l_extendedprice IS NOT NULL), 0) AS price_count,
            coalesce(sum(sign) FILTER (WHERE l_discount IS NOT NULL), 0) AS disc_count, sum(sign) AS n
        FROM taken GROUP BY l_returnflag, l_linestatus
    )
    MERGE INTO by_hand.q1_sums s USING change c
    ON s.l_returnflag IS NOT DISTINCT FROM c.l_returnflag AND s.l_linestatus IS NOT DISTINCT FROM c.l_linestatus
    WHEN MATCHED AND s.count_order + c.n = 0 THEN DELETE
    WHEN MATCHED THEN UPDATE SET sum_qty = s.sum_qty + c.qty, sum_base_price = s.sum_base_price + c.price,
        sum_disc_price = s.sum_disc_price + c.disc_price, sum_charge = s.sum_charge + c.charge,
        sum_discount = s.sum_discount + c.discount, qty_count = s.qty_count + c.qty_count,
        price_count = s.price_count + c.price_count, disc_count = s.disc_count + c.disc_count,
        count_order = s.count_order + c.n
    WHEN NOT MATCHED THEN INSERT VALUES (l_returnflag, l_linestatus, qty, price, disc_price, charge, discount,
        qty_count, price_count, disc_count, n);
END $$;
INSERT INTO by_hand.q1_log
SELECT 1, l_returnflag, l_linestatus, l_quantity, l_extendedprice, l_discount, l_tax FROM lineitem
WHERE {condition};
SELECT by_hand.q1_refresh();
CREATE VIEW by_hand.q1 AS
SELECT l_returnflag, l_linestatus, sum_qty, sum_base_price, sum_disc_price, sum_charge, sum_qty / qty_count AS avg_qty,
    sum_base_price / price_count AS avg_price, sum_discount / disc_count AS avg_disc, count_order
FROM by_hand.q1_sums;
