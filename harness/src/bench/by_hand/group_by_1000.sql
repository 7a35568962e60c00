-- Sum and count of one table by hand: a row per group, moved by a log of signed rows.
CREATE TABLE by_hand.group_by_1000 (g1000 int PRIMARY KEY, n bigint, s bigint);
INSERT INTO by_hand.group_by_1000 SELECT g1000, count(*), sum(v) FROM fact GROUP BY g1000;
CREATE TABLE by_hand.group_by_1000_log (sign int, g1000 int, v int);
CREATE FUNCTION by_hand.group_by_1000_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.group_by_1000_log SELECT 1, g1000, v FROM new_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.group_by_1000_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.group_by_1000_log SELECT -1, g1000, v FROM old_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.group_by_1000_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.group_by_1000_log
    SELECT -1, g1000, v FROM old_rows UNION ALL SELECT 1, g1000, v FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER group_by_1000_insert AFTER INSERT ON fact REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.group_by_1000_insert();
CREATE TRIGGER group_by_1000_update AFTER UPDATE ON fact
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.group_by_1000_update();
CREATE TRIGGER group_by_1000_delete AFTER DELETE ON fact REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.group_by_1000_delete();
CREATE FUNCTION by_hand.group_by_1000_refresh() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH taken AS (DELETE FROM by_hand.group_by_1000_log RETURNING *),
    change AS (SELECT g1000, sum(sign) AS n, sum(sign::bigint * v)::bigint AS s FROM taken GROUP BY g1000)
    MERGE INTO by_hand.group_by_1000 t USING change c ON t.g1000 = c.g1000
    WHEN MATCHED AND t.n + c.n = 0 THEN DELETE
    WHEN MATCHED AND (c.n <> 0 OR c.s <> 0) THEN UPDATE SET n = t.n + c.n, s = t.s + c.s
    WHEN NOT MATCHED AND c.n > 0 THEN INSERT VALUES (c.g1000, c.n, c.s);
END $$;
