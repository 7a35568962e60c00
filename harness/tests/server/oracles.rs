//! The oracles on real engines: they agree where they should, and they see what is wrong.

use anyhow::Result;
use pg_trickle_harness::cluster::{TestDatabase, test_cluster};
use pg_trickle_harness::provision::duckdb;
use pg_trickle_oracle::Verdict;
use pg_trickle_oracle::duckdb::{DuckDb, Mirror};
use pg_trickle_oracle::postgres::{fetch, judge};
use postgres::Client;

/// A database without the extension, which no oracle needs.
fn database() -> Result<(TestDatabase, Client)> {
    let database = TestDatabase::create_empty(test_cluster()?)?;
    let client = database.connect()?;
    Ok((database, client))
}

fn mirror() -> Result<Mirror> {
    Ok(Mirror::new(DuckDb::open(&duckdb::get()?)?))
}

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, who text, price numeric(10,2), at timestamp);
    INSERT INTO orders VALUES (1, 'a', 1.50, '2020-01-01 10:00:00.5'), (2, '', 2.25, NULL), (3, NULL, NULL, NULL),
        (4, '\\N', 7.00, NULL), (5, E'x,\"y\"\\n', 7.00, NULL)";

#[test]
fn postgres_sees_wrong_missing_and_surplus_rows() -> Result<()> {
    let (_database, mut client) = database()?;
    client.batch_execute(ORDERS)?;
    let query = "SELECT who, sum(price) AS total FROM orders GROUP BY who";
    client.batch_execute(&format!("CREATE TABLE kept AS {query}"))?;
    assert_eq!(judge(&mut client, "kept", query)?, Verdict::Equal { rows: 5 });
    client.batch_execute("UPDATE kept SET total = total + 1 WHERE who = 'a'")?;
    client.batch_execute("DELETE FROM kept WHERE who IS NULL; INSERT INTO kept VALUES ('z', 1)")?;
    let Verdict::Rows(difference) = judge(&mut client, "kept", query)? else { panic!("not seen") };
    assert_eq!((difference.missing(), difference.surplus()), (2, 2), "{difference}");
    Ok(())
}

#[test]
fn postgres_sees_the_scale_of_a_number_and_a_hidden_column() -> Result<()> {
    let (_database, mut client) = database()?;
    client.batch_execute(ORDERS)?;
    client.batch_execute("CREATE TABLE kept AS SELECT id, price::numeric(12,3) AS price FROM orders")?;
    let verdict = judge(&mut client, "kept", "SELECT id, price FROM orders")?;
    assert!(matches!(verdict, Verdict::Rows(_)), "1.500 is not 1.50: {verdict}");
    client.batch_execute("CREATE TABLE wide AS SELECT id, price, 0 AS hidden FROM orders")?;
    let verdict = judge(&mut client, "wide", "SELECT id, price FROM orders")?;
    assert!(matches!(verdict, Verdict::Columns { .. }), "{verdict}");
    Ok(())
}

#[test]
fn mirror_copies_every_value_and_loads_only_what_changed() -> Result<()> {
    let (_database, mut client) = database()?;
    client.batch_execute(ORDERS)?;
    let mut mirror = mirror()?;
    assert!(mirror.refresh(&mut client, "orders")?);
    assert!(!mirror.refresh(&mut client, "orders")?);
    let query = "SELECT * FROM orders";
    let found = fetch(&mut client, query)?;
    assert_eq!(mirror.duckdb().judge(&found, query)?, Verdict::Equal { rows: 5 });
    client.batch_execute("UPDATE orders SET who = 'null?' WHERE who IS NULL")?;
    assert!(mirror.duckdb().judge(&fetch(&mut client, query)?, query)?.is_wrong());
    assert!(mirror.refresh(&mut client, "orders")?);
    assert!(mirror.duckdb().judge(&fetch(&mut client, query)?, query)?.is_equal());
    Ok(())
}

#[test]
fn duckdb_gives_postgres_answers_where_the_dialects_differ() -> Result<()> {
    let (_database, mut client) = database()?;
    client.batch_execute(ORDERS)?;
    let mut mirror = mirror()?;
    mirror.refresh(&mut client, "orders")?;
    for query in [
        // Settings: integer division, place of NULLs.
        "SELECT id / 2 AS half, -id / 2 AS negative FROM orders",
        "SELECT who FROM orders ORDER BY who LIMIT 2",
        "SELECT who FROM orders ORDER BY who DESC LIMIT 2",
        // Rules: escapes in LIKE, names of schemas and functions, formats of dates.
        "SELECT id FROM public.orders WHERE who LIKE '\\\\%'",
        "SELECT pg_catalog.upper(who), to_char(at, 'YYYY-MM-DD HH24:MI') FROM orders",
        "SELECT date_bin('1 minute', at, TIMESTAMP '2000-01-01') FROM orders",
        "SELECT id FROM orders o WHERE EXISTS (SELECT FROM orders p WHERE p.id > o.id)",
        "SELECT id # 5 FROM orders",
        // Comparison: averages are double precision there, times have other texts, booleans too.
        "SELECT avg(price), sum(price) / 3, count(*) > 2 FROM orders",
        "SELECT at, at - TIMESTAMP '2019-12-31', at::date FROM orders",
        "SELECT DISTINCT ON (price) price, id FROM orders ORDER BY price, id",
    ] {
        let found = fetch(&mut client, query)?;
        let verdict = mirror.duckdb().judge(&found, query)?;
        assert!(verdict.is_equal(), "{query}: {verdict}");
    }
    Ok(())
}

#[test]
fn duckdb_says_what_it_cannot_judge() -> Result<()> {
    let (_database, mut client) = database()?;
    client.batch_execute(ORDERS)?;
    let mut mirror = mirror()?;
    mirror.refresh(&mut client, "orders")?;
    for query in ["SELECT id FROM orders WHERE at < now()", "SELECT to_jsonb(id) FROM orders"] {
        let found = fetch(&mut client, query)?;
        let verdict = mirror.duckdb().judge(&found, query)?;
        assert!(matches!(verdict, Verdict::NotComparable(_)), "{query}: {verdict}");
    }
    assert!(mirror.duckdb().run("SELECT no_such_column FROM orders").is_err());
    Ok(())
}
