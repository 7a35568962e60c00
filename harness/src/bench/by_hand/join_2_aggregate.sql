-- Sum and count over a join of two tables by hand: a row per group, moved by logs of signed rows of both tables:
-- change = fact's change x dimension now + fact now x dimension's change - fact's change x dimension's change.
CREATE TABLE by_hand.join_2_aggregate (g int PRIMARY KEY, n bigint, s bigint);
INSERT INTO by_hand.join_2_aggregate
SELECT d.g, count(*), sum(f.v) FROM fact f JOIN dim_1 d ON d.k = f.d1 GROUP BY d.g;
CREATE TABLE by_hand.join_2_fact_log (sign int, d1 int, v int);
CREATE TABLE by_hand.join_2_dim_log (sign int, k int, g int);
CREATE FUNCTION by_hand.join_2_fact_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.join_2_fact_log SELECT 1, d1, v FROM new_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.join_2_fact_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.join_2_fact_log SELECT -1, d1, v FROM old_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.join_2_fact_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.join_2_fact_log SELECT -1, d1, v FROM old_rows UNION ALL SELECT 1, d1, v FROM new_rows;
    RETURN NULL;
END $$;
CREATE FUNCTION by_hand.join_2_dim_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.join_2_dim_log SELECT 1, k, g FROM new_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.join_2_dim_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO by_hand.join_2_dim_log SELECT -1, k, g FROM old_rows; RETURN NULL; END $$;
CREATE FUNCTION by_hand.join_2_dim_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO by_hand.join_2_dim_log SELECT -1, k, g FROM old_rows UNION ALL SELECT 1, k, g FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER join_2_insert AFTER INSERT ON fact REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.join_2_fact_insert();
CREATE TRIGGER join_2_update AFTER UPDATE ON fact REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.join_2_fact_update();
CREATE TRIGGER join_2_delete AFTER DELETE ON fact REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.join_2_fact_delete();
CREATE TRIGGER join_2_insert AFTER INSERT ON dim_1 REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.join_2_dim_insert();
CREATE TRIGGER join_2_update AFTER UPDATE ON dim_1 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.join_2_dim_update();
CREATE TRIGGER join_2_delete AFTER DELETE ON dim_1 REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION by_hand.join_2_dim_delete();
CREATE FUNCTION by_hand.join_2_aggregate_refresh() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH facts AS (DELETE FROM by_hand.join_2_fact_log RETURNING *),
    dims AS (DELETE FROM by_hand.join_2_dim_log RETURNING *),
    change AS (
        SELECT g, sum(sign) AS n, sum(sign::bigint * v)::bigint AS s
        FROM (
            SELECT d.g, f.sign, f.v FROM facts f JOIN dim_1 d ON d.k = f.d1
            UNION ALL SELECT d.g, d.sign, f.v FROM dims d JOIN fact f ON f.d1 = d.k
            UNION ALL SELECT d.g, -d.sign * f.sign, f.v FROM facts f JOIN dims d ON d.k = f.d1
        ) x GROUP BY g
    )
    MERGE INTO by_hand.join_2_aggregate t USING change c ON t.g = c.g
    WHEN MATCHED AND t.n + c.n = 0 THEN DELETE
    WHEN MATCHED AND (c.n <> 0 OR c.s <> 0) THEN UPDATE SET n = t.n + c.n, s = t.s + c.s
    WHEN NOT MATCHED AND c.n > 0 THEN INSERT VALUES (c.g, c.n, c.s);
END $$;
