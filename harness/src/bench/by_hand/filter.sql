-- A filter and a projection by hand: the rows with their key, and a log of changed rows that pass the filter.
CREATE TABLE by_hand.filter (k int PRIMARY KEY, v int);
INSERT INTO by_hand.filter SELECT k, v FROM fact WHERE v % 10 < 5;
CREATE TABLE by_hand.filter_log (k int);
CREATE FUNCTION by_hand.filter_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.filter_log SELECT k FROM new_rows WHERE v % 10 < 5; RETURN NULL; END $$;
CREATE FUNCTION by_hand.filter_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.filter_log SELECT k FROM old_rows WHERE v % 10 < 5; RETURN NULL; END $$;
CREATE FUNCTION by_hand.filter_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.filter_log
    SELECT k FROM old_rows WHERE v % 10 < 5 UNION SELECT k FROM new_rows WHERE v % 10 < 5;
    RETURN NULL;
END $$;
CREATE TRIGGER filter_insert AFTER INSERT ON fact REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.filter_insert();
CREATE TRIGGER filter_update AFTER UPDATE ON fact REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.filter_update();
CREATE TRIGGER filter_delete AFTER DELETE ON fact REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.filter_delete();
CREATE FUNCTION by_hand.filter_refresh() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH taken AS (DELETE FROM by_hand.filter_log RETURNING k),
    now AS (
        SELECT c.k, f.v, f.k IS NOT NULL AS is_there
        FROM (SELECT DISTINCT k FROM taken) c LEFT JOIN fact f ON f.k = c.k AND f.v % 10 < 5
    )
    MERGE INTO by_hand.filter t USING now n ON t.k = n.k
    WHEN MATCHED AND NOT n.is_there THEN DELETE
    WHEN MATCHED THEN UPDATE SET v = n.v
    WHEN NOT MATCHED AND n.is_there THEN INSERT VALUES (n.k, n.v);
END $$;
